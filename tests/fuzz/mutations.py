"""Hostile changes of files, by the kind of file. Each takes the bytes of a good file and gives those of a bad one."""

from __future__ import annotations

import io
import json
import re
import struct
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

import h5py
import numpy as np

Rng = np.random.Generator
ODD_NUMBERS = [0, -1, 1e300, -1e300, np.nan, np.inf, 2.0**62, 1e-300, 0.5, 4294967296]
ODD_TOML = ["nan", "inf", "-1", "0", "1e400", '""', '"\\u0000"', "[]", "{}", "1979-05-27", "true", "1" + "0" * 5000]
ODD_TOML += [
    "[" * 300 + "]" * 300,
    "0x" + "f" * 400,
    '"$HOME"',
    '"../../etc/passwd"',
    '"\\u001b[31m"',
    "1_000",
    "'''\n'''",
]
BOMB_BYTES = 2**32


def mutate(kind: str, data: bytes, rng: Rng) -> bytes:
    """One hostile version of a file; its structure is changed, or its bytes."""
    structural = STRUCTURAL.get(kind)
    if structural is not None and rng.random() < 0.7:
        return structural(data, rng)
    return damage(data, rng)


def damage(data: bytes, rng: Rng) -> bytes:
    """Bytes flipped, cut off, zeroed, doubled or put in."""
    changed = bytearray(data)
    start = int(rng.integers(len(data)))
    end = min(len(data), start + int(rng.integers(1, 64)))
    kind = rng.choice(
        ["flip", "flip", "flip", "cut", "zero", "double", "insert", "empty"],
        p=[0.2] * 3 + [0.15, 0.1, 0.05, 0.08, 0.02],
    )
    if kind == "flip":
        for place in rng.integers(len(data), size=int(rng.integers(1, 20))):
            changed[place] ^= 1 << int(rng.integers(8))
    elif kind == "cut":
        del changed[start:]
    elif kind == "zero":
        changed[start:end] = bytes(end - start)
    elif kind == "double":
        changed[end:end] = changed[start:end]
    elif kind == "insert":
        changed[start:start] = rng.bytes(end - start)
    else:
        changed.clear()
    return bytes(changed)


# ---- HDF5 ------------------------------------------------------------------------------------------------------------


def hdf5(data: bytes, rng: Rng) -> bytes:
    """Changes of arrays, names, links and types of a file that stays HDF5."""
    stream = io.BytesIO(data)
    with h5py.File(stream, "r+") as file:
        for _ in range(int(rng.integers(1, 4))):
            names: list[str] = []
            file.visit(names.append)
            if not names:
                break
            name = str(rng.choice(names))
            change = HDF5[int(rng.integers(len(HDF5)))]
            try:
                change(file, name, rng)
            except (ValueError, TypeError, OSError, KeyError, RuntimeError, AttributeError, MemoryError):
                continue  # this change does not apply to that place
    return stream.getvalue()


def replace(file: h5py.File, name: str, value: Any) -> None:
    del file[name]
    file[name] = value


