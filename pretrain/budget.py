"""When a run is over, and how much of it is done."""

from __future__ import annotations

import signal
import time
from types import FrameType
from typing import Any

from pretrain.settings import Settings


class Budget:
    """Epochs, steps or minutes.

    Args:
        settings: holds exactly one of the three.
        steps_per_epoch: steps in which every clip comes once; None where the corpus has no known end.

    Raises:
        ValueError: a budget of epochs over a corpus without a known length.
    """

    def __init__(self, settings: Settings, steps_per_epoch: int | None) -> None:
        self.seconds = None if settings.minutes is None else settings.minutes * 60
        self.steps = settings.steps
        self.epochs = settings.epochs
        if settings.epochs is not None:
            if steps_per_epoch is None:
                raise ValueError(
                    f"epochs={settings.epochs}, but this corpus does not say how many clips it has: "
                    "set steps or minutes"
                )
            self.steps = max(1, round(settings.epochs * steps_per_epoch))

    def __str__(self) -> str:
        if self.seconds is not None:
            return f"{self.seconds / 60:g} minutes"
        epochs = "" if self.epochs is None else f"{self.epochs:g} epochs, "
        return f"{epochs}{self.steps} steps"

    def progress(self, step: int, elapsed_s: float) -> float:
        """Spent share; 1 or more when it is over."""
        if self.seconds is not None:
            return elapsed_s / self.seconds
        assert self.steps is not None
        return step / self.steps

    def left_s(self, step: int, elapsed_s: float, s_per_step: float) -> float:
        """Time left at the present speed."""
        if self.seconds is not None:
            return max(0.0, self.seconds - elapsed_s)
        assert self.steps is not None
        return (self.steps - step) * s_per_step


GRACE_S = 60.0  # how long further signals count as the first


class StopSignals:
    """Note SIGTERM and SIGINT, so that the loop can finish its step and write a checkpoint.

    One Ctrl-C or kill reaches a process more than once where a launcher passes it on, so further
    signals within a minute of the first are taken for the same one; after that they have their usual
    effect. ``received`` is the number of the first, 0 before.
    """

    def __init__(self) -> None:
        self.received = 0
        self._received_at = 0.0
        self._previous: dict[int, Any] = {}

    def _note(self, number: int, frame: FrameType | None) -> None:
        if not self.received:
            self.received, self._received_at = number, time.monotonic()
        elif time.monotonic() - self._received_at > GRACE_S:
            self._restore()
            signal.raise_signal(number)

    def _restore(self) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def __enter__(self) -> StopSignals:
        for number in (signal.SIGTERM, signal.SIGINT):
            self._previous[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *exception: object) -> None:
        self._restore()
