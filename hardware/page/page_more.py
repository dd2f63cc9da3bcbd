"""Sections of the report page beyond the counts of one network: claims, the quantised twin, other counters, chips."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from neurotarget.hardware.energy.claims import FAILS, HOLDS
from neurotarget.hardware.energy.verdict import number
from neurotarget.hardware.page import chip_picture, plots, prose
from neurotarget.hardware.page.html import cells, figure, percent, section, table, tag
from neurotarget.hardware.place import sentence

ANSWERS = {HOLDS: ("Holds", "good"), FAILS: ("Fails", "bad")}
UNITS = {"ratio": "", "uJ": " µJ"}
BOUNDARIES = {"operations": "operations only", "memory": "memory included", "measured": "measured"}
DAMPFHOFFER = {
    "competes": "competes with every network in that study",
    "depends": "competes with some networks of that study",
    "loses": "competes with no network in that study",
}


def claims(judged: Sequence[Mapping[str, Any]]) -> str:
    """A card a claim with its answer, and under it the rows and where they flip; nothing without claims."""
    if not judged:
        return ""
    cards, details = [], []
    for claim in judged:
        answer, tone = ANSWERS.get(claim["answer"], ("Undecided", "mixed"))
        unit = UNITS[claim["unit"]]
        found = "" if claim["low"] is None else f"Found {_range(claim)}{unit}. "
        asked = f"Claimed: {claim['relation']} {number(claim['value'])}{unit}, {BOUNDARIES[claim['boundary']]}. "
        reason = f"{claim['reason'].capitalize()}." if claim["reason"] else ""
        cards.append(
            f'<div class="card {tone}"><h3>{escape(claim["name"])}</h3><p class="answer">{answer}</p>'
            f"<p>{escape(asked + found + reason)}</p></div>"
        )
        if claim["rows"]:
            details.append(_claim_details(claim))
    return section(
        "claims",
        "Claims",
        f'<p>{prose.CLAIMS}</p><div class="cards">{"".join(cards)}</div>',
        *details,
    )


def _range(claim: Mapping[str, Any]) -> str:
    low, high = number(claim["low"]), number(claim["high"])
    return low if low == high else f"{low} to {high}"


def _claim_details(claim: Mapping[str, Any]) -> str:
    head = [("Price table or measurement", "text"), ("Answer", "text"), ("Found", "")]
    head += [("Flips at spike rate", ""), ("Flips at steps", ""), ("Kind, evidence", "text")]
    rows = []
    for row in claim["rows"]:
        rate = row["break_even_spike_rate"]
        rows.append(
            [
                escape(row["table"]),
                tag(*ANSWERS[row["answer"]]),
                number(row["value"]),
                "none" if (rate or 0) > 1 else percent(rate),
                number(row["break_even_steps"]),
                escape(f"{row['kind']}, {row['grade']}"),
            ]
        )
    body = table(head, rows) + f'<p class="faint">Source of the claim: {escape(claim["source"])}.</p>'
    plotted = ""
    if claim["spike_rate"] and any(row["scaling"] > 0 for row in claim["rows"]):
        plotted += figure(plots.claim(claim), prose.CLAIM_PLOT)
    if any(row["break_even_steps"] for row in claim["rows"]):
        plotted += figure(plots.claim_steps(claim), prose.CLAIM_STEPS)
    return f"<details><summary>{escape(claim['name'])}</summary>{plotted}{body}</details>"


def waterfall(layers: Sequence[Mapping[str, Any]], energy: Sequence[Mapping[str, Any]]) -> str:
    """Where the energy goes with memory included, layer by layer: a picture for each price of an access."""
    tables = [row for row in energy if row["boundary"] == "memory" and row["snn_uj"]]
    if not tables:
        return ""
    most = max(row["snn_uj"] for row in tables)
    pictures, totals = [], {}
    for row in tables:
        mine = [layer for layer in layers if layer["table"] == row["table"]]
        totals[row["table"]] = {layer["name"]: layer["total_uj"] for layer in mine}
        caption = f"{row['title']}: {number(row['snn_uj'])} µJ an inference ({row['kind']}, price {row['grade']})."
        pictures.append(figure(plots.waterfall(mine, most), caption))
    head = [("Layer", "text"), *((f"{name} µJ", "") for name in totals)]
    rows = [
        [f"<code>{escape(name)}</code>", *cells(of[name] for of in totals.values())]
        for name in dict.fromkeys(layer["name"] for layer in layers)
    ]
    whole = ["All layers", *cells(row["snn_uj"] for row in tables)]
    by_layer = f"<details><summary>Layer by layer</summary>{table(head, rows, whole)}</details>"
    return section("waterfall", "Where the energy goes", f"<p>{prose.WATERFALL}</p>", *pictures, by_layer)


def networks(rows: Sequence[Mapping[str, Any]]) -> str:
    """Other networks beside the report's own; nothing unless they were asked for."""
    if not rows:
        return ""
    files = [Path(row["model"]) for row in rows]
    one_folder = len({file.parent for file in files}) == 1
    names = [f"{n} {file.stem if one_folder else file.parent.name}" for n, file in enumerate(files, 1)]
    head = [("", ""), ("Model", "long"), ("Input", "long"), ("Accuracy", ""), ("Samples", ""), ("Steps", "")]
    head += [("Neurons", ""), ("Parameters", ""), ("Synaptic operations", ""), ("Dense MACs", ""), ("Spike rate", "")]
    head += [("Operations only µJ", ""), ("Memory included µJ", "")]
    lines = []
    for place, row in enumerate(rows, 1):
        accuracy = "–" if row["accuracy"] is None else f"{100 * row['accuracy']:.1f} %"
        named = [str(place), f"<code>{escape(row['model'])}</code>", f"<code>{escape(row['input'])}</code>", accuracy]
        counts = ("samples", "steps_per_sample", "neurons", "parameters", "synops", "dense_macs")
        energies = [_spread(row["energy"], boundary) for boundary in ("operations", "memory")]
        lines.append([*named, *cells(row[key] for key in counts), percent(row["spike_rate"]), *energies])
    picture = figure(plots.networks(rows, names), prose.BESIDE_PLOT)
    return section("networks", "Beside other networks", f"<p>{prose.BESIDE}</p>", table(head, lines), picture)


