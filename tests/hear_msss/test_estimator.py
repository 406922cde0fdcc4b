"""The transformer of scikit-learn: pipelines, clones, searches, pickles."""

import pickle
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch

sklearn = pytest.importorskip("sklearn")

from sklearn.base import clone  # noqa: E402
from sklearn.linear_model import LogisticRegression  # noqa: E402
from sklearn.model_selection import GridSearchCV  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402

import hear_msss  # noqa: E402
from hear_msss import SceneEmbedder  # noqa: E402
from hear_msss.options import Options  # noqa: E402


@pytest.fixture(scope="module")
def tones(tmp_path_factory):
    """Low and high tones by turns, and which is which."""
    folder, rng = tmp_path_factory.mktemp("tones"), np.random.default_rng(0)
    paths, labels = [], []
    for number in range(12):
        hz = (300, 3000)[number % 2] * rng.uniform(0.9, 1.1)
        samples = 0.1 * np.sin(2 * np.pi * hz * np.arange(16_000) / 16_000) + rng.normal(0, 1e-3, 16_000)
        soundfile.write(folder / f"{number}.wav", samples, 16_000, subtype="FLOAT")
        paths.append(str(folder / f"{number}.wav"))
        labels.append(number % 2)
    return paths, np.array(labels)


def test_a_pipeline_tells_low_from_high_tones_and_a_search_sets_parameters(tones):
    paths, labels = tones
    pipeline = make_pipeline(SceneEmbedder(weights="untrained"), StandardScaler(), LogisticRegression())
    search = GridSearchCV(pipeline, {"sceneembedder__scene": ["mean", "mean_max"]}, cv=3)
    search.fit(paths, labels)
    assert search.best_score_ > 0.9 and len(search.cv_results_["params"]) == 2
    again = pickle.loads(pickle.dumps(search.best_estimator_))
    assert np.array_equal(again.predict(paths), labels)


def test_it_gives_scene_embeddings_for_lists_arrays_and_columns(tones):
    paths = tones[0][:3]
    audio = torch.from_numpy(np.stack([soundfile.read(path, dtype="float32")[0] for path in paths]))
    model = hear_msss.load_model("untrained", scene="mean_max")
    expected = hear_msss.get_scene_embeddings(audio, model).numpy()
    embedder = clone(SceneEmbedder().set_params(weights="untrained", scene="mean_max"))
    for given in (paths, np.array(paths), pd.Series(paths), pd.DataFrame({"path": paths})):
        found = embedder.fit_transform(given)
        assert found.dtype == np.float32 and np.abs(found - expected).max() < 1e-5
    assert len(embedder.get_feature_names_out()) == found.shape[1] == embedder.n_features_out_ == 1024
    frame = embedder.set_output(transform="pandas").fit_transform(paths)
    assert list(frame.columns[:2]) == ["msss0", "msss1"]


def test_it_has_every_option_that_can_change_a_scene_embedding(tones):
    names = SceneEmbedder().get_params().keys()
    assert names >= Options().to_dict().keys() - {"hop_ms", "timestamp", "encode_every"}
    chosen = {"short_clip_windows": 2, "short_clip_band_shift": 0, "features": "h"}
    for options in (chosen, {**chosen, "short_clip_band_shift": 5}, {**chosen, "whole_clip": True}):
        model = hear_msss.load_model("untrained", **options)
        expected = [file.embedding for file in hear_msss.embed_files(tones[0][:2], model)]
        assert np.array_equal(SceneEmbedder("untrained", **options).fit_transform(tones[0][:2]), expected)


def test_bad_files_are_named_or_rows_of_nan(tones):
    paths = [tones[0][0], "gone.wav"]
    with pytest.raises(ValueError, match=r"1 of 2 files .*gone.wav: .*No such file"):
        SceneEmbedder("untrained").fit(paths).transform(paths)
    found = SceneEmbedder("untrained", bad="nan").fit(paths).transform(paths)
    assert np.isfinite(found[0]).all() and np.isnan(found[1]).all()


@pytest.mark.parametrize(
    ("parameters", "given", "words"),
    [
        ({"bad": "skip"}, ["a.wav"], "'raise' or 'nan'"),
        ({"scene": "median"}, ["a.wav"], "scene"),
        ({"weights": "nothing"}, ["a.wav"], "no weights"),
        ({}, "a.wav", "single path"),
        ({}, np.zeros((2, 16_000)), "expected paths"),
    ],
)
def test_wrong_parameters_and_input_are_refused(parameters, given, words):
    with pytest.raises((ValueError, TypeError, FileNotFoundError), match=words):
        SceneEmbedder(**{"weights": "untrained", **parameters}).fit(given).transform(given)


def test_without_scikit_learn_one_sentence_says_so():
    code = "import sys; sys.modules['sklearn'] = None; import hear_msss; hear_msss.SceneEmbedder"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "pip install scikit-learn" in done.stderr.strip().splitlines()[-1]
    code = "import sys; sys.modules['sklearn'] = None; from hear_msss import *; print(len(dir(embed_files)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0
