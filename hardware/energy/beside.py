"""Other networks beside the one that is reported, counted and priced in the same way: a row a network.

A delay network, a student with fewer steps or another backbone is judged against what it would replace. Each runs on
its own input, because fewer steps are other frames of the same utterances.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from neurotarget.hardware.energy.claims import Side

TOTALS = ("neurons", "parameters", "synops", "acs", "macs", "dense_macs", "neuron_updates", "messages", "spike_rate")


def side(text: str) -> Side:
    """What `--beside MODEL.nir` or `--beside MODEL.nir=INPUT` names; without INPUT it runs on the report's own.

    Raises:
        argparse.ArgumentTypeError: no model before the equals sign.
    """
    model, _, spec = text.partition("=")
    if not model:
        raise argparse.ArgumentTypeError(f"{text!r}: MODEL.nir or MODEL.nir=INPUT is expected")
    return Side(network="spiking", model=Path(model), input=spec or None, samples=None, tables=())


def networks(
    own: Mapping[str, Any], model: Path, spec: str, others: Sequence[Side], run: Callable[[Side], Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Rows of `report.json`'s `networks` (docs/report.md), the report's own network first; none without others.

    Args:
        own: accuracy, totals and energies of the report's network.
        model, spec: its file and its input.
        run: gives the same of another network.
    """
    if not others:
        return []
    rows = [_row(model, spec, own)]
    for side in others:
        assert side.model is not None
        rows.append(_row(side.model, side.input or spec, run(side)))
    return rows


def _row(model: Path, spec: str, priced: Mapping[str, Any]) -> dict[str, Any]:
    totals = priced["totals"]
    return {
        "model": str(model),
        "input": spec,
        "accuracy": priced["accuracy"],
        "samples": totals["samples"],
        "steps_per_sample": totals["steps_per_sample"],
        **{key: totals[key] for key in TOTALS},
        "energy": [
            {key: figure[key] for key in ("table", "title", "boundary", "snn_uj", "kind", "grade")}
            for figure in priced["energy"]
            if figure["snn_uj"] is not None
        ],
    }