def _spread(energy: Sequence[Mapping[str, Any]], boundary: str) -> str:
    """Lowest to highest estimate over the tables."""
    values = [figure["snn_uj"] for figure in energy if figure["boundary"] == boundary]
    if not values:
        return "–"
    low, high = number(min(values)), number(max(values))
    return low if low == high else f"{low} to {high}"


def twin(result: Mapping[str, Any]) -> str:
    """The quantised twins beside the spiking network."""
    head = [("Network", "text"), ("Arithmetic µJ", ""), ("Movement µJ", ""), ("Total µJ", ""), ("Twin / spiking", "")]
    keys = ("compute_uj", "movement_uj", "total_uj")
    rows = [["Spiking", *cells(result["snn"][key] for key in keys), ""]]
    for one in result["twins"]:
        tone = "" if one["total_ratio"] is None else "good" if one["total_ratio"] > 1 else "bad"
        ratio = "–" if one["total_ratio"] is None else tag(f"{number(one['total_ratio'])} ×", tone)
        rows.append([f"Twin, {escape(one['title'])}", *cells(one[key] for key in keys), ratio])
    bits, steps = result["activation_bits"], result["steps"]
    facts = (
        f"{steps} steps make a twin of {bits}-bit activations. If nothing were sparse, the spiking network would cost "
        f"{number(result['dense_ratio'])} times the twin that computes once. Its bit budget is "
        f"{number(result['bit_budget'])} a weight against {number(result['bit_budget_twin'])}. "
        f"The twin that computes once is matched up to {number(result['break_even_steps'])} steps at this spike rate"
    )
    if result["spike_rate"] is not None:
        wins = "wins" if result["compute_only_wins"] else "loses"
        facts += (
            f"; in arithmetic alone the spike rate of {percent(result['spike_rate'])} {wins} against a limit of "
            f"{percent(result['compute_only_rate'])}"
        )
    facts += "."
    if result["spikes_per_synapse"] is not None:
        facts += (
            f" It spends {number(result['spikes_per_synapse'])} spikes a synapse and inference, and so "
            f"{DAMPFHOFFER[result['dampfhoffer']]} (Dampfhoffer et al. 2023)."
        )
    source = f'<p class="faint">{escape(result["source"])}; {result["kind"]}, {result["grade"]}.</p>'
    return section(
        "twin", "Against a quantised twin", f"<p>{prose.TWIN}</p>", table(head, rows), f"<p>{facts}</p>", source
    )


def counters(compared: Mapping[str, Any] | None) -> str:
    """Other packages' counts beside ours; nothing unless they were asked for."""
    if compared is None:
        return ""
    missing = "".join(
        f"<p>{tag('unavailable', 'mixed')} {escape(entry['counter'])}: {escape(entry['reason'])}</p>"
        for entry in compared["unavailable"]
    )
    body = ""
    if compared["rows"]:
        by_layer = f"<details><summary>Layer by layer</summary>{_counters_by_layer(compared['rows'])}</details>"
        body = _counters_in_all(compared["rows"]) + by_layer
    samples = f"{number(compared['samples'])} samples, means of one."
    return section("counters", "Other counters on the same run", f"<p>{prose.COUNTERS} {samples}</p>", missing, body)


