"""Heaps of texts in HDF5 files, as h5py writes them and with one size that keeps a reader at one place."""

import h5py
import nir
import numpy as np
import pytest

from neurotarget import cli
from neurotarget.data.base import DataError
from neurotarget.data.shd import SpikeFile
from neurotarget.heaps import HEADER, HEAP, endless_heap
from tests.recordings import write_spikes


def damage(path, at=HEADER):
    """Makes the object at a byte of the last heap free space of no size; gives the byte in the file."""
    content = bytearray(path.read_bytes())
    place = content.rindex(HEAP) + at
    content[place : place + 2] = bytes(2)
    content[place + 8 : place + 16] = bytes(8)
    path.write_bytes(content)
    return place


@pytest.mark.parametrize("texts", [["LIF"], ["a" * size for size in range(1, 200)], ["x" * 70_000, "y"]])
def test_what_h5py_writes_ends(tmp_path, texts):
    path = tmp_path / "texts.h5"
    with h5py.File(path, "w") as file:
        file["texts"] = np.array(texts, h5py.string_dtype())
    assert HEAP in path.read_bytes() and endless_heap(path, 8) is None


def test_the_second_object_is_found_too(tmp_path):
    path = tmp_path / "texts.h5"
    with h5py.File(path, "w") as file:
        file["texts"] = np.array(["123456789", "987654321"], h5py.string_dtype())
    place = damage(path, HEADER + HEADER + 16)  # nine bytes each take sixteen
    assert endless_heap(path, 8) == f"the heap of its texts is damaged at byte {place}; write or copy it again"


def test_no_heap_and_sizes_of_another_width(tmp_path):
    path = tmp_path / "numbers.h5"
    with h5py.File(path, "w") as file:
        file["numbers"] = np.arange(4)
    assert endless_heap(path, 8) is None
    assert "sizes in 4 bytes, 8 are read" in (endless_heap(path, 4) or "")


def test_a_nir_file_that_would_never_be_read_is_refused(tmp_path, capsys):
    path = tmp_path / "model.nir"
    nodes = {"i": nir.Input({"input": np.array([2])}), "o": nir.Output({"output": np.array([2])})}
    nir.write(path, nir.NIRGraph(nodes, [("i", "o")], {"dt": 1e-4}))
    place = damage(path)
    assert cli.main(["place", str(path), "--chip", "loihi1"]) == 2
    assert f"model.nir: the heap of its texts is damaged at byte {place}" in capsys.readouterr().err


def test_a_spike_file_that_would_never_be_read_is_refused(tmp_path):
    path = tmp_path / "shd_train.h5"
    write_spikes(path, [([0.1, 0.2], [1, 2])], [0])
    damage(path)
    with pytest.raises(DataError, match="the heap of its texts is damaged"):
        SpikeFile(path)
