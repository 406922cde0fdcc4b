"""Audio files as task folders hold them, written at their own sample format."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import soundfile

# Containers whose coding loses something: written at the best quality that they have.
LOSSY_FORMATS = ("OGG", "MP3")
OPUS_RATES_HZ = (8000, 12000, 16000, 24000, 48000)  # the only ones that Opus knows


def write_audio(path: Path, audio: np.ndarray, sample_rate: int, container: str, subtype: str) -> None:
    """Write float32 samples in [-1, 1], clipped where they reach over.

    16-bit samples come out as the integers that they were read from, which libsndfile's own conversion
    (to 32767, from 32768) does not give. At a rate that Opus does not know, the container gets Vorbis.

    Raises:
        OSError: the disk is full, or not to be written to.
    """
    if subtype == "PCM_16":
        audio = np.rint(audio * 32768.0).clip(-32768, 32767).astype(np.int16)
    if subtype == "OPUS" and sample_rate not in OPUS_RATES_HZ:
        subtype = "VORBIS"
    quality = 0.0 if container in LOSSY_FORMATS else None
    try:
        soundfile.write(
            os.fsencode(path),
            audio,
            sample_rate,
            format=container,
            subtype=subtype,
            compression_level=quality,
        )
    except soundfile.LibsndfileError as error:
        message = f"cannot be written ({error.error_string}): is the disk full, or read-only?"
        raise OSError(errno.EIO, message, str(path)) from None


def fix_length(audio: np.ndarray, frames: int) -> np.ndarray:
    """Cut at the end, or fill up with zeros there."""
    return np.pad(audio[:frames], (0, max(0, frames - len(audio))))
