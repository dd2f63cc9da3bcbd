"""Where a report's figures come from: the model's file, the samples that were judged, versions and machine."""

from __future__ import annotations

import hashlib
import os
import platform
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from neurotarget.hardware.counts.summary import Totals
from neurotarget.hardware.page.contents import Environment, Model
from neurotarget.sim.graph import Graph
from neurotarget.sim.observed import Observed

SYNTHETIC = "synthetic speech, made by a speech synthesiser: says nothing about accuracy on people"


@dataclass(frozen=True)
class Made:
    """How a page came about.

    Attributes:
        command: that was given.
        date: in UTC.
    """

    command: str
    date: str


def made_now(command: str) -> Made:
    return Made(command, f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC")


def describe_model(graph: Graph, path: Path, totals: Totals) -> Model:
    return Model(
        file=str(path),
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        nodes=len(graph.nodes),
        spiking_nodes=len(graph.spiking),
        neurons=totals.neurons,
        parameters=totals.parameters,
        dt_seconds=graph.dt,
        dt_is_default=graph.dt_is_default,
        readout=graph.readout,
        notes=tuple(graph.notes),
    )


def accuracy_note(spec: str, run: Observed) -> str:
    if run.accuracy is None:
        return (None if run.labels is None else run.unreadable) or "the input has no labels"
    synthetic = spec.partition("?")[0].partition(":")[0] == "synth"
    return f"measured on {run.samples} samples of {spec}" + (f" ({SYNTHETIC})" if synthetic else "")


def environment() -> Environment:
    """Versions and machine."""
    versions: dict[str, str | None] = {}
    for name in ("numpy", "nir", "torch", "spikingjelly", "numba", "lava-nc", "matplotlib", "neurotarget"):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = None
    return Environment(
        python=platform.python_version(),
        system=f"{platform.system()} {platform.machine()}",
        cores=os.cpu_count(),
        versions=versions,
    )
