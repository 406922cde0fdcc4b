"""Processes that a launcher started end with it, however it ends."""

from __future__ import annotations

import os
import signal
import threading
import time

LOOK_EVERY_S = 1.0


def end_with_parent(look_every_s: float = LOOK_EVERY_S) -> None:
    """Send this process SIGTERM once the process that started it is gone.

    torchrun that is killed by SIGKILL leaves its workers behind, and they would train on. With the
    signal they write a checkpoint and end.
    """
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(look_every_s)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True, name="end with parent").start()
