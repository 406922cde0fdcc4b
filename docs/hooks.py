"""For mkdocs: the documents at the top of the repository are pages of the site, too."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
PAGES = {  # document in the repository: page of the site
    "README.md": "index.md",
    "MODEL_CARD.md": "model_card.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "CHANGELOG.md": "changelog.md",
    "LICENSE": "licence.md",
    "CITATION.cff": "citation.md",
}


def on_files(files: Files, config: Any) -> Files:
    """Add the pages; data files and this one are left out."""
    for name in ("hooks.py", "results.json"):
        if file := files.get_file_from_path(name):
            files.remove(file)
    for name, page in PAGES.items():
        text = (ROOT / name).read_text(encoding="utf-8")
        if not name.endswith(".md"):
            text = f"# {name}\n\n```text\n{text}\n```\n"
        files.append(File.generated(config, page, content=text.replace("](docs/", "](")))
    return files


def on_page_content(html: str, **_: Any) -> str:
    """Roles of Sphinx in docstrings, as in :func:`name`, become plain names."""
    return re.sub(r":(?:class|func|meth|mod):(?=<code>)", "", html)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Links to documents at the top lead to their pages; links to other files become plain text."""
    for name, page in PAGES.items():
        markdown = re.sub(rf"\]\((?:\.\./)?{re.escape(name)}(#[^)]*)?\)", rf"]({page}\1)", markdown)
    return markdown
