"""The golden networks and their input, and dataclasses that hold arrays as what `==` compares."""

import dataclasses
import gzip
from pathlib import Path
from typing import Any

import numpy as np
from neurotarget.sim.graph import Graph, load

DATA = Path(__file__).parents[1] / "data"


def golden(folder: Path, file: str) -> tuple[Graph, np.ndarray, np.ndarray]:
    """A golden network and its input."""
    path = folder / file
    path.write_bytes(gzip.decompress((DATA / f"{file}.gz").read_bytes()))
    with np.load(DATA / "input.npz") as data:
        return load(path), data["input"], data["length"]


def fields(value: Any) -> dict[str, Any]:
    """A dataclass as what `==` compares, arrays as lists."""
    return {
        key: item.tolist() if isinstance(item, np.ndarray) else item
        for key, item in ((field.name, getattr(value, field.name)) for field in dataclasses.fields(value))
    }
