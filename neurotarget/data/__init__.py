"""Words as spikes or log-mel frames, and event cameras: `open_dataset(spec)`.

    synth             spoken digits made on this machine, no download
    gsc:PATH          Google Speech Commands, the folder with a folder per word
    shd:PATH          Spiking Heidelberg Digits, the folder with shd_train.h5 and shd_test.h5
    ssc:PATH          Spiking Speech Commands, the folder with ssc_train.h5, ssc_valid.h5 and ssc_test.h5
    fsdd:PATH         Free Spoken Digit Dataset, the folder with {digit}_{speaker}_{k}.wav
    nmnist:PATH       N-MNIST, the folder with Train and Test
    dvsgesture:PATH   DVS Gesture, the folder with ibmGestureTrain and ibmGestureTest
    cifar10dvs:PATH   CIFAR10-DVS, the folder with a folder a class
    wav:PATH          a WAV file or a folder of them, without labels: `open_recordings(spec, standardisation)`

Options follow `?`: `gsc:PATH?words=10&steps=40`. docs/data.md describes them. Numpy only: nothing here needs torch.
"""

from __future__ import annotations

from neurotarget.standardisation import Standardisation

from . import events, fsdd, gsc, logmel, shd, spec, synth
from .base import DataError, Dataset, Recordings, Split, renumbered

__all__ = [
    "DataError",
    "Dataset",
    "Recordings",
    "Split",
    "Standardisation",
    "open_dataset",
    "open_recordings",
    "renumbered",
]


def open_dataset(spec_text: str, standardisation: Standardisation | None = None) -> Dataset:
    """Open (on first use: prepare and cache) the data set that a SPEC names.

    The same recordings come in the same order for every `steps`.

    Args:
        standardisation: of log-mel frames, what a trained network was trained with; left out to train on the data set,
            which then gives its own. Spikes have none. With it, fewer than three speakers are all test.

    Raises:
        DataError: an unknown SPEC, one without labels, a missing or damaged file, or a missing optional package.
    """
    parsed = spec.parse(spec_text)
    match parsed.kind:
        case "synth":
            return synth.open_synth(parsed)
        case "gsc":
            return gsc.open_gsc(parsed, standardisation)
        case "shd" | "ssc":
            return shd.open_spike_set(parsed)
        case "fsdd":
            return fsdd.open_fsdd(parsed, standardisation)
        case "nmnist" | "dvsgesture" | "cifar10dvs":
            return events.open_events(parsed)
    raise DataError(f"{spec_text}: {parsed.kind} has no labels, so it can be classified but not learned or judged")


def open_recordings(spec_text: str, standardisation: Standardisation | None) -> Recordings:
    """Open `wav:PATH` for a trained network.

    Raises:
        DataError: another SPEC, a missing or damaged file, or a network that does not say its `standardisation`.
    """
    if not spec.unlabelled(spec_text):
        raise DataError(f"{spec_text}: expected wav:PATH")
    if standardisation is None:
        raise DataError(
            f"{spec_text}: the network does not say how its log-mel frames were standardised, or was not trained on "
            "any; train it on gsc:PATH or fsdd:PATH with this version, and convert it again"
        )
    return logmel.open_recordings(spec.parse(spec_text), standardisation)
