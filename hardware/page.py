"""`report.html`: one file that shows everything in `report.json` to a person, without a network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from hardware import plots, prose
from hardware.style import STYLE
from hardware.summary import break_even_curves
from hardware.verdict import DEPENDS, LESS, MORE, number
from sim.trace import Trace

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
        _energy(report),
        _break_even(report),
        _layers(report),
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


# ---- building blocks -------------------------------------------------------------------------------------------------


def _table(head: Sequence[tuple[str, str]], rows: Iterable[Sequence[str]], total: Sequence[str] | None = None) -> str:
    """A table in a box of its own. `head` holds (title, class of the column); cells are HTML."""
    columns = [kind for _, kind in head]

    def line(cells: Sequence[str], tag: str = "td") -> str:
        return "".join(
            f'<{tag} class="{kind}">{cell}</{tag}>' if kind else f"<{tag}>{cell}</{tag}>"
            for cell, kind in zip(cells, columns, strict=True)
        )

    body = "".join(f"<tr>{line(row)}</tr>" for row in rows)
    if total is not None:
        body += f'<tr class="total">{line(total)}</tr>'
    return (
        f'<div class="scroll"><table><thead><tr>{line([escape(title) for title, _ in head], "th")}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _section(name: str, title: str, *parts: str) -> str:
    return f'<section id="{name}"><h2>{title}</h2>{"".join(parts)}</section>'


def _figure(picture: plots.Picture, caption: str) -> str:
    return (
        '<figure><div class="plot"><picture>'
        f'<source media="(prefers-color-scheme: dark)" srcset="{picture.dark}">'
        f'<img src="{picture.light}" alt="{escape(picture.alt)}" width="{picture.width}" height="{picture.height}">'
        f"</picture></div><figcaption>{escape(caption)}</figcaption></figure>"
    )


def _tag(text: str, tone: str = "") -> str:
    return f'<span class="tag {tone}">{escape(text)}</span>'


def _figures(values: Iterable[float | None]) -> list[str]:
    return [number(value) for value in values]


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
        ("Spike rate", _percent(totals["spike_rate"]), "spikes a neuron and step, counted"),
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


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.3g} %"


def _energy(report: Mapping[str, Any]) -> str:
    rows, sources = [], list(dict.fromkeys(row["source"] for row in report["energy"]))
    for row in report["energy"]:
        tone = "" if row["ratio"] is None else "good" if row["ratio"] > 1 else "bad"
        ratio = "–" if row["ratio"] is None else _tag(f"{number(row['ratio'])} ×", tone)
        rows.append(
            [
                f"{escape(row['title'])} <small>[{sources.index(row['source']) + 1}]</small>",
                escape(BOUNDARIES[row["boundary"]]),
                *_figures((row["snn_uj"], row["ann_uj"])),
                ratio,
                *_figures((row["snn_synapses_uj"], row["snn_neurons_uj"], row["snn_traffic_uj"])),
                "none" if (row["break_even_spike_rate"] or 0) > 1 else _percent(row["break_even_spike_rate"]),
                escape(f"{row['kind']}, {row['grade']}"),
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
        ("Kind, evidence", "text"),
    ]
    listed = "".join(f"<li>{escape(source)}</li>" for source in sources)
    return _section(
        "energy",
        "Energy by table",
        f"<p>{prose.ENERGY}</p>",
        _figure(plots.energy(report["energy"]), prose.ENERGY_PLOT),
        _table(head, rows),
        f'<ol class="sources">{listed}</ol><p class="faint">{prose.LOIHI2}</p>',
    )


def _break_even(report: Mapping[str, Any]) -> str:
    curves, rate = break_even_curves(report["energy"]), report["totals"]["spike_rate"]
    if not curves or not rate:
        return ""
    picture = plots.break_even(curves, rate)
    text = f"<p>{prose.BREAK_EVEN}</p>"
    return _section("break-even", "Where the answer flips", text, _figure(picture, prose.BREAK_EVEN_PLOT))


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
        ("Spikes", ""),
        ("Spike rate", ""),
    ]
    rows = [[f"<code>{escape(row['name'])}</code>", escape(row["kind"]), *_counts(row)] for row in report["layers"]]
    t = report["totals"]
    total = ["All layers", "", number(t["neurons"]), "", "", "", number(t["events"]), ""]
    total += _figures((t["acs"], t["macs"], t["dense_macs"], t["neuron_updates"], t["spikes"]))
    total.append(_percent(t["spike_rate"]))
    picture = plots.operations(report["layers"])
    return _section(
        "layers",
        "Where the operations go",
        f"<p>{prose.LAYERS}</p>",
        _figure(picture, prose.LAYERS_PLOT),
        _table(head, rows, total),
    )


def _counts(row: Mapping[str, Any]) -> list[str]:
    """Cells of one layer; blank where a layer has no such thing, so that the figures stand out."""
    work = ("payload_sum", "acs", "macs", "dense_macs")
    silent = not row["synops"] and not row["dense_macs"] and not row["events"]
    synapses = [*_figures((row["fan_in"], row["fan_out"])), escape(row["payload"]), number(row["events"])]
    synapses += _figures(row[key] for key in work)
    cells = [number(row["neurons"]), *([""] * len(synapses) if silent else synapses)]
    cells.append(number(row["neuron_updates"]) if row["neuron_updates"] else "")
    spikes = "" if row["spikes"] is None else number(row["spikes"])
    return [*cells, spikes, "" if row["spike_rate"] is None else _percent(row["spike_rate"])]


def _raster(trace: Trace) -> str:
    length = int(trace.lengths[0])
    spikes = {name: array[0] for name, array in trace.spikes.items()}
    count = sum(int(array[:length].sum()) for array in spikes.values())
    caption = f"First sample: {number(count)} spikes over {length} steps, one row a neuron, layers in order."
    return _section("raster", "Spikes of one utterance", _figure(plots.raster(spikes, length), caption))


def _parity(report: Mapping[str, Any]) -> str:
    rows = []
    for entry in report["parity"]:
        if entry["holds"]:
            tag = _tag("equal", "good")
        else:
            tag = _tag("NOT equal", "bad") if entry["required"] else _tag("differs", "mixed")
        numbers = _figures(entry[key] for key in ("samples", "steps", "spikes", "mismatched", "near_threshold"))
        difference, first = number(entry["output_difference"]), escape(entry["first_divergence"] or "none")
        role = "check" if entry["required"] else "measurement"
        rows.append([escape(entry["sides"]), tag, *numbers, difference, first, role])
    for entry in report["parity_unavailable"]:
        tag = _tag("not checked", "mixed")
        rows.append([escape(entry["sides"]), tag, *["–"] * 6, escape(entry["reason"]), "check"])
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
    return _section("parity", "Is it the same network everywhere?", f"<p>{prose.PARITY}</p>", _table(head, rows))


def _measured(measured: Mapping[str, Any]) -> str:
    if measured["available"]:
        keys = ("batch", "total_uj", "total_uj_std", "dynamic_uj", "latency_ms", "inferences")
        titles = ("Batch", "Total µJ", "± µJ", "Dynamic µJ", "Batch time ms", "Inferences")
        source = f"{escape(measured['source'])}; idle {number(measured['idle_watts'])} W. {prose.METERED}"
        metered = [_figures(row[key] for key in keys) for row in measured["batches"]]
        body = f"<p>{source}</p>" + _table([(title, "") for title in titles], metered)
    else:
        body = f"<p>{_tag('unavailable', 'mixed')} {escape(measured['reason'])}. No energy was measured on a GPU.</p>"
    rows = [
        [escape(row["title"]), number(row["uj"]), escape(row["kind"]), escape(row["source"])]
        for row in measured["estimate"]
    ]
    head = [("Estimate for the dense network", "text"), ("µJ", ""), ("Kind", "text"), ("Source", "long")]
    return _section("measured", "On a GPU", body, _table(head, rows))


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
    return _section("published", "What others published", f"<p>{prose.PUBLISHED}</p>", _table(head, rows))


def _method(report: Mapping[str, Any]) -> str:
    t = report["totals"]
    figures = (
        f"The spiking network makes {number(t['density'])} synaptic operations for each dense MAC, and "
        f"{number(t['synops_per_synapse'])} a synapse and inference, over {number(t['steps_per_sample'])} steps."
    )
    return _section("method", "How to read this", f"<p>{figures} {prose.DAMPFHOFFER}</p><p>{prose.BOUNDARIES}</p>")


def _environment(report: Mapping[str, Any]) -> str:
    env, model = report["environment"], report["model"]
    versions = ", ".join(f"{name} {version or 'absent'}" for name, version in env["versions"].items())
    step = " (the file does not say; a default)" if model["dt_is_default"] else ""
    return (
        '<footer id="environment"><h2>Environment</h2>'
        f"<p>Python {escape(env['python'])}, {escape(env['system'])}, {env['cores']} cores. {escape(versions)}.</p>"
        f"<p>{model['nodes']} nodes, {model['spiking_nodes']} of them spiking; step {model['dt_seconds']:g} s{step}; "
        f"read-out {escape(model['readout'])}. SHA-256 of the model <code>{model['sha256']}</code>.</p></footer>"
    )
