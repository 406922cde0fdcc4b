"""The lists of deliberate defects, which `python tests/mutations.py` puts in one by one, fit the code."""

import re

from mutations import LISTS, ROOT, defects, with_defect


def test_every_defect_has_its_line_and_its_tests():
    listed = defects()
    assert len(listed) >= 110
    assert len({defect.name for defect in listed}) == len(listed)
    for defect in listed:
        text = (ROOT / defect.file).read_text(encoding="utf-8")
        assert with_defect(defect, text) != text
        for test in defect.tests.split():
            file, _, name = test.partition("::")
            assert name.split("[")[0] in (ROOT / file).read_text(encoding="utf-8"), test


def test_no_list_names_a_file_twice():
    """YAML would drop all defects of the first place without a word."""
    for path in LISTS.glob("*.yaml"):
        files = re.findall(r"^[^ #].*(?=:$)", path.read_text(encoding="utf-8"), re.MULTILINE)
        assert files and len(set(files)) == len(files), path


def test_few_survivors_are_known_and_each_has_its_reason():
    assert len([defect for defect in defects() if defect.survives]) <= 3
