"""A network on frames of events, for the tests of the page: a convolution, a layer that never fires, no labels."""

from __future__ import annotations

import itertools
from pathlib import Path

import nir
import numpy as np
from neurotarget.hardware.page.contents import Report
from neurotarget.hardware.report import build, main
from neurotarget.sim.trace import Trace

from tests.hardware.networks import DT, nir_graph

CLAIM = """[[claim]]
name = "Takes less than half"
boundary = "operations"
relation = "at most"
value = 0.5
unit = "ratio"
source = "a test, arXiv 1234.56789"
against = { network = "dense" }
"""


def write_images(folder: Path) -> None:
    """`net.nir`, `in.npz` and `claims.toml`."""
    rng = np.random.default_rng(0)

    def neurons(shape: tuple[int, ...], threshold: float = 1.0) -> nir.LIF:
        one = np.ones(shape)
        return nir.LIF(tau=2 * DT * one, r=2 * one, v_leak=0 * one, v_threshold=threshold * one, v_reset=0 * one)

    kernel = rng.normal(size=(4, 2, 3, 3)) / 1.5
    nodes: dict[str, nir.NIRNode] = {
        "conv": nir.Conv2d((6, 6), kernel, stride=1, padding=1, dilation=1, groups=1, bias=np.zeros(4)),
        "first": neurons((4, 6, 6)),
        "flat": nir.Flatten(input_type={"input": np.array((4, 6, 6))}, start_dim=0, end_dim=-1),
        "head": nir.Linear(weight=rng.normal(size=(10, 144)) / 4),
        "last": neurons((10,)),
        "dead": neurons((10,), 1e9),
    }
    edges = list(itertools.pairwise(["input", "conv", "first", "flat", "head", "last", "output"]))
    nir.write(folder / "net.nir", nir_graph((2, 6, 6), nodes, (10,), [*edges, ("head", "dead"), ("dead", "output")]))
    np.savez(folder / "in.npz", input=(rng.random((3, 8, 2, 6, 6)) < 0.2).astype(np.uint8))
    (folder / "claims.toml").write_text(CLAIM)


def built(folder: Path) -> tuple[Report, Trace]:
    """The report on them, and the run of which the page shows a sample."""
    options = ["--input", str(folder / "in.npz"), "--out", str(folder / "never"), "--lava-samples", "0"]
    options += ["--claims", str(folder / "claims.toml")]
    return build(main.parser().parse_args([str(folder / "net.nir"), *options]))
