"""Memory beyond input, log-mel and output does not grow with the clip."""

from __future__ import annotations

import subprocess
import sys

# The hop is twenty times the default only to keep the test short: what is held at once does not depend on it.
SCRIPT = """
import resource, sys, torch, hear_msss
torch.set_num_threads(1)
model = hear_msss.load_model("untrained", hop_ms=1000)
audio = torch.zeros(1, int(sys.argv[1]) * 16000)
hear_msss.get_timestamp_embeddings(audio, model)
hear_msss.get_scene_embeddings(audio[:, : 60 * 16000], model)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def _peak_mib(seconds: int) -> float:
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(seconds)], capture_output=True, text=True, check=True
    )
    return float(result.stdout)


def test_ten_minutes_cost_no_more_than_their_own_data():
    extra_s = 600 - 60
    waveform = extra_s * 16000 * 4 * 2  # the clip and its zero-padded copy
    log_mel = extra_s * 100 * 64 * 4
    output = extra_s * 512 * 4 * 2  # made in rows of windows, returned in one piece
    allowed_mib = (waveform + log_mel + output) / 2**20
    assert _peak_mib(600) - _peak_mib(60) <= allowed_mib + 8  # 8 MiB: noise of the allocator
