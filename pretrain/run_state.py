"""What a run holds in memory between two steps, and how it comes from and goes to a checkpoint."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from pretrain.checkpoint import CHECKPOINT, load_checkpoint
from pretrain.corpus.source import SegmentSource
from pretrain.distributed import copy_from_first, process_count
from pretrain.learner import Learner
from pretrain.optimization import make_average, make_optimizer
from pretrain.settings import Settings
from pretrain.views import INT16_SCALE, Views

MEASURED_CLIPS, MEASURED_BATCHES = 64, 32  # 4096 segments, x and x' of each clip


@dataclass
class RunState:
    """A run between two steps; randomness is a function of seed, step and rank, so none is kept.

    Attributes:
        settings: of the run.
        device: that the run computes on.
        learner: encoder, heads and losses.
        views: segments to log-mels.
        optimizer: of the learner's parameters.
        average: moving average of the learner, where the settings ask for one.
        step: steps taken.
        first_steps_s: seconds of the first steps after the start and after each resume, together.
    """

    settings: Settings
    device: torch.device
    learner: Learner
    views: Views
    optimizer: torch.optim.Optimizer
    average: AveragedModel | None
    step: int = 0
    first_steps_s: float = 0.0

    @classmethod
    def fresh(cls, settings: Settings, device: torch.device) -> RunState:
        """The state before the first step, the same on all processes."""
        torch.manual_seed(settings.seed)
        learner = Learner(settings)
        if device.type == "cuda" and process_count() > 1:
            learner.encoder = nn.SyncBatchNorm.convert_sync_batchnorm(learner.encoder)
        learner.to(device).train()
        copy_from_first(learner)
        views = Views(settings.model, settings.pitch_shift).to(device)
        average = make_average(learner, settings.ema_decay)
        return cls(settings, device, learner, views, make_optimizer(learner, settings), average)

    def measure_spectrum(self, source: SegmentSource) -> None:
        """Measure on the corpus what the spectrum loss takes for its target; every process finds the same."""
        if self.learner.spectrum is None:
            return
        batches = source.batches(
            batch_size=MEASURED_CLIPS,
            segment_samples=self.settings.model.segment_samples,
            seed=self.settings.seed,
        )
        segments = torch.cat([torch.cat(next(batches)) for _ in range(MEASURED_BATCHES)]).to(self.device)
        waveform = segments.float() * INT16_SCALE
        log_mel = torch.cat([self.views.front_end(rows) for rows in waveform.split(MEASURED_CLIPS)])
        for learner in {self.learner, self.validated}:
            if learner.spectrum is not None:
                learner.spectrum.measure(waveform, log_mel)

    @property
    def validated(self) -> Learner:
        """The learner that validation and export take: the moving average, where there is one."""
        return self.learner if self.average is None else cast(Learner, self.average.module)

    def checkpoint(self, elapsed_s: float) -> dict[str, Any]:
        """All that a resumed run needs."""
        return {
            "step": self.step,
            "elapsed_s": elapsed_s,
            "first_steps_s": self.first_steps_s,
            "learner": self.learner.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
        }

    def restore(self, folder: Path) -> float:
        """Go back to a run's checkpoint; returns the seconds spent until then.

        Raises:
            ValueError: the checkpoint is of other settings.
        """
        state = load_checkpoint(folder)
        try:
            self.learner.load_state_dict(state["learner"])
            self.optimizer.load_state_dict(state["optimizer"])
            if self.average is not None:
                self.average.load_state_dict(state["average"])
            self.step, elapsed_s = int(state["step"]), float(state["elapsed_s"])
            self.first_steps_s = float(state.get("first_steps_s", 0.0))
        except (RuntimeError, KeyError, ValueError, TypeError, AttributeError) as error:
            raise ValueError(
                f"{folder / CHECKPOINT} does not fit the settings ({error}): resume with the settings that "
                "the run was begun with, or start a new run"
            ) from error
        return elapsed_s