def odd_value(file: h5py.File, name: str, rng: Rng) -> None:
    array = np.array(file[name][()], dtype=np.float64)
    flat = array.reshape(-1)
    flat[rng.integers(flat.size, size=max(1, flat.size // 2))] = rng.choice(ODD_NUMBERS)
    kind = file[name].dtype if rng.random() < 0.5 else array.dtype
    with np.errstate(invalid="ignore", over="ignore"):
        replace(file, name, array.astype(kind))


def odd_type(file: h5py.File, name: str, rng: Rng) -> None:
    kind = str(rng.choice(["i1", "u8", "f2", "c16", "?", "S3", "text", "object", "compound"]))
    array = file[name][()]
    if kind == "text":
        replace(file, name, str(rng.choice(["", "nan", "LIF", "\x1b[31m", "x" * 1000, "∑", "same"])))
    elif kind == "object":
        replace(file, name, np.array(["a", "b"], h5py.string_dtype()))
    elif kind == "compound":
        replace(file, name, np.zeros(2, [("a", "i4"), ("b", "f8")]))
    else:
        replace(file, name, np.asarray(array).astype(kind))


def odd_shape(file: h5py.File, name: str, rng: Rng) -> None:
    array = np.atleast_1d(file[name][()])
    shapes = [array.reshape(-1), array[None], array[..., None], array.reshape(-1)[0], array[:0], np.repeat(array, 3, 0)]
    replace(file, name, shapes[int(rng.integers(len(shapes)))])


def huge(file: h5py.File, name: str, rng: Rng) -> None:
    """An array that HDF5 stores in no bytes."""
    side = int(rng.choice([2**14, 2**20, 2**40]))
    shape = (side,) if rng.random() < 0.5 else (side, max(1, 2**30 // side), 64)
    del file[name]
    file.create_dataset(name, shape, "f8", chunks=True, compression="gzip")


def delete(file: h5py.File, name: str, rng: Rng) -> None:
    del file[name]


def move(file: h5py.File, name: str, rng: Rng) -> None:
    parent = name.rpartition("/")[0]
    new = str(rng.choice(["x", "op", "nodes", "\ttab", "\x1b[2J", "a.b", "…", "type", "input", "v_reset", "n" * 3000]))
    file.move(name, f"{parent}/{new}" if parent else new)


def link(file: h5py.File, name: str, rng: Rng) -> None:
    kind = int(rng.integers(4))
    del file[name]
    links = [h5py.SoftLink("/node"), h5py.ExternalLink("/etc/passwd", "/"), h5py.SoftLink(f"/{name}"), file["/"]]
    file[name] = links[kind]


def copy(file: h5py.File, name: str, rng: Rng) -> None:
    file.copy(name, f"{name}{rng.choice(['2', 'bis', '/deeper'])}")


def retype(file: h5py.File, name: str, rng: Rng) -> None:
    names: list[str] = []
    file.visit(names.append)
    types = [n for n in names if n.endswith("/type")]
    kinds = [
        "LIF",
        "IF",
        "CubaLIF",
        "Input",
        "Output",
        "NIRGraph",
        "Affine",
        "Conv2d",
        "Delay",
        "Flatten",
        "Tanh",
        "Scale",
    ]
    replace(file, str(rng.choice(types)), str(rng.choice(kinds)))


def rewire(file: h5py.File, name: str, rng: Rng) -> None:
    names: list[str] = []
    file.visit(names.append)
    place = str(rng.choice([n for n in names if n.endswith("/edges")]))
    edges = [(a.decode(), b.decode()) for a, b in file[place][()]]
    ends = [end for edge in edges for end in edge] + ["nowhere"]
    if rng.random() < 0.3:
        edges.pop(int(rng.integers(len(edges))))
    else:
        edges.append((str(rng.choice(ends)), str(rng.choice(ends))))
    replace(file, place, np.array(edges, h5py.string_dtype()))


def describe(file: h5py.File, name: str, rng: Rng) -> None:
    """Metadata of the graph or of a node."""
    names = ["node"]
    file.visit(lambda n: names.append(n) if n.count("/") == 2 else None)
    group = file[str(rng.choice(names))].require_group("metadata")
    key = str(
        rng.choice(
            ["dt", "rule", "dialect", "op", "groups", "scheme", "fixed", "arithmetic", "reset", "steps", "heads"]
        )
    )
    values = [0.0, -1.0, np.nan, "x", 3, 1e300, np.zeros(3), ">=", "lava-fixed", "attention", "look_ahead", 10**9]
    if key in group:
        del group[key]
    group[key] = values[int(rng.integers(len(values)))]


NUMBERS = [odd_value, odd_value, odd_value, odd_type, odd_shape, odd_shape, huge]
STRUCTURE = [delete, move, link, copy, retype, rewire, describe]
HDF5: list[Callable[[h5py.File, str, Rng], None]] = [*NUMBERS, *STRUCTURE]


# ---- .npz, .pt, WAV, TOML --------------------------------------------------------------------------------------------


def npz(data: bytes, rng: Rng) -> bytes:
    """Other types and shapes, headers that lie, pickles, bombs."""
    with np.load(io.BytesIO(data)) as file:
        arrays = {key: file[key] for key in file.files}
    key = str(rng.choice([key for key in arrays if arrays[key].dtype.kind != "U"]))  # a trace's header is text
    raw: dict[str, bytes] = {}
    kind = int(rng.integers(8))
    if kind == 0:
        arrays[key] = arrays[key].astype(str(rng.choice(["c16", "S4", "U4", "f2", "?", "i1"])))
    elif kind == 1:
        arrays[key] = np.array(rng.choice(ODD_NUMBERS)) * np.ones(arrays[key].shape)
    elif kind == 2:
        shapes = [arrays[key][None], arrays[key].reshape(-1), arrays[key][:0], np.array(1), np.zeros((1, 0, 3))]
        arrays[key] = shapes[int(rng.integers(len(shapes)))]
    elif kind == 3:
        arrays[key] = np.array([{"a": 1}, None], dtype=object)
    elif kind == 4:
        del arrays[key]
    elif kind == 5:
        shape = str(
            rng.choice(["(1099511627776,)", "(2, 1048576, 1048576)", "(-1, 3)", "(2.5,)", "'x'", "()", "(True,)"])
        )
        raw[key] = header(f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}") + bytes(64)
    elif kind == 6:
        text = str(rng.choice(["{'descr': ", "[]", "{}", "{'descr': 'x', 'fortran_order': 1, 'shape': 3}", "(" * 300]))
        raw[key] = header(text)
    elif rng.random() < 0.2:
        return bomb(key)
    else:
        arrays[f"spikes/{rng.choice(['', '../x', chr(27)])}"] = arrays.pop(key)
    stream = io.BytesIO()
    np.savez(stream, **{k: v for k, v in arrays.items() if k not in raw}, allow_pickle=True)
    with zipfile.ZipFile(stream, "a") as archive:
        for name, content in raw.items():
            archive.writestr(f"{name}.npy", content)
    return stream.getvalue()


def header(text: str) -> bytes:
    encoded = text.encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(encoded)) + encoded


def bomb(key: str) -> bytes:
    """An array of 4 GiB in a few megabytes."""
    shape = (1, BOMB_BYTES // 256, 256)
    start = header(f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}")
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(f"{key}.npy", b"")
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = packer.compress(start) + packer.flush(zlib.Z_FULL_FLUSH)
    million = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = million.compress(bytes(2**20)) + million.flush(zlib.Z_FULL_FLUSH)
    packed += block * (BOMB_BYTES // 2**20) + packer.flush()
    name = f"{key}.npy".encode()
    sizes = struct.pack("<III", 0, len(packed), min(len(start) + BOMB_BYTES, 2**32 - 2))
    local = b"PK\x03\x04" + struct.pack("<HHHHH", 20, 0, 8, 0, 33) + sizes + struct.pack("<HH", len(name), 0) + name
    entry = b"PK\x01\x02" + struct.pack("<HHHHHH", 20, 20, 0, 8, 0, 33) + sizes
    entry += struct.pack("<HHHHHII", len(name), 0, 0, 0, 0, 0, 0) + name
    body = local + packed
    return body + entry + b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, 1, 1, len(entry), len(body), 0)


def archive_of_tensors(data: bytes, rng: Rng) -> bytes:
    """A member of the archive changed: PyTorch checks no sums of what it reads."""
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(stream, "w") as new:
        names = old.namelist()
        chosen = str(rng.choice(names if rng.random() < 0.5 else [n for n in names if n.endswith("data.pkl")]))
        for name in names:
            content = old.read(name)
            if name == chosen:
                if rng.random() < 0.1:
                    continue
                content = damage(content, rng) if content else b"x"
            new.writestr(name, content)
    return stream.getvalue()


def wav(data: bytes, rng: Rng) -> bytes:
    """Fields of the header at their extremes."""
    changed = bytearray(data)
    place, size = [(4, 4), (16, 4), (20, 2), (22, 2), (24, 4), (28, 4), (32, 2), (34, 2), (40, 4)][int(rng.integers(9))]
    value = int(rng.choice([0, 1, 2, 3, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFE, 64])) % 2 ** (8 * size)
    changed[place : place + size] = value.to_bytes(size, "little")
    return bytes(changed)


def toml(data: bytes, rng: Rng) -> bytes:
    """Values and keys that no one would write; some bytes that are no text."""
    lines = data.decode().splitlines()
    places = [i for i, line in enumerate(lines) if "=" in line]
    for place in rng.choice(places, int(rng.integers(1, 3))):
        key, _, value = lines[place].partition("=")
        new = [f"{key}= {rng.choice(ODD_TOML)}", f"{key.strip()}x ={value}", f"{lines[place]}\n{lines[place]}", key, ""]
        new += [
            f"{key}.a ={value}",
            f"[{key.strip()}]",
            re.sub(r"\d", "9" * 30, lines[place]),
            f"\t{json.dumps(key)} ={value}",
        ]
        lines[place] = str(rng.choice(new[:1] * 6 + new))
    out = "\n".join(lines).encode()
    return out + b"\xff\xfe\x00" if rng.random() < 0.05 else out


STRUCTURAL: dict[str, Callable[[bytes, Rng], bytes]] = {
    "nir": hdf5,
    "quantised nir": hdf5,
    "spikes h5": hdf5,
    "npz": npz,
    "trace": npz,
    "checkpoint": archive_of_tensors,
    "wav": wav,
    **dict.fromkeys(("configuration", "prices", "claims", "chip"), toml),
}
