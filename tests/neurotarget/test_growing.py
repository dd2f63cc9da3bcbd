"""A file that grew part by part has the bytes of one that was written at once."""

import os

import numpy as np
import pytest

from neurotarget.files import write_npz
from neurotarget.growing import GrowingArrays


def test_parts_give_the_bytes_of_the_whole(tmp_path):
    rng = np.random.default_rng(0)
    arrays = {
        "spikes/first": (rng.random((50, 20, 300)) < 0.1).astype(np.uint8),
        "output": rng.normal(size=(50, 20, 4)),
        "length": rng.integers(1, 20, 50),
    }
    write_npz(tmp_path / "whole.npz", {**arrays, "header": np.array("ä {}")})
    with GrowingArrays(tmp_path / "parts.npz") as growing:
        for start, stop in ((0, 1), (1, 17), (17, 17), (17, 50)):
            growing.append({name: array[start:stop] for name, array in arrays.items()})
        assert os.listdir(tmp_path) == ["whole.npz"]  # what grows has no name
        growing.write({"header": np.array("ä {}")})
    assert (tmp_path / "parts.npz").read_bytes() == (tmp_path / "whole.npz").read_bytes()


@pytest.mark.parametrize("part", [np.zeros((2, 3)), np.zeros((2, 4), np.float32)])
def test_rows_of_another_kind_are_refused(tmp_path, part):
    with GrowingArrays(tmp_path / "parts.npz") as growing:
        growing.append({"a": np.zeros((2, 4))})
        with pytest.raises(ValueError, match="after rows of float64"):
            growing.append({"a": part})
    assert not os.listdir(tmp_path)
