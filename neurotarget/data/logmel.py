"""Log-mel frames of speech at 8 kHz, or 16 (`rate`): the front end that gsc and fsdd share.

Hann window and FFT of 256 samples (`n_fft`; 512 at 16 kHz), hop rate / steps, 140 triangular filters (`n_mels`) on the
HTK mel scale from 50 Hz to `fmax`, half the rate (unit peak, as torchaudio's default), power in dB floored 80 dB below
the loudest cell of the utterance. Each feature is then brought to mean 0 and standard deviation 1 over all frames of
the training utterances (without padding), so that a padded zero is the mean and an input layer needs no scale of its
own. A trained network brings its own numbers for that (neurotarget/standardisation.py), so that it hears one word, or
another speaker, as it heard those it learned.
A filter that is too narrow to hold an FFT bin (31.25 Hz apart), or lies above half the rate, gives a feature that is
zero everywhere.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from neurotarget.standardisation import FFT_SAMPLES, FFT_SIZES, LARGEST_HZ, RATE_HZ, RATES_HZ, Standardisation

from . import cache
from .base import DataError, Dataset, Recordings
from .spec import Spec
from .wav import HIGH_HZ, LOW_HZ, count_samples, is_wav, read_samples

if TYPE_CHECKING:
    import scipy.sparse

MELS = 140
MOST_MELS = 512
FMIN_HZ = 50
RANGE_DECIBELS = 80.0
POWER_FLOOR = 1e-10


@dataclass(frozen=True)
class Utterance:
    """One file of one word."""

    path: Path
    key: str
    speaker: str
    label: int


def mel_filters(fmax_hz: float, mels: int = MELS, fft_samples: int = FFT_SAMPLES, rate_hz: int = RATE_HZ) -> np.ndarray:
    """Weights of the filters, float64 [129 FFT bins, 140 mels], each a triangle of peak 1 between its neighbours.

    Of other numbers of `fft_samples` there are half as many bins and one.
    """
    edges_hz = _edges_hz(fmax_hz, mels)
    bins_hz = np.arange(fft_samples // 2 + 1) * rate_hz / fft_samples
    low, centre, high = edges_hz[:-2], edges_hz[1:-1], edges_hz[2:]
    rising = (bins_hz[:, None] - low) / (centre - low)
    falling = (high - bins_hz[:, None]) / (high - centre)
    return np.maximum(0, np.minimum(rising, falling))


def centres_hz(fmax_hz: float, mels: int) -> np.ndarray:
    """Where each filter has its peak, float64 [mels]."""
    return _edges_hz(fmax_hz, mels)[1:-1]


def _edges_hz(fmax_hz: float, mels: int) -> np.ndarray:
    """Lower edge, centres and upper edge of the filters, float64 [mels + 2], at equal distances in mel."""

    def mel(hertz: float) -> float:
        return float(2595 * np.log10(1 + hertz / 700))

    edges: np.ndarray = 700 * (10 ** (np.linspace(mel(FMIN_HZ), mel(fmax_hz), mels + 2) / 2595) - 1)
    return edges


def frame_count(samples: int, hop_samples: int) -> int:
    """Frames of a sound: one every hop, the last one possibly short."""
    return -(-samples // hop_samples)


def log_mel(sound: np.ndarray, hop_samples: int, filters: np.ndarray | scipy.sparse.csr_array) -> np.ndarray:
    """Mel power in dB, float32 [frames, mels], of a sound [samples]; filters: [bins, mels], dense or sparse.

    Frame t is centred on the middle of its hop, t * hop + hop / 2; the sound is taken as zero outside.
    """
    frames, fft_samples = frame_count(len(sound), hop_samples), 2 * (filters.shape[0] - 1)
    before = (fft_samples - hop_samples) // 2
    padded = np.zeros((frames - 1) * hop_samples + fft_samples + hop_samples, np.float32)
    padded[before : before + len(sound)] = sound
    windows = np.lib.stride_tricks.sliding_window_view(padded, fft_samples)[: frames * hop_samples : hop_samples]
    decibels = mel_decibels(windows, filters)
    return np.maximum(decibels, decibels.max() - RANGE_DECIBELS).astype(np.float32)


def mel_decibels(windows: np.ndarray, filters: np.ndarray | scipy.sparse.csr_array) -> np.ndarray:
    """Mel power in dB, float64 [frames, mels], of windows [frames, FFT] of a sound; filters: [bins, mels]."""
    fft_samples = windows.shape[1]
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(fft_samples) / fft_samples)
    power = np.abs(np.fft.rfft(windows * hann, axis=1)) ** 2
    decibels: np.ndarray = 10 * np.log10(np.maximum(power @ filters, POWER_FLOOR))
    return decibels


def hop_of(spec: Spec) -> int:
    """Samples between frames, rate / steps. DataError unless whole and no longer than the FFT (no sound is missed)."""
    steps, fft_samples, rate_hz = spec.steps(), fft_of(spec), rate_of(spec)
    if rate_hz % steps or rate_hz // steps > fft_samples:
        allowed = [n for n in range(1, rate_hz + 1) if rate_hz % n == 0 and rate_hz // n <= fft_samples]
        raise DataError(f"{spec.text}: steps={steps} does not divide {rate_hz} samples; expected one of {allowed}")
    return rate_hz // steps


def rate_of(spec: Spec) -> int:
    """Samples per second that frames are made of. DataError for a number that is not in `RATES_HZ`."""
    return _choice(spec, "rate", RATE_HZ, RATES_HZ)


def fmax_of(spec: Spec) -> int:
    """Upper edge of the filters in Hz. The published code says 14,000 at 8 kHz, which has nothing above 4,000."""
    return spec.integer("fmax", rate_of(spec) // 2, 1_000, LARGEST_HZ)


def mels_of(spec: Spec) -> int:
    """Number of filters."""
    return spec.integer("n_mels", MELS, 1, MOST_MELS)


def fft_of(spec: Spec) -> int:
    """Samples of the FFT and its window, by default 32 ms. DataError for no power of two, or too large a one."""
    return _choice(spec, "n_fft", FFT_SAMPLES * rate_of(spec) // RATE_HZ, FFT_SIZES)


def _choice(spec: Spec, key: str, default: int, allowed: tuple[int, ...]) -> int:
    found = spec.integer(key, default, allowed[0], allowed[-1])
    if found not in allowed:
        raise DataError(f"{spec.text}: {key}={found}; expected one of {', '.join(map(str, allowed))}")
    return found


def filters_of(spec: Spec) -> scipy.sparse.csr_array:
    """The filters, [bins, mels]."""
    return sparse_filters(fmax_of(spec), mels_of(spec), fft_of(spec), rate_of(spec))


def check_options(spec: Spec) -> None:
    """A wrong option is said before any file is looked for. DataError."""
    hop_of(spec)
    fmax_of(spec)
    mels_of(spec)


def open_words(
    spec: Spec,
    splits: Mapping[str, Sequence[Utterance]],
    classes: tuple[str, ...],
    rate_hz: int,
    standardisation: Standardisation | None,
) -> Dataset:
    """The data set of `splits`, on first use reading every file and caching the frames.

    Args:
        splits: one without utterances is left out of the data set; without `standardisation`, train has some.
        rate_hz: of the files, 8000 or 16000, and no lower than the front end's.
        standardisation: that of a trained network; the train split's own when left out.

    Raises:
        DataError: a file that cannot be used, or a `standardisation` of other filters.
    """
    splits = {name: of_split for name, of_split in splits.items() if of_split}  # no file can be mapped without bytes
    if standardisation is None:
        used = _identity(spec, {"train": splits["train"]}, (rate_hz,))
        folder = cache.prepared(
            f"{spec.kind}-standardisation",
            used,
            lambda target: _measure(spec, splits["train"], rate_hz, target / "standardisation.json"),
        )
        standardisation = _measured(folder / "standardisation.json")
    folder = _prepared(spec, splits, (rate_hz,), standardisation)
    found = cache.load_dataset(folder, spec.text, classes, hop_of(spec) / rate_of(spec), tuple(splits), standardisation)
    speakers = {name: tuple(utterance.speaker for utterance in of_split) for name, of_split in splits.items()}
    known = {name: replace(split, speakers=speakers[name]) for name, split in found.splits.items()}
    return replace(found, splits=known)


def open_recordings(spec: Spec, standardisation: Standardisation) -> Recordings:
    """The words of `wav:PATH`: one file, or all WAV files of a folder and the folders in it, in order of their names.

    DataError: no such file, a file that cannot be used, or a `standardisation` of other filters.
    """
    check_options(spec)
    if spec.path.is_dir():
        found = sorted(path for path in spec.path.rglob("*") if is_wav(path) and path.is_file())
        utterances = [Utterance(path, path.relative_to(spec.path).as_posix(), "", 0) for path in found]
    else:
        utterances = [Utterance(spec.path, spec.path.name, "", 0)]
    if not utterances:
        raise DataError(f"{spec.path}: no .wav file in this folder; expected a WAV file, or a folder of them")
    rates_hz = tuple(rate_hz for rate_hz in (LOW_HZ, HIGH_HZ) if rate_hz >= rate_of(spec))
    folder = _prepared(spec, {"test": utterances}, rates_hz, standardisation)
    split = cache.load_split(folder, "test")
    return Recordings(spec.text, hop_of(spec) / rate_of(spec), split.frames, split.lengths, split.keys)


def _identity(spec: Spec, splits: Mapping[str, Sequence[Utterance]], rates_hz: tuple[int, ...]) -> dict[str, Any]:
    paths = [utterance.path for of_split in splits.values() for utterance in of_split]
    for path in paths:
        if not path.is_file():
            raise DataError(f"{path}: no such file")
    root = spec.path if spec.path.is_dir() else spec.path.parent
    # A folder that was made before an option existed has its default and stays valid.
    options = {
        "n_mels": (mels_of(spec), MELS),
        "n_fft": (fft_of(spec), FFT_SAMPLES),
        "rate": (rate_of(spec), RATE_HZ),
    }
    return {
        "folder": str(root.resolve()),
        "files": cache.file_identity(paths, root),
        "splits": {name: [utterance.key for utterance in of_split] for name, of_split in splits.items()},
        "rates": rates_hz,
        "hop": hop_of(spec),
        "fmax": fmax_of(spec),
        **{key: value for key, (value, default) in options.items() if value != default},
    }


def _prepared(
    spec: Spec,
    splits: Mapping[str, Sequence[Utterance]],
    rates_hz: tuple[int, ...],
    standardisation: Standardisation,
) -> Path:
    """The folder with the standardised frames of all splits."""
    ours = {"n_mels": mels_of(spec), "fmax": fmax_of(spec), "n_fft": fft_of(spec), "rate": rate_of(spec)}
    known = (len(standardisation.mean), standardisation.fmax_hz, standardisation.fft_samples, standardisation.rate_hz)
    theirs = dict(zip(ours, known, strict=True))
    if ours != theirs:
        fft = f", FFT of {theirs['n_fft']}" if ours["n_fft"] != theirs["n_fft"] else ""
        fft += f", sound at {theirs['rate']} Hz" if ours["rate"] != theirs["rate"] else ""
        remedy = "&".join(f"{key}={value}" for key, value in theirs.items() if value != ours[key])
        raise DataError(
            f"{spec.text}: {ours['n_mels']} filters up to {ours['fmax']} Hz; the network was trained on "
            f"{theirs['n_mels']} up to {theirs['fmax']} Hz{fft}: write {remedy}"
        )
    identity = {**_identity(spec, splits, rates_hz), "standardisation": standardisation.identity}
    return cache.prepared(spec.kind, identity, lambda target: _write(target, splits, rates_hz, spec, standardisation))


def sparse_filters(
    fmax_hz: int, mels: int = MELS, fft_samples: int = FFT_SAMPLES, rate_hz: int = RATE_HZ
) -> scipy.sparse.csr_array:
    import scipy.sparse  # takes long to import, and what was computed once is kept

    # Two weights an FFT bin at most. A dense product would start the BLAS threads for each word, which costs more than
    # it saves and makes the last digits depend on their number.
    return scipy.sparse.csr_array(mel_filters(fmax_hz, mels, fft_samples, rate_hz))


def _measure(spec: Spec, train: Sequence[Utterance], rate_hz: int, path: Path) -> None:
    """Writes the mean and the standard deviation of each feature over the frames of the train split."""
    filters, hop_samples = filters_of(spec), hop_of(spec)
    sums, squares, count = np.zeros(filters.shape[1]), np.zeros(filters.shape[1]), 0
    for utterance in tqdm(train, desc="log-mel, mean and deviation", unit="utterance", leave=False, disable=None):
        decibels = log_mel(read_samples(utterance.path, (rate_hz,), rate_of(spec)), hop_samples, filters)
        sums += decibels.sum(axis=0, dtype=np.float64)
        squares += (decibels.astype(np.float64) ** 2).sum(axis=0)
        count += len(decibels)
    mean = sums / count
    deviation = np.sqrt(np.maximum(squares / count - mean**2, 0))
    used = (filters.sum(axis=0) > 0) & (deviation > 1e-3)
    scale = np.where(used, 1 / np.maximum(deviation, 1e-3), 0)
    found = Standardisation(
        mean.astype(np.float32), scale.astype(np.float32), fmax_of(spec), fft_of(spec), rate_of(spec)
    )
    path.write_text(json.dumps(found.as_dict()))


def _measured(path: Path) -> Standardisation:
    try:
        return Standardisation.of(json.loads(path.read_text()))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: damaged ({error}); delete this folder") from error


def _write(
    folder: Path,
    splits: Mapping[str, Sequence[Utterance]],
    rates_hz: tuple[int, ...],
    spec: Spec,
    standardisation: Standardisation,
) -> None:
    filters, hop_samples = filters_of(spec), hop_of(spec)
    # The padded length has to be known before the first frame is written.
    lengths = {
        name: np.array(
            [frame_count(count_samples(u.path, rates_hz, rate_of(spec)), hop_samples) for u in of_split], np.int64
        )
        for name, of_split in splits.items()
    }
    longest = max(int(of_split.max(initial=0)) for of_split in lengths.values())
    with tqdm(total=sum(map(len, splits.values())), desc="log-mel", unit="utterance", leave=False, disable=None) as bar:
        for name, of_split in splits.items():
            frames = cache.create_frames(folder, name, (len(of_split), longest, filters.shape[1]), np.float32)
            for row, utterance in enumerate(of_split):
                decibels = log_mel(read_samples(utterance.path, rates_hz, rate_of(spec)), hop_samples, filters)
                frames[row, : len(decibels)] = standardisation.applied(decibels)
                bar.update()
            labels = np.array([utterance.label for utterance in of_split], np.int64)
            cache.save_split(folder, name, labels, lengths[name], [utterance.key for utterance in of_split])
