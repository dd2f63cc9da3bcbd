"""Reading a WAV file of one channel of 16-bit samples, its header checked before anything is allocated."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np

from .base import DataError

MAX_SECONDS = 10.0  # a word, not a recording session


def read_wav(path: Path, rate_hz: int) -> np.ndarray:
    """Samples of a file as float32 [samples] in -1..1. DataError unless it is whole, mono, 16 bit and at `rate_hz`."""
    count, data = _read(path, rate_hz, samples_too=True)
    if len(data) != 2 * count:
        raise DataError(
            f"{path}: truncated: {len(data) // 2} of the {count} samples its header announces; copy it again"
        )
    return np.frombuffer(data, "<i2").astype(np.float32) / 32768


def count_samples(path: Path, rate_hz: int) -> int:
    """Number of samples that the header of a file announces. DataError unless it is mono, 16 bit and at `rate_hz`."""
    return _read(path, rate_hz, samples_too=False)[0]


def _read(path: Path, rate_hz: int, samples_too: bool) -> tuple[int, bytes]:
    try:
        with wave.open(str(path), "rb") as file:
            channels, width, found_hz, count = file.getparams()[:4]
            if (channels, width, found_hz) != (1, 2, rate_hz):
                raise DataError(
                    f"{path}: {channels} channel(s) of {8 * width} bit at {found_hz} Hz; expected 1 channel of 16 bit "
                    f"at {rate_hz} Hz"
                )
            if not 0 < count <= MAX_SECONDS * rate_hz:
                raise DataError(f"{path}: {count} samples; expected one word, from 1 sample to {MAX_SECONDS:g} seconds")
            return count, file.readframes(count) if samples_too else b""
    except (wave.Error, EOFError) as error:
        raise DataError(
            f"{path}: not a whole WAV file ({error or 'it ends too early'}); expected 16-bit PCM: copy it again"
        ) from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); check the path and its permissions") from error
