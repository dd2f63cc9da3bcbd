"""What a file is, by its content, and which command takes it: for the user who gave it to another one."""

from __future__ import annotations

import tomllib
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

MAGIC_BYTES = 8
LARGEST_TEXT_BYTES = 2**20  # what is larger is none of our texts


@dataclass(frozen=True)
class Kind:
    """A kind of file.

    Attributes:
        words: what it is.
        taken_by: who takes it; empty where nobody does.
    """

    words: str
    taken_by: str = ""


NIR = Kind("a NIR file", "sim.run, conversion.quantize and hardware.report take it")
NETX = Kind("a network for NetX", "lava-dl takes it")
EVENTS = Kind("spikes of SHD or SSC", "--input shd:FOLDER or ssc:FOLDER takes the folder it is in")
CHECKPOINT = Kind("a checkpoint", "model.evaluate and conversion.to_nir take it")
TRACE = Kind("a trace", "sim.run writes it")
SAMPLES = Kind("an .npz of arrays", "--input takes one with an array `input`")
ARRAY = Kind("one array of numpy's", "--input takes an .npz: np.savez('frames.npz', input=np.load('frames.npy'))")
SOUND = Kind("a WAV file", "sim.run --input wav:FILE takes it")
PICTURE = Kind("a picture")
TRAINING = Kind("a training configuration", "model.train takes it")
CHAIN = Kind("a configuration of several stages", "model.distill and model.ablation take it")
CLAIMS = Kind("a claims file", "hardware.report --claims takes it")
PRICES = Kind("a price table", "hardware.report --prices takes it")
CHIP = Kind("a chip", "hardware.place --chip takes it")
FOLDER = Kind("a folder")
EMPTY = Kind("an empty file")
SPEC = Kind("a data SPEC")  # no file: it names one

# What only one kind of HDF5 or TOML has at its top; the first that is there decides.
HDF5_MEMBERS = {"node": NIR, "layer": NETX, "spikes": EVENTS}
TOML_KEYS = {"stage": CHAIN, "claim": CLAIMS, "prices_pj": PRICES, "limits": CHIP, "data": TRAINING}


def kind_of(path: str | Path) -> Kind | None:
    """The kind of a file, None where it is missing, cannot be read or is of none that is known."""
    path = Path(path)
    if path.is_dir():
        return FOLDER
    try:
        with path.open("rb") as file:
            magic = file.read(MAGIC_BYTES)
    except (OSError, ValueError):
        return None
    if magic.startswith(b"\x89HDF"):
        return _kind_of_hdf5(path)
    if magic.startswith(b"PK"):
        return _kind_of_zip(path)
    if magic.startswith((b"RIFF", b"RIFX")):
        return SOUND
    if magic.startswith(b"\x93NUMPY"):
        return ARRAY
    if magic.startswith(b"\x89PNG"):
        return PICTURE
    return _kind_of_text(path) if magic else EMPTY


def mistaken(path: str | Path, *expected: Kind) -> str | None:
    """A sentence about a file that is known to be of another kind than those expected; None where it may be one."""
    found = kind_of(path)
    if found is None or found in expected:
        return None
    return f"{path}: this is {found.words}, not {expected[0].words}" + (f"; {found.taken_by}" if found.taken_by else "")


def _kind_of_hdf5(path: Path) -> Kind | None:
    import h5py

    try:
        with h5py.File(path, "r") as file:
            return _first(HDF5_MEMBERS, file)
    except Exception:  # h5py raises almost anything on a damaged file; whoever reads it says what is wrong
        return None


def _kind_of_zip(path: Path) -> Kind | None:
    try:
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
    except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError):
        return None
    if any(name.endswith("data.pkl") for name in names):
        return CHECKPOINT
    if {"header.npy", "output.npy"} <= names:
        return TRACE
    return SAMPLES if names and all(name.endswith(".npy") for name in names) else None


def _kind_of_text(path: Path) -> Kind | None:
    try:
        if path.stat().st_size > LARGEST_TEXT_BYTES:
            return None
        return _first(TOML_KEYS, tomllib.loads(path.read_bytes().decode()))
    except (OSError, ValueError, RecursionError):
        return None


def _first(kinds: dict[str, Kind], members: Iterable[str]) -> Kind | None:
    found = set(members)
    return next((kind for member, kind in kinds.items() if member in found), None)
