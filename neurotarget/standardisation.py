"""The numbers that bring log-mel frames to mean 0 and deviation 1: a network's, measured on what it was trained on."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

LARGEST_HZ = 20_000  # upper edge of mel filters
FFT_SAMPLES = 256  # where nothing is said
FFT_SIZES = tuple(2**power for power in range(6, 12))  # 64 to 2048 samples
LARGEST = 1e30  # of a number: float32 holds it
KEYS = ("mean", "scale", "fmax_hz")
FFT_KEY = "fft_samples"  # left out of a file where it is `FFT_SAMPLES`
RATE_HZ = 8_000  # where nothing is said
RATES_HZ = (8_000, 16_000)
RATE_KEY = "rate_hz"  # left out of a file where it is `RATE_HZ`


@dataclass(frozen=True, eq=False)
class Standardisation:
    """Frames are `(decibels - mean) * scale`, feature by feature.

    Attributes:
        mean: float32 [features], in dB.
        scale: float32 [features], one over the standard deviation in dB; 0 where a feature is empty.
        fmax_hz: upper edge of the mel filters that gave the features.
        fft_samples: of the FFT that they filtered, at `rate_hz`.
        rate_hz: of the sound.
    """

    mean: np.ndarray
    scale: np.ndarray
    fmax_hz: int
    fft_samples: int = FFT_SAMPLES
    rate_hz: int = RATE_HZ

    @classmethod
    def of(cls, values: object) -> Standardisation:
        """What `as_dict` gave, from a file.

        Raises:
            ValueError: something else; the message says what.
        """
        if not isinstance(values, Mapping) or set(values) - {FFT_KEY, RATE_KEY} != set(KEYS):
            raise ValueError(f"standardisation holds {values!r:.60}; {', '.join(KEYS)} are expected")
        arrays = {key: np.asarray(values[key]) for key in KEYS}
        for key, array in arrays.items():
            if array.dtype.kind not in "iuf" or not (np.abs(array.astype(np.float64)) < LARGEST).all():
                raise ValueError(f"standardisation: {key} is not finite numbers below {LARGEST:g}")
        mean, scale, fmax_hz = (arrays[key] for key in KEYS)
        if mean.ndim != 1 or mean.shape != scale.shape or fmax_hz.ndim:
            raise ValueError(
                f"standardisation: shapes {mean.shape}, {scale.shape}, {fmax_hz.shape}; a row, a row, a number"
            )
        if not 1 <= fmax_hz == np.rint(fmax_hz) <= LARGEST_HZ:
            raise ValueError(
                f"standardisation: fmax_hz is {fmax_hz}; a whole number from 1 to {LARGEST_HZ} is expected"
            )
        fft_samples = _one_of(values, FFT_KEY, FFT_SAMPLES, FFT_SIZES)
        rate_hz = _one_of(values, RATE_KEY, RATE_HZ, RATES_HZ)
        return cls(mean.astype(np.float32), scale.astype(np.float32), int(fmax_hz), fft_samples, rate_hz)

    def as_dict(self) -> dict[str, Any]:
        """Lists and numbers, for a file."""
        said = {"mean": self.mean.tolist(), "scale": self.scale.tolist(), "fmax_hz": self.fmax_hz}
        return said | self.unusual()

    def unusual(self) -> dict[str, int]:
        """What a file says only where it is not what nothing said means: `FFT_KEY`, `RATE_KEY`."""
        found = {FFT_KEY: (self.fft_samples, FFT_SAMPLES), RATE_KEY: (self.rate_hz, RATE_HZ)}
        return {key: value for key, (value, usual) in found.items() if value != usual}

    def applied(self, decibels: np.ndarray) -> np.ndarray:
        """Standardised frames of float32 decibels [..., features]."""
        return (decibels - self.mean) * self.scale

    @property
    def identity(self) -> str:
        """The same for the same numbers."""
        filters = "/".join(map(str, (self.fmax_hz, *self.unusual().values())))
        return hashlib.sha256(self.mean.tobytes() + self.scale.tobytes() + filters.encode()).hexdigest()


def _one_of(values: Mapping[Any, Any], key: str, usual: int, allowed: tuple[int, ...]) -> int:
    found = np.asarray(values.get(key, usual))
    if found.ndim or found.dtype.kind not in "iuf" or found not in allowed:
        raise ValueError(f"standardisation: {key} is {found}; expected one of {allowed}")
    return int(found)
