"""Arrays from anywhere: what numpy reads is read the same, what means harm is refused before memory is taken."""

import io
import re
import tracemalloc
import zipfile

import numpy as np
import pytest

from neurotarget.arrays import ArraysError, read_arrays

MAGIC = b"\x93NUMPY\x01\x00"


def entry(header: str, data: bytes = b"") -> bytes:
    """One `.npy` of any header."""
    text = header.encode("latin1") + b"\n"
    return MAGIC + len(text).to_bytes(2, "little") + text + data


def described(shape: str, descr: str = "'<f8'", data: bytes = b"") -> bytes:
    return entry(f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}", data)


def archive(path, content: bytes, compression=zipfile.ZIP_DEFLATED, name="input.npy"):
    with zipfile.ZipFile(path, "w", compression) as file:
        file.writestr(name, content)
    return path


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_what_numpy_writes_is_read_as_numpy_reads_it(tmp_path, save):
    rng = np.random.default_rng(0)
    given = {
        "input": rng.normal(size=(3, 5, 7)),
        "turned": np.asfortranarray(rng.normal(size=(4, 6)).astype(np.float32)),
        "big_endian": np.arange(5, dtype=">i4"),
        "truth": rng.random((2, 9)) > 0.5,
        "text": np.array("a header, ü"),
        "complex": np.array([1 + 2j]),
        "empty": np.zeros((0, 3), np.uint8),
        "number": np.float64(3.5),
    }
    save(tmp_path / "x.npz", **given)
    found = read_arrays(tmp_path / "x.npz")
    assert list(found) == list(given)
    for name, array in given.items():
        assert (found[name].dtype, found[name].shape) == (np.asarray(array).dtype, np.shape(array))
        np.testing.assert_array_equal(found[name], array)


def test_only_what_is_wanted_is_read(tmp_path):
    np.savez(tmp_path / "x.npz", input=np.ones(3), objects=np.array([{}, []], dtype=object))
    assert list(read_arrays(tmp_path / "x.npz", lambda name: name == "input")) == ["input"]
    with pytest.raises(ArraysError, match=r"x\.npz: array 'objects' is of type object; numbers or texts are expected"):
        read_arrays(tmp_path / "x.npz")


HOSTILE = {
    "no header": (entry("hello"), "is damaged"),
    "header of a call": (entry("__import__('os').abort()"), "is damaged"),
    "header of open lines": (entry("(\n"), "is damaged"),
    "nested header": (entry("(" * 400 + ")" * 400), "is damaged"),
    "long header": (described("(1,)" + " " * 20_000), "is damaged"),
    "no numpy": (b"PK hello", "is damaged"),
    "nothing": (b"", "is damaged"),
    "shape of text": (described("('3',)"), "is damaged"),
    "shape of fractions": (described("(2.5,)"), "is damaged"),
    "negative shape": (described("(-3,)"), r"has shape (-3,), which no array has"),
    "shape of truth": (described("(True,)"), r"has shape (True,), which no array has"),
    "endless shape": (described(f"({10**40},)"), "which no array has"),
    "huge shape": (described(f"({2**40},)"), "bytes as float64, where the limit leaves 1073741824; split the file"),
    "huge product": (
        described(f"({2**40}, {2**40})"),
        "bytes as float64, where the limit leaves 1073741824; split the file",
    ),
    "bytes that become float64": (
        described(f"({2**27 + 1},)", "'|u1'"),
        "bytes as float64, where the limit leaves 1073741824; split the file",
    ),
    "shape without data": (described("(1000, 1000)"), "is cut off"),
    "more data than shape": (described("(1,)", data=bytes(16)), "holds more than its 8 bytes"),
    "objects": (described("(1,)", "'|O'"), "is of type object"),
    "records": (described("(1,)", "[('a', '<f8')]"), "numbers or texts are expected"),
    "width of nothing": (described("(9,)", "'<U0'"), "numbers or texts are expected"),
    "no such type": (described("(1,)", "'<z9'"), "is damaged"),
    "dates": (described("(1,)", "'<M8[s]'"), "numbers or texts are expected"),
    "later format": (b"\x93NUMPY\x03\x00" + bytes(40), "is in version (3, 0)"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_array_is_named(tmp_path, case):
    content, words = HOSTILE[case]
    path = archive(tmp_path / "x.npz", content)
    with pytest.raises(ArraysError, match=re.escape(words)) as caught:
        read_arrays(path)
    assert f"{path}: array 'input' " in str(caught.value)
    assert len(str(caught.value)) < 400


def test_a_bomb_takes_no_memory(tmp_path):
    """A shape of 2 GB before 64 MB of packed zeros."""
    path = tmp_path / "x.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file, file.open("input.npy", "w", force_zip64=True) as out:
        out.write(described(f"({2**28 + 1},)"))
        for _ in range(2**6):
            out.write(bytes(2**20))
    tracemalloc.start()
    with pytest.raises(ArraysError, match=r"takes 2\.15e\+09 bytes as float64"):
        read_arrays(path)
    assert tracemalloc.get_traced_memory()[1] < 2**24
    tracemalloc.stop()


def test_all_arrays_count_together(tmp_path):
    np.savez(tmp_path / "x.npz", a=np.zeros(100, np.uint8), b=np.zeros(100, np.uint8))
    read_arrays(tmp_path / "x.npz", largest_bytes=8 * 200)
    np.savez(tmp_path / "x.npz", a=np.zeros(100, np.uint8), b=np.zeros(101, np.uint8))
    with pytest.raises(
        ArraysError, match=r"array 'b' of shape \(101,\) takes 808 bytes as float64, where the limit leaves 800"
    ):
        read_arrays(tmp_path / "x.npz", largest_bytes=8 * 200)


def test_files_that_are_no_archive(tmp_path):
    buffer = io.BytesIO()
    np.savez_compressed(buffer, input=np.arange(1000.0))
    whole = buffer.getvalue()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 0xFF
    for content in (b"", b"hello", whole[: len(whole) // 2], whole[:-1]):
        (tmp_path / "x.npz").write_bytes(content)
        with pytest.raises(ArraysError, match=r"x\.npz: not an \.npz file"):
            read_arrays(tmp_path / "x.npz")
    (tmp_path / "x.npz").write_bytes(flipped)
    with pytest.raises(ArraysError, match=r"array 'input' is damaged"):
        read_arrays(tmp_path / "x.npz")
    with pytest.raises(ArraysError, match="nowhere: no such file"):
        read_arrays(tmp_path / "nowhere")
    with pytest.raises(ArraysError, match="cannot be read: Is a directory"):
        read_arrays(tmp_path)
    archive(tmp_path / "x.npz", described("()", data=bytes(8)), zipfile.ZIP_LZMA)
    with pytest.raises(ArraysError, match="compressed in a way that numpy does not write"):
        read_arrays(tmp_path / "x.npz")
