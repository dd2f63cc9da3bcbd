"""Spoken English and German digits made on this machine: no download, 20 classes, the layout of SHD.

eSpeak NG (through the package espeakng-loader, called with ctypes, never shipped: it is GPL-3.0) speaks, `ear` listens,
and the spikes go to three HDF5 files that `shd` reads like the real ones. Each voice is in one split only, together
with its relatives. Rate, pitch, accent and level of each rendition follow from a hash of voice, word and rendition, so
that the same package version gives the same bytes every time.

eSpeak keeps state from word to word, and neither its random seed nor espeak_Terminate clears it: the library is
unloaded after each word, and the C library's rand() seeded before it. The voices with breath noise read memory that
they never wrote and differ from run to run even so; they are left out.
"""

from __future__ import annotations

import _ctypes
import ctypes
import hashlib
import importlib.metadata
import multiprocessing
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import h5py
import numpy as np
from tqdm import tqdm

from . import cache, ear
from .base import DataError, Dataset
from .shd import open_files, units_per_feature_of
from .spec import Spec

ENGLISH = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
GERMAN = ("null", "eins", "zwei", "drei", "vier", "fünf", "sechs", "sieben", "acht", "neun")
CLASSES = ENGLISH + GERMAN
ACCENTS = (
    "en-us", "en", "en-029", "en-gb-scotland", "en-gb-x-gbclan", "en-gb-x-gbcwmd", "en-gb-x-rp", "en-us-nyc",
)  # fmt: skip

# Relatives stand in one list: voices of one name (steph to steph3, grandma and grandpa), voices whose definitions
# agree in three fifths of their lines (Hugo, michel, miguel), and all that speak through the Klatt synthesiser
# (klatt, robosoft, adam, RicishayMax, max). Left out: voices with breath noise (above), and "Mr serious", whose name
# eSpeak cannot be asked for.
VOICES = {
    "train": (
        "m1", "f1", "Andy", "klatt", "Gene", "m3", "Annie", "max", "f4", "Tweaky", "m7", "robosoft", "Alex", "adam",
        "m2", "AnxiousAndy", "RicishayMax", "Andrea", "m4", "norbert", "robosoft6", "Nguyen", "aunty", "benjamin",
        "m5", "edward", "Gene2", "robosoft4", "pablo", "m6", "announcer", "fast", "Mike", "m8", "john", "klatt4",
        "robosoft2", "ian", "UniRobot", "robosoft8", "david", "klatt6", "robosoft3", "mike2", "klatt2",
        "RicishayMax2", "robosoft5", "edward2", "klatt3", "robosoft7", "klatt5", "RicishayMax3",
    ),
    "validation": (
        "Michael", "linda", "iven", "Denis", "Marco", "robert", "Lee", "belinda", "antonio", "rob", "Mario", "iven2",
        "travis", "ed", "gustave", "iven3", "kaukovalta", "Storm", "iven4", "croak",
    ),
    "test": (
        "paul", "steph", "Hugo", "quincy", "grandma", "boris", "marcelo", "anika", "grandpa", "steph2", "michel",
        "Jacky", "anikaRobot", "Diogo", "steph3", "miguel", "zac", "pedro", "Henrique", "shelby",
    ),
}  # fmt: skip
RENDITIONS = {"train": 2, "validation": 1, "test": 1}  # more held-out voices say more than renditions of the same
ALL_VOICES = sum(len(voices) for voices in VOICES.values())
H5_NAMES = {"train": "synth_train.h5", "validation": "synth_valid.h5", "test": "synth_test.h5"}

# eSpeak NG's speak_lib.h
_SYNCHRONOUS, _DONT_EXIT, _UTF8 = 2, 0x8000, 1
_RATE, _PITCH = 1, 3
_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)
_one_word_at_a_time = threading.Lock()


def _locate_espeak() -> tuple[str, str, str]:
    """Library file, data folder and package version; DataError when the optional package is missing."""
    try:
        import espeakng_loader

        version = importlib.metadata.version("espeakng-loader")
    except ImportError as error:
        raise DataError(
            f"synth: the package espeakng-loader is missing ({error}); pip install 'neurotarget[demo]'"
        ) from error
    return str(espeakng_loader.get_library_path()), str(espeakng_loader.get_data_path()), version


def speak(text: str, voice: str, words_per_minute: int, pitch: int) -> np.ndarray:
    """A word as int16 samples at 22,050 Hz.

    voice: eSpeak's name with variant ("de+m3"); pitch: 0..99, 50 is the voice's own. The same arguments give the same
    samples. DataError when eSpeak is missing or refuses the voice.
    """
    library_path, data_path, _ = _locate_espeak()
    chunks: list[np.ndarray] = []

    @_CALLBACK
    def collect(samples, count, _events):
        if samples and count > 0:
            chunks.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0

    with _one_word_at_a_time:
        try:
            library = ctypes.CDLL(library_path)
        except OSError as error:
            raise DataError(f"{library_path}: cannot be loaded ({error}); reinstall espeakng-loader") from error
        try:
            rate_hz = library.espeak_Initialize(_SYNCHRONOUS, 0, data_path.encode(), _DONT_EXIT)
            if rate_hz != ear.SOUND_RATE_HZ:
                raise DataError(
                    f"{library_path}: speaks at {rate_hz} Hz, expected {ear.SOUND_RATE_HZ}; reinstall espeakng-loader"
                )
            library.espeak_SetSynthCallback(collect)
            if library.espeak_SetVoiceByName(voice.encode()) != 0:
                raise DataError(f"{data_path}: eSpeak NG has no voice {voice}; pip install 'neurotarget[demo]'")
            library.espeak_SetParameter(_RATE, words_per_minute, 0)
            library.espeak_SetParameter(_PITCH, pitch, 0)
            # After espeak_Initialize, which seeds it with the time of day.
            ctypes.CDLL(None).srand(1)
            encoded = text.encode() + b"\0"
            library.espeak_Synth(encoded, ctypes.c_size_t(len(encoded)), 0, 0, 0, _UTF8, None, None)
            library.espeak_Synchronize()
            library.espeak_Terminate()
        finally:
            _ctypes.dlclose(library._handle)
    if not chunks:
        raise DataError(f"{library_path}: eSpeak NG said nothing for {text!r}; reinstall espeakng-loader")
    return np.concatenate(chunks)


