"""Training of a tiny network through its command, stopped between epochs, and what its folder then holds."""

import contextlib
import csv

import pytest
import torch
from neurotarget.model import train
from neurotarget.model.training import checkpoint, loop, run_folder

EPOCHS = 4  # of the configuration that conftest.py writes


def run(config, out, *options):
    return train.main([str(config), "--out", str(out), *options])


def rows_of(out):
    """metrics.csv without the time that it took."""
    with (out / "metrics.csv").open() as file:
        return [{name: row[name] for name in run_folder.COLUMNS if name != "seconds"} for row in csv.DictReader(file)]


def same_weights(one, other):
    states = [checkpoint.load_content(path)["state"] for path in (one, other)]
    return list(states[0]) == list(states[1]) and all(
        torch.equal(states[0][name], states[1][name]) for name in states[0]
    )


@contextlib.contextmanager
def interrupted_after(epochs):
    """Training is interrupted when the next epoch begins, as by ^C."""
    with pytest.MonkeyPatch.context() as patch:
        whole = loop.train_epoch

        def epoch(*arguments):
            if arguments[-1] > epochs:
                raise KeyboardInterrupt
            return whole(*arguments)

        patch.setattr(loop, "train_epoch", epoch)
        yield


def contents(out):
    return {file.name: file.read_bytes() for file in out.iterdir()}
