"""Deliberate defects that the tests must notice: ``python tests/mutations.py [WORD ...]``.

Each defect is one line of code changed. The repository is copied, one defect at a time is put into the
copy, and the tests named with it are run there. A defect whose tests stay green survives: it is listed at
the end, and the exit status is 1. With words, only defects whose name or file has one of them are tried.

Run on demand, not with the suite: each defect costs a run of its tests.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
STEP = "tests/pretrain/test_step.py"
TWO_STEPS = f"{STEP}::test_two_steps_of_train_are_those_of_a_loop_by_hand"
TWO_PROCESSES = "tests/pretrain/test_distributed.py"
LOSSES = "tests/pretrain/test_losses.py"
VIEWS = "tests/pretrain/test_views.py"


class Mutation(NamedTuple):
    """``old`` stands once in ``file``; with ``new`` in its place, ``tests`` must fail."""

    name: str
    file: str
    old: str
    new: str
    tests: str


MUTATIONS = [
    Mutation(
        "gradients never averaged over processes",
        "pretrain/step.py",
        "    average_gradients(learner)\n",
        "",
        TWO_PROCESSES,
    ),
    Mutation("learning rate never set", "pretrain/step.py", 'group["lr"] = rate', "pass", TWO_STEPS),
    Mutation(
        "pitch loss given 1/ratio",
        "pretrain/losses/total.py",
        "pitch_target(x_hat.ratio, target)",
        "pitch_target(1 / x_hat.ratio, target)",
        TWO_STEPS,
    ),
    Mutation(
        "x' and x-hat swapped",
        "pretrain/learner.py",
        "        if parts == 1:\n",
        "        views = [views[0], *views[:0:-1]]\n        if parts == 1:\n",
        TWO_STEPS,
    ),
    Mutation(
        "gradients never clipped",
        "pretrain/step.py",
        "settings.clip_gradient_norm or math.inf",
        "math.inf",
        TWO_STEPS,
    ),
    Mutation(
        "moving average never updated",
        "pretrain/step.py",
        "state.average.update_parameters(learner)",
        "pass",
        TWO_STEPS,
    ),
    Mutation(
        "g_pitch of the time mean",
        "pretrain/heads.py",
        "self.pitch(h).squeeze(-1)",
        "self.pitch(h).squeeze(-1).mean(1, keepdim=True).expand(-1, h.shape[1])",
        LOSSES,
    ),
    Mutation(
        "g_clip of the maximum",
        "pretrain/heads.py",
        'self.pooling == "average"',
        "False",
        f"{LOSSES} {TWO_STEPS}",
    ),
    Mutation("validation in training mode", "pretrain/validation.py", "    learner.eval()\n", "", STEP),
    Mutation(
        "the same x-hat seeds on all ranks",
        "pretrain/step.py",
        "step_seed(settings.seed, state.step, process_rank())",
        "step_seed(settings.seed, state.step, 0)",
        TWO_PROCESSES,
    ),
    Mutation(
        "drop connect not rising with depth",
        "hear_msss/encoder.py",
        "drop * number / len(network._blocks)",
        "drop",
        "tests/hear_msss/test_encoder.py",
    ),
    Mutation(
        "validation fraction halved",
        "pretrain/corpus/packed.py",
        "np.uint64(int(fraction * 2**64))",
        "np.uint64(int(fraction * 2**63))",
        "tests/pretrain/test_corpus_source.py",
    ),
    Mutation(
        "components shrunk by another share",
        "hear_msss/features.py",
        "SHRINK = 0.05",
        "SHRINK = 0.1",
        "tests/hear_msss/test_features.py",
    ),
    Mutation(
        "levels measured over another draw",
        "pretrain/export.py",
        "next(batches)[0].float()",
        "next(batches)[1].float()",
        STEP,
    ),
    Mutation(
        "cross-view negatives of this process only",
        "pretrain/losses/total.py",
        "candidates = gathered(shifted.flatten(0, 1), gather)",
        "candidates = gathered(shifted.flatten(0, 1), False)",
        TWO_PROCESSES,
    ),
    Mutation(
        "one W each where one is asked for",
        "pretrain/losses/total.py",
        "if not settings.shared_similarity:",
        "if True:",
        f"{LOSSES} {TWO_STEPS}",
    ),
    Mutation(
        "rows not put back in their places",
        "pretrain/chunked.py",
        "place = torch.cat(drawn).argsort()",
        "place = torch.cat(drawn)",
        "tests/pretrain/test_chunked.py",
    ),
    Mutation(
        "a chunk of two views",
        "pretrain/chunked.py",
        "block = rows // chunks.blocks",
        "block, chunks = rows, Chunks(rows // chunks.blocks)",
        "tests/pretrain/test_chunked.py",
    ),
    Mutation(
        "x' filtered as x-hat is",
        "pretrain/augmentation.py",
        "POSITIVE_SEED = 0x706F7369",
        "POSITIVE_SEED = 0",
        VIEWS,
    ),
    Mutation(
        "x' and x-hat with the same background",
        "pretrain/augmentation.py",
        "background_from=2,",
        "background_from=1,",
        VIEWS,
    ),
    Mutation(
        "warm-up without an end",
        "pretrain/optimization.py",
        "LONGEST_WARM_UP = 0.1",
        "LONGEST_WARM_UP = 1.0",
        "tests/pretrain/test_settings.py",
    ),
    Mutation(
        "settings written before they are known to fit",
        "pretrain/train.py",
        "    state = RunState.fresh(settings, device)\n",
        "    write_settings(folder, settings, source)\n    state = RunState.fresh(settings, device)\n",
        "tests/pretrain/test_run_folder.py",
    ),
    Mutation(
        "no checkpoint on an error",
        "pretrain/train.py",
        "            save(state, folder, meter.elapsed_s)\n        except OSError",
        "            pass\n        except OSError",
        "tests/pretrain/test_run_folder.py",
    ),
    Mutation(
        "pipe: taken for a shard",
        "pretrain/corpus/location.py",
        "if SCHEME.match(text) and not Path(text).exists():",
        "if False:",
        "tests/pretrain/test_run_folder.py tests/pretrain/test_tar_samples.py",
    ),
]


def survives(mutation: Mutation, copy: Path) -> bool:
    """Whether the tests stay green in ``copy`` with the defect in it.

    Raises:
        ValueError: the line is not in its file, or more than once; or the tests did not run.
    """
    path = copy / mutation.file
    whole = path.read_text(encoding="utf-8")
    if whole.count(mutation.old) != 1:
        raise ValueError(
            f"{mutation.name}: {mutation.file} has {mutation.old!r} {whole.count(mutation.old)} times"
        )
    path.write_text(whole.replace(mutation.old, mutation.new), encoding="utf-8")
    try:
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-x",
            "-p",
            "no:cacheprovider",
            *mutation.tests.split(),
        ]
        environment = os.environ | {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True)
        if done.returncode not in (0, 1):  # neither passed nor failed: nothing was noticed
            raise ValueError(f"{mutation.name}: pytest ended with {done.returncode}: {done.stdout[-500:]}")
        return done.returncode == 0
    finally:
        path.write_text(whole, encoding="utf-8")


def main(words: list[str]) -> int:
    chosen = [m for m in MUTATIONS if not words or any(word in m.name + m.file for word in words)]
    alive = []
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "repository"
        ignored = shutil.ignore_patterns(".git", ".venv", "build", "__pycache__", "runs")
        shutil.copytree(ROOT, copy, ignore=ignored)
        for mutation in chosen:
            alive += [mutation.name] if survives(mutation, copy) else []
            print(f"{'SURVIVES' if mutation.name in alive else 'noticed'}: {mutation.name}", flush=True)
    print(f"{len(alive)} of {len(chosen)} survive")
    return int(bool(alive))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