def _counters_in_all(rows: Sequence[Mapping[str, Any]]) -> str:
    """A line a counter: sums over the layers, how many layers agree, and each reason with how many it covers."""
    head = [("Counter", "text"), ("ACs", ""), ("MACs", ""), ("Layers equal", ""), ("Where it departs, and why", "long")]
    lines = []
    for counter in dict.fromkeys(row["counter"] for row in rows):
        mine = [row for row in rows if row["counter"] == counter]
        equal = sum(row["equal"] for row in mine)
        reasons = Counter(row["why"] for row in mine if not row["equal"])
        spoken = [f"{count} layer{'s' * (count > 1)}: {reason}" for reason, count in reasons.most_common()]
        why = "; ".join(spoken) or "nowhere"
        tone = "good" if equal == len(mine) else "mixed"
        sums = cells(sum(row[key] for row in mine) for key in ("acs", "macs"))
        lines.append([escape(counter), *sums, tag(f"{equal} of {len(mine)}", tone), escape(why)])
    first = rows[0]["counter"]
    ours = cells(sum(row[key] for row in rows if row["counter"] == first) for key in ("our_acs", "our_macs"))
    return table(head, lines, ["ours", *ours, "", ""])


def _counters_by_layer(rows: Sequence[Mapping[str, Any]]) -> str:
    head = [("Layer", "text"), ("Counter", "text"), ("ACs", ""), ("MACs", ""), ("Ours ACs", ""), ("Ours MACs", "")]
    head += [("", "text"), ("Why", "long")]
    lines = []
    for row in rows:
        mark = tag("equal", "good") if row["equal"] else tag("departs", "mixed")
        numbers = cells(row[key] for key in ("acs", "macs", "our_acs", "our_macs"))
        lines.append(
            [f"<code>{escape(row['layer'])}</code>", escape(row["counter"]), *numbers, mark, escape(row["why"])]
        )
    return table(head, lines)


def chips(placements: Sequence[Mapping[str, Any]]) -> str:
    """Each chip: whether the network fits, its picture, what does not fit, and its cores."""
    parts = [f"<p>{prose.CHIPS}</p>"]
    for result in placements:
        if "reason" in result:
            parts.append(f"<p>{tag('not placed', 'mixed')} {escape(result['chip'])}: {escape(result['reason'])}</p>")
            continue
        mark = tag("fits", "good") if result["fits"] else tag("does not fit", "bad")
        parts.append(f"<h3>{escape(result['chip'])} {mark}</h3><p>{escape(sentence(result))} {_mesh(result)}</p>")
        if result["findings"]:
            head = [
                ("Rule", "text"),
                ("Where", "long"),
                ("Takes", ""),
                ("Limit", ""),
                ("What would make it fit", "long"),
            ]
            head.append(("Source of the limit", "long"))
            rows = [
                [
                    escape(found["rule"]),
                    f"<code>{escape(found['where'])}</code>",
                    number(found["used"]),
                    number(found["limit"]),
                    escape(found["remedy"]),
                    escape(f"{found['source']} ({found['grade']})"),
                ]
                for found in result["findings"]
            ]
            parts.append(table(head, rows))
        parts.append(figure(chip_picture.picture(result), prose.CHIP_PICTURE))
        parts.append(f"<details><summary>Cores of {escape(result['chip'])}</summary>{_cores(result)}</details>")
    return section("chips", "On a chip", *parts)


def _mesh(result: Mapping[str, Any]) -> str:
    mesh = result["mesh"]
    energy = "no energy of a hop is published"
    if mesh["energy_uj"] is not None:
        energy = f"{number(mesh['energy_uj'])} µJ on the mesh (estimated)"
    sent = f"{number(mesh['messages'])} messages an inference ({mesh['rate']})"
    return escape(f"{sent}, {number(mesh['mean_hops'])} hops each: {energy}.")


def _cores(result: Mapping[str, Any]) -> str:
    head = [("Core", ""), ("Fullest", ""), ("Compartments", ""), ("Axons in", ""), ("Axons out", "")]
    head += [("Memory bits", ""), ("Populations", "long")]
    keys = ("compartments", "input_axons", "output_axons", "memory_bits")
    rows = [
        [
            str(core["index"]),
            percent(core["fullest"]),
            *cells(core["use"][key] for key in keys),
            escape(", ".join(core["populations"])),
        ]
        for core in result["cores"]
    ]
    return table(head, rows)
