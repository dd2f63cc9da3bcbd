"""Large arrays of an uncompressed `.npz` are mapped: no limit of memory, the same checks."""

import numpy as np
import pytest

from neurotarget import arrays, mapped
from neurotarget.arrays import ArraysError, read_arrays


@pytest.fixture(autouse=True)
def small_is_large(monkeypatch):
    monkeypatch.setattr(mapped, "MAPPED_FROM_BYTES", 1000)
    monkeypatch.setattr(mapped, "BLOCK_BYTES", 300)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["uint8", "float32", ">f8"])
def test_what_is_mapped_is_what_was_saved_and_counts_for_nothing(tmp_path, order, dtype):
    values = np.asarray(np.random.default_rng(0).integers(0, 9, (20, 30, 4)), dtype, order=order)
    np.savez(tmp_path / "x.npz", label=np.arange(20), input=values)
    found = read_arrays(tmp_path / "x.npz", largest_bytes=200)  # the labels alone take 160
    np.testing.assert_array_equal(found["input"], values)
    assert found["input"].dtype == np.dtype(dtype) and not found["input"].flags.writeable
    assert found["label"].flags.writeable  # small: read
    np.savez_compressed(tmp_path / "x.npz", label=np.arange(20), input=values)
    with pytest.raises(ArraysError, match=r"leaves 40; split the file, or save it with np\.savez, uncompressed"):
        read_arrays(tmp_path / "x.npz", largest_bytes=200)
    assert read_arrays(tmp_path / "x.npz")["input"].flags.writeable


def test_a_flipped_bit_and_a_missing_end_are_found(tmp_path):
    np.savez(tmp_path / "x.npz", input=np.zeros((50, 40)))
    whole = bytearray((tmp_path / "x.npz").read_bytes())
    whole[9000] ^= 1
    (tmp_path / "flipped.npz").write_bytes(whole)
    with pytest.raises(ArraysError, match=r"damaged .Bad CRC-32"):
        read_arrays(tmp_path / "flipped.npz")
    end = whole.rindex(b"PK\x01\x02")
    (tmp_path / "short.npz").write_bytes(whole[: end - 4000] + whole[end:])
    with pytest.raises(ArraysError):
        read_arrays(tmp_path / "short.npz")


def test_arrays_of_other_programs_are_read_as_before(tmp_path):
    assert arrays.LARGEST_BYTES == 2**30
    np.savez(tmp_path / "x.npz", input=np.zeros((50, 40)))
    content = (tmp_path / "x.npz").read_bytes().replace(b"(50, 40)", b"(50, 99)")
    (tmp_path / "lies.npz").write_bytes(content)
    with pytest.raises(ArraysError, match="cut off"):
        read_arrays(tmp_path / "lies.npz")
