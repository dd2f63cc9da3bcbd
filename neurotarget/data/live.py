"""Sound that is still being made: log-mel frames as soon as each is complete.

The frames are those of logmel.py, bit for bit, but for the floor 80 dB below the loudest filter of a word: that is
known when the word has ended, so here it is the loudest so far. From the loudest frame on all are equal.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import numpy as np
import soundfile

from neurotarget.standardisation import Standardisation

from .base import DataError
from .logmel import RANGE_DECIBELS, mel_decibels, sparse_filters
from .wav import FORMATS, HIGH_HZ, LOW_HZ

HALF_FILTER = 20  # taps on either side in scipy.signal.resample_poly(sound, 1, 2), at 16 kHz
BLOCK_SECONDS = 0.02


class LogMel:
    """Frames of one sound that arrives in pieces.

    Attributes:
        hop_samples: between frames, at the rate of the front end.
        ahead_seconds: of sound after the end of a frame's hop that the frame needs.
    """

    def __init__(self, rate_hz: int, hop_samples: int, standardisation: Standardisation) -> None:
        """`rate_hz` of the sound: the front end's or twice that; `hop_samples` at its rate, no longer than its FFT."""
        self.hop_samples, self.standardisation = hop_samples, standardisation
        self._fft_samples = standardisation.fft_samples
        before = (self._fft_samples - hop_samples) // 2
        front_end_hz = standardisation.rate_hz
        halving = rate_hz == 2 * front_end_hz
        ahead_samples = self._fft_samples - before - hop_samples
        self.ahead_seconds = ahead_samples / front_end_hz + halving * HALF_FILTER / rate_hz
        mels = len(standardisation.mean)
        self._filters = sparse_filters(standardisation.fmax_hz, mels, self._fft_samples, front_end_hz)
        self._halved = _Halved() if halving else None
        self._sound = np.zeros(before, np.float32)  # from the start of the next frame's window
        self._hop_at = before
        self._waiting = 0  # samples of hops whose frame is not complete
        self._loudest = -np.inf

    def push(self, sound: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The frames that a piece of sound float32 [samples] completes, and how loud their hops are.

        Returns:
            float32 [frames, mels], standardised; float32 [frames], mean power of the hop in dB of full scale.
        """
        return self._frames(sound if self._halved is None else self._halved.push(sound))

    def end(self) -> tuple[np.ndarray, np.ndarray]:
        """The frames that were waiting for sound after the end, which is silence; the last hop may be short."""
        left = self._frames(self._halved.end()) if self._halved else self._frames(np.zeros(0, np.float32))
        frames = -(-self._waiting // self.hop_samples)
        rest = self._frames(np.zeros(frames * self.hop_samples + self._fft_samples, np.float32), frames)
        return np.concatenate([left[0], rest[0]]), np.concatenate([left[1], rest[1]])

    def _frames(self, sound: np.ndarray, at_most: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        self._sound = np.concatenate([self._sound, sound])
        self._waiting += len(sound) if at_most is None else 0
        count = max(0, (len(self._sound) - self._fft_samples) // self.hop_samples + 1)
        count = count if at_most is None else min(count, at_most)
        if not count:
            return np.zeros((0, self._filters.shape[1]), np.float32), np.zeros(0, np.float32)
        windows = np.lib.stride_tricks.sliding_window_view(self._sound, self._fft_samples)[:: self.hop_samples][:count]
        decibels = mel_decibels(windows, self._filters)
        loudest = np.maximum(np.maximum.accumulate(decibels.max(axis=1)), self._loudest)
        self._loudest = float(loudest[-1])
        floored = np.maximum(decibels, loudest[:, None] - RANGE_DECIBELS).astype(np.float32)
        hops = windows[:, self._hop_at : self._hop_at + self.hop_samples].astype(np.float64)
        power = 10 * np.log10(np.maximum((hops**2).mean(axis=1), 1e-12))
        self._sound = self._sound[count * self.hop_samples :]
        self._waiting -= count * self.hop_samples
        return self.standardisation.applied(floored), power.astype(np.float32)


class _Halved:
    """16 kHz to 8 kHz in pieces, the samples that `resample_poly` gives of the whole sound."""

    def __init__(self) -> None:
        self._sound = np.zeros(0, np.float32)
        self._first = 0  # number of the sample that stands first, even
        self._sent = 0

    def push(self, sound: np.ndarray) -> np.ndarray:
        self._sound = np.concatenate([self._sound, sound.astype(np.float32)])
        return self._until((self._first + len(self._sound) - 1 - HALF_FILTER) // 2 + 1)

    def end(self) -> np.ndarray:
        return self._until(-(-(self._first + len(self._sound)) // 2))

    def _until(self, end: int) -> np.ndarray:
        from scipy.signal import resample_poly  # takes longer to import than all else that most commands need

        if end <= self._sent:
            return np.zeros(0, np.float32)
        halved = resample_poly(self._sound, 1, 2)[self._sent - self._first // 2 : end - self._first // 2]
        self._sent = end
        kept = max(self._first, 2 * end - HALF_FILTER)  # what the filter still reaches
        kept -= kept % 2
        self._sound, self._first = self._sound[kept - self._first :], kept
        return halved.astype(np.float32)


@contextlib.contextmanager
def opened_sound(place: str) -> Iterator[soundfile.SoundFile]:
    """A WAV file to be read as it comes; `-` is standard input.

    Raises:
        DataError: missing, no WAV file, or of several channels or another rate than 8 or 16 kHz.
    """
    name = "standard input" if place == "-" else place
    if place != "-" and not os.path.exists(place):
        raise DataError(f"{name}: no such file")
    try:
        file = soundfile.SoundFile(0, closefd=False) if place == "-" else soundfile.SoundFile(os.fsencode(place))
    except (OSError, soundfile.SoundFileError) as error:
        raise DataError(f"{name}: not a WAV file that can be read ({error})") from error
    with file:
        if file.format not in FORMATS or file.channels != 1 or file.samplerate not in (LOW_HZ, HIGH_HZ):
            raise DataError(
                f"{name}: {file.format}, {file.channels} channels, {file.samplerate} Hz; expected a WAV file of one "
                f"channel at {LOW_HZ} or {HIGH_HZ} Hz: convert it"
            )
        yield file


def blocks(file: soundfile.SoundFile, name: str) -> Iterator[np.ndarray]:
    """The sound of a file, float32 [samples], in pieces of 20 ms, as they arrive.

    Raises:
        DataError: samples that are no finite numbers.
    """
    while len(block := file.read(round(BLOCK_SECONDS * file.samplerate), dtype="float32")):
        if not np.isfinite(block).all():
            raise DataError(f"{name}: samples that are no finite numbers; record it again")
        yield block
