"""`report.html`: one file that shows everything in `report.json` to a person, without a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from neurotarget.hardware.counts.summary import break_even_curves
from neurotarget.hardware.energy.verdict import DEPENDS, LESS, MORE, number
from neurotarget.hardware.page import page_more, plots, prose
from neurotarget.hardware.page.html import cells, figure, percent, section, table, tag
from neurotarget.hardware.page.style import STYLE
from neurotarget.sim.trace import Trace

BOUNDARIES = {
    "operations": "Operations only",
    "memory": "Memory included",
    "machines": "Chip against GPU",
    "measured": "Measured",
}
TONES = {LESS: "good", MORE: "bad", DEPENDS: "mixed"}


def render(report: Mapping[str, Any], trace: Trace) -> str:
    """The page as text.

    Args:
        report: what `report.json` holds.
        trace: the reference run; its first sample is the raster.
    """
    sections = (
        _head(report),
        page_more.claims(report["claims"]),
        _energy(report),
        _break_even(report),
        page_more.networks(report["networks"]),
        page_more.twin(report["twin"]),
        _layers(report),
        page_more.waterfall(report["memory_layers"], report["energy"]),
        page_more.counters(report["counters"]),
        page_more.chips(report["placement"]),
        _raster(trace),
        _parity(report),
        _measured(report["measured"]),
        _published(report["published"]),
        _method(report),
        _environment(report),
    )
    title = escape(f"Energy report: {report['model']['file']}")
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{STYLE}</style></head>\n<body><main>\n" + "\n".join(sections) + "\n</main></body></html>\n"
    )


# ---- sections --------------------------------------------------------------------------------------------------------


def _head(report: Mapping[str, Any]) -> str:
    model, totals = report["model"], report["totals"]
    cards = []
    for verdict in report["verdicts"]:
        answer = {LESS: "Spiking takes less", MORE: "Spiking takes more", DEPENDS: "Depends on the table"}.get(
            verdict["answer"], "Not known"
        )
        if verdict["boundary"] == "measured":
            answer = "Measured" if report["measured"]["available"] else "Not measured"
        cards.append(
            f'<div class="card {TONES.get(verdict["answer"], "")}"><h3>{BOUNDARIES[verdict["boundary"]]}</h3>'
            f'<p class="answer">{answer}</p><p>{escape(verdict["sentence"])}</p></div>'
        )
    required = [entry for entry in report["parity"] if entry["required"]]
    held = sum(entry["holds"] for entry in required)
    parity = f"{held} of {len(required)} hold" if required else "none made"
    accuracy = "–" if report["accuracy"] is None else f"{100 * report['accuracy']:.1f} %"
    tiles = [
        ("Accuracy", accuracy, report["accuracy_note"]),
        ("Parity checks", parity, "spike for spike, double precision"),
        ("Synaptic operations", plots.si(totals["synops"]), "a sample, counted"),
        ("Dense MACs", plots.si(totals["dense_macs"]), "a sample, counted"),
        ("Spike rate", percent(totals["spike_rate"]), "spikes a neuron and step, counted"),
        ("Neurons", plots.si(totals["neurons"]), f"{plots.si(totals['parameters'])} parameters"),
        ("Latency", f"{report['latency_steps']} steps", "as a stream, from the schedule"),
    ]
    listed = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}<small class='faint'>{escape(note)}</small></dd></div>"
        for name, value, note in tiles
    )
    run = report["input"]
    return (
        "<header><h1>What this spiking network costs</h1>"
        f'<p class="lead faint"><code>{escape(model["file"])}</code> on <code>{escape(str(run["spec"]))}</code>, '
        f"{run['samples']} samples, {run['steps']} steps</p></header>"
        f'<section id="verdict"><h2>Verdict</h2><p>{prose.VERDICT}</p>'
        f'<div class="cards">{"".join(cards)}</div><dl class="tiles">{listed}</dl></section>'
    )


def _energy(report: Mapping[str, Any]) -> str:
    rows, sources = [], list(dict.fromkeys(row["source"] for row in report["energy"]))
    for row in report["energy"]:
        tone = "" if row["ratio"] is None else "good" if row["ratio"] > 1 else "bad"
        ratio = "–" if row["ratio"] is None else tag(f"{number(row['ratio'])} ×", tone)
        rows.append(
            [
                f"{escape(row['title'])} <small>[{sources.index(row['source']) + 1}]</small>",
                escape(BOUNDARIES[row["boundary"]]),
                *cells((row["snn_uj"], row["ann_uj"])),
                ratio,
                *cells((row["snn_synapses_uj"], row["snn_neurons_uj"], row["snn_traffic_uj"])),
                "none" if (row["break_even_spike_rate"] or 0) > 1 else percent(row["break_even_spike_rate"]),
                number(row["break_even_steps"]),
                escape(f"{row['kind']}, price {row['grade']}"),
            ]
        )
    head = [
        ("Price table and source", "text"),
        ("Boundary", "text"),
        ("Spiking µJ", ""),
        ("Dense µJ", ""),
        ("Dense / spiking", ""),
        ("Synapses µJ", ""),
        ("Neurons µJ", ""),
        ("Traffic µJ", ""),
        ("Break-even rate", ""),
        ("Break-even steps", ""),
        ("Kind, evidence", "text"),
    ]
    listed = "".join(f"<li>{escape(source)}</li>" for source in sources)
    return section(
        "energy",
        "Energy by table",
        f"<p>{prose.ENERGY}</p>",
        figure(plots.energy(report["energy"]), prose.ENERGY_PLOT),
        table(head, rows),
        f'<ol class="sources">{listed}</ol><p class="faint">{prose.LOIHI2}</p>',
    )


def _break_even(report: Mapping[str, Any]) -> str:
    curves, rate = break_even_curves(report["energy"]), report["totals"]["spike_rate"]
    if not curves or not rate:
        return ""
    picture = plots.break_even(curves, rate)
    text = f"<p>{prose.BREAK_EVEN}</p>"
    return section("break-even", "Where the answer flips", text, figure(picture, prose.BREAK_EVEN_PLOT))


def _layers(report: Mapping[str, Any]) -> str:
    head = [
        ("Layer", "text"),
        ("Kind", "text"),
        ("Neurons", ""),
        ("Fan-in", ""),
        ("Fan-out", ""),
        ("Payload", "text"),
        ("Events", ""),
        ("Payload sum", ""),
        ("ACs", ""),
        ("MACs", ""),
        ("Dense MACs", ""),
        ("Neuron updates", ""),
        ("of them active", ""),
        ("Spikes", ""),
        ("Spike rate", ""),
    ]
    rows = [[f"<code>{escape(row['name'])}</code>", escape(row["kind"]), *_counts(row)] for row in report["layers"]]
    t = report["totals"]
    total = ["All layers", "", number(t["neurons"]), "", "", "", number(t["events"]), ""]
    keys = ("acs", "macs", "dense_macs", "neuron_updates", "active_updates", "spikes")
    total += cells(t[key] for key in keys)
    total.append(percent(t["spike_rate"]))
    picture = plots.operations(report["layers"])
    return section(
        "layers",
        "Where the operations go",
        f"<p>{prose.LAYERS}</p>",
        figure(picture, prose.LAYERS_PLOT),
        table(head, rows, total),
    )


def _counts(row: Mapping[str, Any]) -> list[str]:
    """Cells of one layer; blank where a layer has no such thing, so that the figures stand out."""
    work = ("payload_sum", "acs", "macs", "dense_macs")
    silent = not row["synops"] and not row["dense_macs"] and not row["events"]
    synapses = [*cells((row["fan_in"], row["fan_out"])), escape(row["payload"]), number(row["events"])]
    synapses += cells(row[key] for key in work)
    found = [number(row["neurons"]), *([""] * len(synapses) if silent else synapses)]
    for key in ("neuron_updates", "active_updates"):
        found.append(number(row[key]) if row["neuron_updates"] else "")
    spikes = "" if row["spikes"] is None else number(row["spikes"])
    return [*found, spikes, "" if row["spike_rate"] is None else percent(row["spike_rate"])]


def _raster(trace: Trace) -> str:
    length = int(trace.lengths[0])
    spikes = {name: array[0] for name, array in trace.spikes.items()}
    count = sum(int(array[:length].sum()) for array in spikes.values())
    caption = f"First sample: {number(count)} spikes over {length} steps, one row a neuron, layers in order."
    return section("raster", "Spikes of one utterance", figure(plots.raster(spikes, length), caption))


def _parity(report: Mapping[str, Any]) -> str:
    rows = []
    for entry in report["parity"]:
        if entry["holds"]:
            mark = tag("equal", "good")
        else:
            mark = tag("NOT equal", "bad") if entry["required"] else tag("differs", "mixed")
        numbers = cells(entry[key] for key in ("samples", "steps", "spikes", "mismatched", "near_threshold"))
        difference, first = number(entry["output_difference"]), escape(entry["first_divergence"] or "none")
        role = "check" if entry["required"] else "measurement"
        rows.append([escape(entry["sides"]), mark, *numbers, difference, first, role])
    for entry in report["parity_unavailable"]:
        mark = tag("not checked", "mixed")
        rows.append([escape(entry["sides"]), mark, *["–"] * 6, escape(entry["reason"]), "check"])
    head = [
        ("Sides", "text"),
        ("Result", "text"),
        ("Samples", ""),
        ("Steps", ""),
        ("Spikes", ""),
        ("Mismatched", ""),
        ("of them after a tie", ""),
        ("Output difference", ""),
        ("First divergence", "long"),
        ("Role", "text"),
    ]
    return section("parity", "Is it the same network everywhere?", f"<p>{prose.PARITY}</p>", table(head, rows))


def _measured(measured: Mapping[str, Any]) -> str:
    reasons = "".join(f"<li>{escape(row['meter'])}: {escape(row['reason'])}</li>" for row in measured["meters"])
    others = f"<p>Meters that gave nothing:</p><ul>{reasons}</ul>" if reasons else ""
    if measured["available"]:
        keys = (
            "batch",
            "total_uj",
            "total_uj_std",
            "dynamic_uj",
            "dynamic_uj_std",
            "latency_ms",
            "latency_ms_std",
            "inferences",
        )
        titles = ("Batch", "Total µJ", "± µJ", "Dynamic µJ", "± µJ", "Batch time ms", "± ms", "Inferences")
        idle = f"idle {number(measured['idle_watts'])} ± {number(measured['idle_watts_std'])} W"
        source = f"{escape(measured['device'])}, {escape(measured['source'])}, {idle}."
        covers = f"Covers {escape(measured['includes'])}."
        stopped = f" Stopped early: {escape(measured['stopped'])}." if measured["stopped"] else ""
        metered = [cells(row[key] for key in keys) for row in measured["batches"]]
        body = f"<p>{source} {covers} {prose.METERED}{stopped}</p>" + table([(title, "") for title in titles], metered)
    else:
        body = f"<p>{tag('unavailable', 'mixed')} {escape(measured['reason'])}. No energy was measured.</p>"
    rows = [
        [escape(row["title"]), number(row["uj"]), escape(f"{row['kind']}, price {row['grade']}"), escape(row["source"])]
        for row in measured["estimate"]
    ]
    head = [("Estimate for the dense network on a GPU", "text"), ("µJ", ""), ("Kind", "text"), ("Source", "long")]
    return section("measured", "PyTorch on this machine", body + others, table(head, rows))


def _published(published: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        [
            escape(row["what"]),
            number(row["value"]),
            escape(row["unit"].replace("uJ", "µJ")),
            escape(row["boundary"]),
            escape(f"published, {row['grade']}"),
            escape(row["source"]),
        ]
        for row in published
    ]
    head = [("Figure", "text"), ("Value", ""), ("Unit", "text"), ("Boundary", "text"), ("Kind", "text")]
    head.append(("Source", "long"))
    return section("published", "What others published", f"<p>{prose.PUBLISHED}</p>", table(head, rows))


def _method(report: Mapping[str, Any]) -> str:
    t = report["totals"]
    figures = (
        f"The spiking network makes {number(t['density'])} synaptic operations for each dense MAC, and "
        f"{number(t['synops_per_synapse'])} a synapse and inference, over {number(t['steps_per_sample'])} steps."
    )
    return section("method", "How to read this", f"<p>{figures} {prose.DAMPFHOFFER}</p><p>{prose.BOUNDARIES}</p>")


def _environment(report: Mapping[str, Any]) -> str:
    env, model = report["environment"], report["model"]
    versions = ", ".join(f"{name} {version or 'absent'}" for name, version in env["versions"].items())
    step = " (the file does not say; a default)" if model["dt_is_default"] else ""
    notes = "".join(f"<p>Note: {escape(note)}.</p>" for note in model["notes"])
    return (
        '<footer id="environment"><h2>Environment</h2>'
        f"<p>Python {escape(env['python'])}, {escape(env['system'])}, {env['cores']} cores. {escape(versions)}.</p>"
        f"<p>{model['nodes']} nodes, {model['spiking_nodes']} of them spiking; step {model['dt_seconds']:g} s{step}; "
        f"read-out {escape(model['readout'])}. SHA-256 of the model <code>{model['sha256']}</code>.</p>{notes}</footer>"
    )