def _choice(text: str, count: int) -> int:
    """One of 0..count-1, the same for the same text on every machine."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") % count


def render(voice: str, renditions: int) -> list[tuple[int, np.ndarray, np.ndarray]]:
    """All renditions of all words by one voice: (label, times in seconds, units)."""
    utterances = []
    for rendition in range(renditions):
        for label, word in enumerate(CLASSES):
            name = f"{voice}/{word}/{rendition}"
            accent = "de" if word in GERMAN else ACCENTS[_choice(f"{name}/accent", len(ACCENTS))]
            words_per_minute = 110 + _choice(f"{name}/rate", 71)
            pitch = 35 + _choice(f"{name}/pitch", 31)
            level_decibels = _choice(f"{name}/level", 61) / 10 - 3
            sound = speak(word, f"{accent}+{voice}", words_per_minute, pitch)
            utterances.append((label, *ear.hear(sound, level_decibels)))
    return utterances


def choose_voices(count: int) -> dict[str, tuple[str, ...]]:
    """`count` voices by split: about a fifth each for validation and test, at least one."""
    held_out = max(1, count * len(VOICES["validation"]) // ALL_VOICES)
    train = min(count - 2 * held_out, len(VOICES["train"]))
    shares = {"train": train, "validation": held_out, "test": count - train - held_out}
    return {name: VOICES[name][:share] for name, share in shares.items()}


def _render_all(jobs: list[tuple[str, int]]) -> Iterator[list[tuple[int, np.ndarray, np.ndarray]]]:
    """`render` over jobs, in order, on all the cores this process may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    workers = min(cores, len(jobs) // 4)  # starting a worker takes as long as a few voices
    if workers < 2:
        yield from (render(*job) for job in jobs)
        return
    # Not fork: the caller may hold threads (torch's) whose locks a forked child would inherit.
    context = multiprocessing.get_context("spawn")
    try:
        with ProcessPoolExecutor(workers, mp_context=context) as pool:
            yield from pool.map(render, *zip(*jobs, strict=True))
    except BrokenProcessPool as error:
        raise DataError(
            f"synth: a process that makes speech died ({error}); a script that opens synth needs its code under "
            'if __name__ == "__main__":'
        ) from error


def _build(folder: Path, voices: dict[str, tuple[str, ...]]) -> None:
    jobs = [(voice, RENDITIONS[split]) for split, chosen in voices.items() for voice in chosen]
    results = _render_all(jobs)
    total = sum(renditions for _, renditions in jobs) * len(CLASSES)
    with tqdm(total=total, desc="speaking and listening", unit="word", leave=False, disable=None) as bar:
        for split, chosen in voices.items():
            labels: list[int] = []
            speakers: list[int] = []
            times: list[np.ndarray] = []
            units: list[np.ndarray] = []
            for voice in chosen:
                for label, of_word_times, of_word_units in next(results):
                    labels.append(label)
                    speakers.append(jobs.index((voice, RENDITIONS[split])))
                    times.append(of_word_times)
                    units.append(of_word_units)
                    bar.update()
            write_spike_file(folder / H5_NAMES[split], times, units, labels, speakers, CLASSES)


def write_spike_file(
    path: Path,
    times: list[np.ndarray],
    units: list[np.ndarray],
    labels: list[int],
    speakers: list[int],
    words: tuple[str, ...],
) -> None:
    """Write utterances in the HDF5 layout of SHD; the same bytes for the same utterances."""
    with h5py.File(path, "w") as file:
        for name, events, dtype in (("times", times, np.float32), ("units", units, np.uint16)):
            data = file.create_dataset(
                f"spikes/{name}", (len(events),), h5py.vlen_dtype(np.dtype(dtype)), track_times=False
            )
            for row, of_word in enumerate(events):
                data[row] = of_word.astype(dtype)
        file.create_dataset("labels", data=np.asarray(labels, np.uint16), track_times=False)
        file.create_dataset("extra/speaker", data=np.asarray(speakers, np.uint16), track_times=False)
        encoded = np.array([word.encode() for word in words])
        file.create_dataset("extra/keys", data=encoded, track_times=False)


def open_synth(spec: Spec) -> Dataset:
    """Open `synth`: made on first use, about a minute on two cores, then read from the cache."""
    spec.steps(), units_per_feature_of(spec)  # a wrong option should not cost a minute first
    voices = choose_voices(spec.integer("voices", ALL_VOICES, 3, ALL_VOICES))
    identity = {"espeakng-loader": _locate_espeak()[2], "voices": voices, "renditions": RENDITIONS}
    folder = cache.prepared("synth", identity, lambda target: _build(target, voices))
    train, validation, test = (folder / H5_NAMES[name] for name in ("train", "validation", "test"))
    return open_files(spec, train, validation, test)
