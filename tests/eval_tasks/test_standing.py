"""A model among the systems of the leaderboard, by the leaderboard's own normalised score."""

import math

import pytest

from eval_tasks.report.leaderboard import leaderboard
from eval_tasks.report.standing import filled_leaderboard, published_scores, standing
from eval_tasks.runs.results import ModelFolder

# From the top of the figure of the leaderboard's own script (hear-leaderboard, results/leaderboard.png).
ORDER = """
GURA Fuse Cat H+w+C|RedRice ced_base|GURA Fuse Cat H+w+C (time)|RedRice ced_small|GURA Fuse Hubert|
RedRice ced_mini|CP-JKU mn40_as (e1+l+all_se)|GURA Fuse wav2vec2|Logitech AI SERAB BYOL-S|GURA Cat H+w+C|
OpenL3|CP-JKU PaSST 2lvl+mel|CP-JKU PaSST 2lvl|CP-JKU PaSST base|GURA Hubert|wav2vec2|GURA Avg H+w+C|
RedRice EfficientNet-B2|GURA Cat Hubert+wav2vec2|GURA Avg Hubert+Crepe|GURA Avg Hubert+wav2vec2|
GURA Cat wav2vec2+crepe|CP-JKU mn04_as (e1+l)|IUT-CSE MLP (keyword)|CVSSP PANNS|Stellenbosch LSL DBERT|
Descript/MARL Wav2CLIP|CREPE|Sony UDONS ViT|Soundsensing YAMNet|Kuroyanagi hearline|
AMAAI wav2vec2 music+speech|IUT-CSE MLP (audio)|AMAAI Lab wav2vec2+DDSP
""".replace("\n", "").split("|")


def test_the_order_is_that_of_the_leaderboard_s_own_figure():
    filled = filled_leaderboard()
    found = {system: standing(filled.loc[system].to_dict()) for system in filled.index}
    assert sorted(found, key=lambda system: found[system].rank) == ORDER
    assert [found[system].rank for system in ORDER] == list(range(1, 35))


def test_one_task_by_a_slow_loop():
    known = leaderboard().loc["ESC-50"].tolist()
    mean = sum(known) / len(known)
    deviation = math.sqrt(sum((value - mean) ** 2 for value in known) / len(known))
    ours = standing({"ESC-50": 0.578})
    assert ours.normalised == pytest.approx((0.578 - mean) / deviation)
    higher = [value for value in known if max(-1, min(1, (value - mean) / deviation)) > ours.normalised]
    assert (ours.rank, ours.systems, ours.tasks) == (1 + len(higher), 34, ("ESC-50",))
    assert standing({"ESC-50": 1.0}).normalised == 1.0 and standing({"ESC-50": 0.0}).rank > 20


def test_blanks_of_the_leaderboard():
    table = leaderboard()
    assert table.shape == (19, 34) and table.isna().any().sum() == 21
    assert not filled_leaderboard().isna().any(axis=None)
    known = table.T.notna()
    assert (filled_leaderboard()[known].fillna(-1) == table.T.fillna(-1)).all(axis=None)


def test_a_model_without_published_tasks(tmp_path):
    scores, problems = published_scores(ModelFolder(tmp_path))
    assert scores == {} and len(problems) == 19
