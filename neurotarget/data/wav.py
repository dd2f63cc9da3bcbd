"""Reading WAV files of one channel through libsndfile: PCM of any width, floating point, extensible, streamed.

The header is judged before anything is allocated. libsndfile takes what is there where a file is shorter than its
header says; a word that was cut off would train and test as a whole one, so that is found here.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

import numpy as np
import soundfile

from .base import DataError

MAX_SECONDS = 10.0  # a word, not a recording session
FORMATS = ("WAV", "WAVEX", "RF64")  # libsndfile's names; it would open FLAC or Ogg under the name .wav, too
STREAMED_BYTES = 0x7FFF0000  # sizes from here on were written by a program that did not yet know the length
LOW_HZ, HIGH_HZ = 8_000, 16_000  # rates of the files, and of the front ends


def is_wav(path: Path) -> bool:
    """Whether a name is that of a WAV file; `._word.wav` is macOS's book-keeping, and hidden files are no data."""
    return path.suffix.lower() == ".wav" and not path.name.startswith(".")


def count_samples(path: Path, rates_hz: Collection[int], rate_hz: int = LOW_HZ) -> int:
    """Number of samples that `read_samples` gives, from the header alone. DataError as there."""
    with _opened(path, rates_hz) as file:
        return -(-file.frames // (file.samplerate // rate_hz))


def read_samples(
    path: Path, rates_hz: Collection[int], rate_hz: int = LOW_HZ, longest_seconds: float = MAX_SECONDS
) -> np.ndarray:
    """Samples of a word at `rate_hz`, float32 [samples], full scale at 1.

    A file of twice that rate is low-pass filtered and decimated.

    Args:
        rates_hz: the rates that the file may have, of `LOW_HZ` and `HIGH_HZ`, none below `rate_hz`.

    Raises:
        DataError: no WAV file, cut off, empty, longer than `longest_seconds`, of several channels or of another rate,
            or with samples that are no finite numbers.
    """
    with _opened(path, rates_hz, longest_seconds) as file:
        announced, recorded_hz = file.frames, file.samplerate
        try:
            sound = file.read(dtype="float32")
        except soundfile.SoundFileError as error:
            raise _damaged(path, error) from error
    if len(sound) != announced:
        raise DataError(f"{path}: truncated: {len(sound)} of {announced} samples can be read; copy it again")
    if not np.isfinite(sound).all():
        raise DataError(f"{path}: {int((~np.isfinite(sound)).sum())} samples are no finite numbers; record it again")
    if recorded_hz == rate_hz:
        return sound
    from scipy.signal import resample_poly  # takes longer to import than all else that most commands need

    return resample_poly(sound, 1, recorded_hz // rate_hz).astype(np.float32)


def _opened(path: Path, rates_hz: Collection[int], longest_seconds: float = MAX_SECONDS) -> soundfile.SoundFile:
    try:
        with path.open("rb") as file:
            _refuse_cut_off(path, file.read(2**16), path.stat().st_size)
        sound = soundfile.SoundFile(os.fsencode(path))
    except DataError:  # is a ValueError, too
        raise
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); check the path and its permissions") from error
    except (soundfile.SoundFileError, ValueError, TypeError) as error:
        raise _damaged(path, error) from error
    reason = None
    if sound.format not in FORMATS:
        reason = f"a {sound.format} file by its content; expected WAV: convert it"
    elif not sound.seekable():  # codecs that libsndfile reads as a stream only
        reason = f"sound in {sound.subtype}, which is not read here; expected PCM or floating point: convert it"
    elif sound.channels != 1:
        reason = f"{sound.channels} channels; expected 1: mix them down to one"
    elif sound.samplerate not in rates_hz:
        expected = " or ".join(f"{rate} Hz" for rate in sorted(rates_hz))
        reason = f"{sound.samplerate} Hz; expected {expected}: resample it"
    elif not 0 < sound.frames <= longest_seconds * sound.samplerate:
        reason = f"{sound.frames} samples; expected one word, from 1 sample to {longest_seconds:g} seconds"
    if reason:
        sound.close()
        raise DataError(f"{path}: {reason}")
    return sound


def _damaged(path: Path, error: Exception) -> DataError:
    return DataError(f"{path}: not a whole WAV file ({error}); copy it again")


def _refuse_cut_off(path: Path, head: bytes, size: int) -> None:
    """RIFF chunks, one after the other: four letters, the size in 32 bits, the data, padded to an even number."""
    at = 12
    while head[:4] == b"RIFF" and at + 8 <= len(head):
        announced = int.from_bytes(head[at + 4 : at + 8], "little")
        if head[at : at + 4] == b"data":
            if size - at - 8 < announced < STREAMED_BYTES:
                raise DataError(
                    f"{path}: truncated: {size - at - 8} of the {announced} bytes of sound that its header announces; "
                    "copy it again"
                )
            return
        at += 8 + announced + announced % 2
