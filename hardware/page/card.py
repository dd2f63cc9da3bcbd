"""Files beside the page: the model card in Markdown, the layers as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from typing import Any

from neurotarget.hardware.energy.verdict import number
from neurotarget.hardware.place import sentence


def layers_csv(report: Mapping[str, Any]) -> str:
    """A line a layer, columns as in `report.json`; empty where a layer has no such thing.

    And a column for each price of an access: the layer's energy with memory included, named by its table.
    """
    stream = io.StringIO()
    energy: dict[str, dict[str, float]] = {}
    for row in report["memory_layers"]:
        energy.setdefault(row["name"], {})[f"{row['table']}_uj"] = row["total_uj"]
    lines = [{**layer, **energy.get(layer["name"], {})} for layer in report["layers"]]
    writer = csv.DictWriter(stream, fieldnames=list(lines[0]) if lines else ["name"])
    writer.writeheader()
    for line in lines:
        # A name that starts like a formula must stay a name in a spreadsheet.
        name = line["name"]
        writer.writerow({**line, "name": f"'{name}" if name[:1] in "=+-@" else name})
    return stream.getvalue()


def model_card(report: Mapping[str, Any]) -> str:
    """The model card: what the network is, what was measured and on what, what it costs, and what is not known."""
    model, totals, run = report["model"], report["totals"], report["input"]
    accuracy = "not known" if report["accuracy"] is None else f"{100 * report['accuracy']:.1f} %"
    default = " (a default; the file does not say)" if model["dt_is_default"] else ""
    lines = [
        f"# Model card: {_text(model['file'])}",
        "",
        "## Network",
        "",
        "| | |",
        "|---|---|",
        f"| Neurons | {number(model['neurons'])} in {model['spiking_nodes']} spiking layers |",
        f"| Parameters | {number(model['parameters'])} |",
        f"| Step | {model['dt_seconds']:g} s{default} |",
        f"| Latency as a stream | {report['latency_steps']} steps |",
        f"| Read-out | {_text(model['readout'])} |",
        f"| SHA-256 | `{model['sha256']}` |",
        "",
        "## Data and accuracy",
        "",
        f"Input `{_text(str(run['spec']))}`: {run['samples']} samples, {run['steps']} steps.",
        f"Accuracy: {accuracy} ({_text(report['accuracy_note'])}).",
        "",
        "## Activity, a sample (counted)",
        "",
        f"{number(totals['synops'])} synaptic operations ({number(totals['acs'])} additions, {number(totals['macs'])} "
        f"multiplications); the same network computed densely: {number(totals['dense_macs'])} MACs.",
        f"{number(totals['spikes'])} spikes, {number(totals['neuron_updates'])} neuron updates, "
        f"{number(totals['active_updates'])} of them active.",
        "",
        "## Energy (estimated unless it says measured)",
        "",
    ]
    lines += [f"- {_text(verdict['sentence'])}" for verdict in report["verdicts"]]
    lines += [
        f"- {_text(row['title'])}: {number(row['snn_uj'])} µJ spiking, {number(row['ann_uj'])} µJ dense "
        f"({row['kind']}, price {row['grade']}; {_text(row['source'])})"
        for row in report["energy"]
        if row["boundary"] == "memory"
    ]
    if report["claims"]:
        lines += ["", "## Claims", "", "| Claim | Boundary | Answer | Found |", "|---|---|---|---|"]
        for claim in report["claims"]:
            found = (
                "–" if claim["low"] is None else f"{number(claim['low'])} to {number(claim['high'])} {claim['unit']}"
            )
            lines.append(f"| {_text(claim['name'])} | {claim['boundary']} | **{claim['answer']}** | {found} |")
    lines += ["", "## Chips", ""]
    for result in report["placement"]:
        words = result["reason"] if "reason" in result else sentence(result)
        lines.append(f"- {_text(result['chip'])}: {_text(words)}")
    lines += ["", "## Is it the same network everywhere?", ""]
    for entry in report["parity"]:
        state = "equal" if entry["holds"] else f"differs, {entry['mismatched']} of {entry['spikes']} spikes"
        role = "" if entry["required"] else " (a measurement)"
        lines.append(f"- {_text(entry['sides'])}: {state}, {entry['samples']} samples{role}")
    lines += [
        f"- {_text(entry['sides'])}: not checked: {_text(entry['reason'])}" for entry in report["parity_unavailable"]
    ]
    lines += [
        "",
        "## Limits",
        "",
        "Energies that are not called measured are counts times published prices, not measurements, and leave",
        "out static power. All hold for the input above. Nothing was run on a neuromorphic chip.",
        "",
    ]
    return "\n".join(lines)


def _text(value: str) -> str:
    """Text that Markdown cannot take for markup or a table's end."""
    for mark in ("\\", "|", "<", ">", "`", "*", "_", "[", "]"):
        value = value.replace(mark, "\\" + mark)
    return value.replace("\n", " ")
