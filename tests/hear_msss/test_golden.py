"""Golden values pin what the HEAR API returns, from the front end to the pooling.

`python tests/hear_msss/test_golden.py` prints them anew, after a change that is meant to alter them.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest
import torch

import hear_msss
from hear_msss.weights import UNTRAINED, bundled

FILE = Path(__file__).with_name("golden.json")


def signals() -> torch.Tensor:
    """``(2, 24000)``: a rising harmonic tone that fades, and seeded noise in bursts."""
    time_s = torch.arange(24_000, dtype=torch.float64) / 16_000
    phase = 2 * torch.pi * (220 * time_s + 110 * time_s**2)
    tone = sum(torch.sin(k * phase) / k for k in range(1, 6)) * torch.exp(-time_s) / 3
    noise = torch.rand(24_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64) - 0.5
    return torch.stack([tone, noise * (torch.sin(2 * torch.pi * 3 * time_s) > 0)]).float()


def embed(weights: str) -> dict[str, list]:
    model = hear_msss.load_model(weights)
    scenes = hear_msss.get_scene_embeddings(signals(), model)
    short = hear_msss.get_scene_embeddings(signals()[:, :16_000], model)
    embeddings, _ = hear_msss.get_timestamp_embeddings(signals(), model)
    return {
        "scene": scenes[:, ::64].tolist(),
        "scene_norm": scenes.norm(dim=1).tolist(),
        "short_clip_scene": short[:, ::64].tolist(),
        "timestamp_7": embeddings[:, 7, ::64].tolist(),
        "timestamps_norm": embeddings.norm(dim=(1, 2)).tolist(),
    }


@pytest.mark.parametrize("weights", [UNTRAINED, *bundled()])
def test_golden_values(weights):
    expected = json.loads(FILE.read_text())[weights]
    for name, values in embed(weights).items():
        torch.testing.assert_close(torch.tensor(values), torch.tensor(expected[name]), rtol=1e-3, atol=1e-3)


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    FILE.write_text(json.dumps({name: embed(name) for name in [UNTRAINED, *bundled()]}, indent=1) + "\n")
