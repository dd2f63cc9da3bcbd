"""Log-mel frames of speech at 8 kHz: the front end that gsc and fsdd share.

Hann window and FFT of 256 samples, hop 8000 / steps, 140 triangular filters on the HTK mel scale from 50 Hz to `fmax`
(unit peak, as torchaudio's default), power in dB floored 80 dB below the loudest cell of the utterance. Each feature
is then brought to mean 0 and standard deviation 1 over all frames of the training utterances (without padding), so
that a padded zero is the mean and an input layer needs no scale of its own. A filter that is too narrow to hold an FFT
bin (31.25 Hz apart), or lies above 4 kHz, gives a feature that is zero everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.sparse
from tqdm import tqdm

from . import cache
from .base import DataError
from .spec import Spec

RATE_HZ = 8_000
FFT_SAMPLES = 256
MELS = 140
FMIN_HZ = 50
FMAX_HZ = 4_000  # half of RATE_HZ. The published code says 14,000, where 8 kHz sampling has nothing.
FMAX_LARGEST_HZ = 20_000
RANGE_DECIBELS = 80.0
POWER_FLOOR = 1e-10


@dataclass(frozen=True)
class Utterance:
    """One file of one word."""

    path: Path
    key: str
    speaker: str
    label: int


def mel_filters(fmax_hz: float) -> np.ndarray:
    """Weights of the filters, float64 [129 FFT bins, 140 mels], each a triangle of peak 1 between its neighbours."""

    def mel(hertz: float) -> float:
        return float(2595 * np.log10(1 + hertz / 700))

    edges_hz = 700 * (10 ** (np.linspace(mel(FMIN_HZ), mel(fmax_hz), MELS + 2) / 2595) - 1)
    bins_hz = np.arange(FFT_SAMPLES // 2 + 1) * RATE_HZ / FFT_SAMPLES
    low, centre, high = edges_hz[:-2], edges_hz[1:-1], edges_hz[2:]
    rising = (bins_hz[:, None] - low) / (centre - low)
    falling = (high - bins_hz[:, None]) / (high - centre)
    return np.maximum(0, np.minimum(rising, falling))


def frame_count(samples: int, hop_samples: int) -> int:
    """Frames of a sound: one every hop, the last one possibly short."""
    return -(-samples // hop_samples)


def log_mel(sound: np.ndarray, hop_samples: int, filters: np.ndarray | scipy.sparse.csr_array) -> np.ndarray:
    """Mel power in dB, float32 [frames, 140], of a sound [samples] at 8 kHz; filters: [129, 140], dense or sparse.

    Frame t is centred on the middle of its hop, t * hop + hop / 2; the sound is taken as zero outside.
    """
    frames = frame_count(len(sound), hop_samples)
    before = (FFT_SAMPLES - hop_samples) // 2
    padded = np.zeros((frames - 1) * hop_samples + FFT_SAMPLES + hop_samples, np.float32)
    padded[before : before + len(sound)] = sound
    windows = np.lib.stride_tricks.sliding_window_view(padded, FFT_SAMPLES)[: frames * hop_samples : hop_samples]
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(FFT_SAMPLES) / FFT_SAMPLES)
    power = np.abs(np.fft.rfft(windows * hann, axis=1)) ** 2
    decibels = 10 * np.log10(np.maximum(power @ filters, POWER_FLOOR))
    return np.maximum(decibels, decibels.max() - RANGE_DECIBELS).astype(np.float32)


def hop_of(spec: Spec) -> int:
    """Samples between frames, 8000 / steps. DataError unless whole and no longer than the FFT (no sound is missed)."""
    steps = spec.steps()
    if RATE_HZ % steps or RATE_HZ // steps > FFT_SAMPLES:
        allowed = [n for n in range(1, RATE_HZ + 1) if RATE_HZ % n == 0 and RATE_HZ // n <= FFT_SAMPLES]
        raise DataError(f"{spec.text}: steps={steps} does not divide 8000 samples; expected one of {allowed}")
    return RATE_HZ // steps


def fmax_of(spec: Spec) -> int:
    """Upper edge of the filters in Hz."""
    return spec.integer("fmax", FMAX_HZ, 1_000, FMAX_LARGEST_HZ)


def build(
    folder: Path,
    splits: Mapping[str, Sequence[Utterance]],
    count_samples: Callable[[Path], int],
    read: Callable[[Path], np.ndarray],
    hop_samples: int,
    fmax_hz: int,
) -> None:
    """Write normalised frames of all splits; `read` gives a file's samples at 8 kHz, `count_samples` their number."""
    filters = mel_filters(fmax_hz)
    used = filters.any(axis=0)
    # Two weights an FFT bin at most. A dense product would start the BLAS threads for each word, which costs more than
    # it saves and makes the last digits depend on their number.
    sparse = scipy.sparse.csr_array(filters)
    sums, squares, count = np.zeros(MELS), np.zeros(MELS), 0
    written: dict[str, tuple[np.memmap, np.ndarray]] = {}
    # The padded length has to be known before the first frame is written.
    lengths = {
        name: np.array([frame_count(count_samples(utterance.path), hop_samples) for utterance in of_split], np.int64)
        for name, of_split in splits.items()
    }
    longest = max(int(of_split.max()) for of_split in lengths.values())
    with tqdm(total=sum(map(len, splits.values())), desc="log-mel", unit="utterance", leave=False, disable=None) as bar:
        for name, of_split in splits.items():
            frames = cache.create_frames(folder, name, (len(of_split), longest, MELS), np.float32)
            for row, utterance in enumerate(of_split):
                decibels = log_mel(read(utterance.path), hop_samples, sparse)
                frames[row, : len(decibels)] = decibels
                if name == "train":
                    sums += decibels.sum(axis=0, dtype=np.float64)
                    squares += (decibels.astype(np.float64) ** 2).sum(axis=0)
                    count += len(decibels)
                bar.update()
            written[name] = frames, lengths[name]
    mean = sums / count
    deviation = np.sqrt(np.maximum(squares / count - mean**2, 0))
    scale = np.where(used & (deviation > 1e-3), 1 / np.maximum(deviation, 1e-3), 0).astype(np.float32)
    for name, (frames, of_split_lengths) in written.items():
        for row, length in enumerate(of_split_lengths):
            frames[row, :length] = (frames[row, :length] - mean.astype(np.float32)) * scale
        cache.save_split(
            folder,
            name,
            np.array([utterance.label for utterance in splits[name]]),
            of_split_lengths,
            [utterance.key for utterance in splits[name]],
        )
