"""Words as spikes or log-mel frames: `open_dataset(spec)`.

    synth             spoken digits made on this machine, no download
    gsc:PATH          Google Speech Commands, the folder with a folder a word
    shd:PATH          Spiking Heidelberg Digits, the folder with shd_train.h5 and shd_test.h5
    ssc:PATH          Spiking Speech Commands, the folder with ssc_train.h5, ssc_valid.h5 and ssc_test.h5
    fsdd:PATH         Free Spoken Digit Dataset, the folder with {digit}_{speaker}_{k}.wav

Options follow `?`: `gsc:PATH?words=10&steps=40`. docs/data.md describes them. Numpy only: nothing here needs torch.
"""

from __future__ import annotations

from . import fsdd, gsc, shd, spec, synth
from .base import DataError, Dataset, Split

__all__ = ["DataError", "Dataset", "Split", "open_dataset"]


def open_dataset(spec_text: str) -> Dataset:
    """Open (on first use: prepare and cache) the data set that a SPEC names.

    The same utterances come in the same order for every `steps`. DataError for an unknown SPEC, a missing or damaged
    file, or a missing optional package.
    """
    parsed = spec.parse(spec_text)
    match parsed.kind:
        case "synth":
            return synth.open_synth(parsed)
        case "gsc":
            return gsc.open_gsc(parsed)
        case "shd" | "ssc":
            return shd.open_spike_set(parsed)
        case "fsdd":
            return fsdd.open_fsdd(parsed)
    raise AssertionError(f"spec.parse let {parsed.kind!r} through")
