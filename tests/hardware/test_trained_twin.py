"""Operations of a trained twin against the NIR counts, torch's FLOP counter and loops; its prices; the report."""

import dataclasses
import json

import nir
import numpy as np
import pytest
import torch
from neurotarget.conversion.to_nir import to_nir
from neurotarget.hardware import report
from neurotarget.hardware.counts.layers import count
from neurotarget.hardware.counts.twin_products import run_and_count
from neurotarget.hardware.energy.figure import MEMORY, OPERATIONS
from neurotarget.hardware.energy.memory import energies
from neurotarget.hardware.energy.prices import load_tables
from neurotarget.hardware.energy.sensitivity import price_parts, shares
from neurotarget.hardware.energy.trained_twin import trained_twin
from neurotarget.hardware.energy.twin import compare
from neurotarget.hardware.energy.twin_file import twin_bits
from neurotarget.hardware.meters.measurement import measure
from neurotarget.model.training import checkpoint, registry
from neurotarget.model.training.post_training import quantised
from neurotarget.sim import reference
from neurotarget.sim.graph import load
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from neurotarget.data import Dataset, Split
from tests.hardware.metered import Machine
from tests.torch_networks import lively

CONFIGS = {
    "spikescr": registry.preset("tiny", twin=True, blocks=2),
    "causal": registry.preset("tiny", twin=True, causal=True),
    "delays": registry.preset("delays_tiny", twin=True),
}
FRAMES = np.random.default_rng(3).poisson(0.8, (5, 23, 12)).astype(np.float32)
LENGTHS = np.array([23, 1, 4, 17, 23])
TABLES = load_tables(())


def build(config):
    torch.manual_seed(0)
    return lively(registry.build(config))


@pytest.fixture(params=CONFIGS)
def config(request):
    return CONFIGS[request.param]


def nir_counts(config):
    """Of the spiking network of the same shape: its dense side is counted from the file alone, without torch."""
    spiking = build(dataclasses.replace(config, twin=False))
    graph = load(to_nir(spiking, (12,)))
    return count(graph, reference.run(graph, FRAMES.astype(np.float64), LENGTHS))


def test_multiply_accumulates_are_those_of_the_file_layer_by_layer(config):
    twin = {}
    counts = run_and_count(build(config), FRAMES, LENGTHS).counts
    for layer in counts:  # attention is one node, and two products here
        name = layer.name.removesuffix(".scores").removesuffix(".mixture")
        twin[name] = twin.get(name, 0) + layer.dense_macs
    spiking = [layer for layer in nir_counts(config) if layer.dense_macs]
    assert twin == {layer.name: layer.dense_macs for layer in spiking}
    parameters = {layer.name: layer.parameters for layer in counts if layer.parameters}
    assert parameters == {layer.name: layer.parameters for layer in spiking if layer.parameters}


def test_torchs_own_counter_agrees():
    """Two FLOPs per multiply-accumulate; torch counts taps in the padding, and neither rotary position nor gate."""
    network = build(CONFIGS["spikescr"])
    for row, steps in enumerate(LENGTHS.tolist()):
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            network(torch.from_numpy(FRAMES[row : row + 1, :steps]))
        run = run_and_count(network, FRAMES[row : row + 1], LENGTHS[row : row + 1])
        ours = sum(layer.dense_macs for layer in run.counts if layer.kind not in ("rotary", "gate"))
        padded = 0
        for module in network.modules():
            if isinstance(module, nn.Conv1d):
                (taps,) = module.kernel_size
                inside = sum(min(steps, s + taps // 2 + 1) - max(0, s - taps // 2) for s in range(steps))
                padded += (taps * steps - inside) * module.in_channels * module.out_channels // module.groups
        assert counter.get_total_flops() == 2 * (ours + padded)


@pytest.mark.parametrize("bits", [None, 4])
def test_products_without_a_zero_are_those_of_a_loop(bits):
    """Layers in which a loop is short: every pair of factors is looked at."""
    network = build(CONFIGS["causal"])
    if bits:
        network = quantised(network, Split(FRAMES, np.zeros(5, np.int64), LENGTHS, list("abcde")), bits)
    seen = {}
    names = ("embed.conv", "blocks.0.convolution.depthwise.conv", "blocks.0.mlp1.output.linear")
    names += tuple(f"blocks.0.attention.product.{part}" for part in ("scores", "mixture"))
    for name in names:
        network.get_submodule(name).register_forward_hook(lambda m, i, o, name=name: seen.update({name: i}))
    run = run_and_count(network, FRAMES[3:4], LENGTHS[3:4])
    found = {layer.name: layer.nonzero_macs for layer in run.counts}
    steps = int(LENGTHS[3])
    for name in names[:2]:
        x, module = seen[name][0][:, 0].numpy(), network.get_submodule(name)
        (taps,), each = module.kernel_size, module.out_channels // module.groups
        total = 0
        for out in range(steps):
            for tap in range(taps):
                source = out - (taps - 1) + tap
                total += each * int((x[source] != 0).sum()) if 0 <= source < steps else 0
        assert found[name] == total
    x = seen[names[2]][0]
    assert found[names[2]] == 16 * sum(1 for value in x.flatten().tolist() if value)
    past = [(head, i, j, k) for head in range(2) for i in range(steps) for j in range(i + 1) for k in range(8)]
    query, key = (x[0].numpy() for x in seen[names[3]])
    share, value = (x[0].numpy() for x in seen[names[4]])
    assert found[names[3]] == sum(query[h, i, k] != 0 and key[h, k, j] != 0 for h, i, j, k in past)
    assert found[names[4]] == sum(share[h, i, j] != 0 and value[h, j, k] != 0 for h, i, j, k in past)
    assert run.exponentials == 2 * steps * (steps + 1) // 2


def test_closed_forms(config):
    run = run_and_count(build(config), FRAMES, LENGTHS)
    counts = {layer.name: layer for layer in run.counts}
    steps = int(LENGTHS.sum())
    for layer in counts.values():
        assert (layer.samples, layer.sample_steps) == (5, steps)
        assert 0 < layer.nonzero_macs <= layer.dense_macs
    if "embed.conv" in counts:
        assert counts["head"].dense_macs == steps * 16 * 4 and counts["head"].biases == 0
        assert counts["blocks.0.mlp1.hidden.linear"].biases == steps * 24  # of its batch normalisation
        pairs = sum(n * (n + 1) // 2 if config.causal else n * n for n in LENGTHS.tolist())
        assert counts["blocks.0.attention.product.mixture"].dense_macs == pairs * 16
        assert run.exponentials == config.blocks * config.heads * pairs


# ---- prices ----------------------------------------------------------------------------------------------------------


def priced(bits):
    run = run_and_count(build(CONFIGS["spikescr"]), FRAMES, LENGTHS)
    counts = nir_counts(CONFIGS["spikescr"])
    spiking = energies(counts, TABLES)
    return trained_twin("twin.pt", bits, 8, 0.5, run, TABLES, spiking, price_parts(counts, TABLES)), spiking


def test_both_sides_of_a_figure_are_under_one_table_of_the_twins_precision():
    wide, spiking = priced(32)
    narrow, _ = priced(8)
    assert {figure.precision for figure in narrow.energies} == {"INT8"}
    assert "INT8" not in {figure.precision for figure in wide.energies}
    own = {figure.table: figure for figure in spiking}
    for twin in (wide, narrow):
        for figure in twin.energies:
            assert figure.snn_uj == own[figure.table].snn_uj
            assert figure.boundary == own[figure.table].boundary
            assert figure.skipping_uj < figure.twin_uj
            if figure.ratio is None:
                continue
            assert figure.ratio == figure.twin_uj / figure.snn_uj
            assert 0 < figure.ratio_low <= figure.ratio_high and figure.skipping_ratio_high <= figure.ratio_high


def test_an_interval_is_that_of_the_spiking_networks_two_prices_by_hand():
    """Under 45 nm the twin pays `mac` alone, the spiking network both: r = m M / (a A + m B)."""
    twin, _ = priced(32)
    (figure,) = (one for one in twin.energies if one.table == "45nm-fp32")
    (parts,) = (shares(nir_counts(CONFIGS["spikescr"]), table) for table in TABLES if table.name == "45nm-fp32")
    a, m = np.random.default_rng(1).uniform(0.5, 1.5, (2, 100_000))
    drawn = m * figure.twin_uj / (a * parts["ac"][0] + m * parts["mac"][0])
    assert (figure.ratio_low, figure.ratio_high) == pytest.approx(np.percentile(drawn, (2.5, 97.5)), rel=0.02)


def test_operations_are_counts_times_the_price():
    twin, _ = priced(8)
    (figure,) = (one for one in twin.energies if one.table == "45nm-int8")
    assert figure.twin_uj == pytest.approx(twin.macs * 0.23e-6)
    assert figure.skipping_uj == pytest.approx(twin.nonzero_macs * 0.23e-6)
    assert twin.at_22nm.compute_uj == pytest.approx(twin.macs * 8 * 0.0545e-6)
    assert twin.sparsity == pytest.approx(1 - twin.nonzero_macs / twin.macs)


def test_without_attention_memory_and_few_bits_cost_what_the_dense_side_of_the_file_does():
    """Where both sides hold the same layers, two independent counts give one energy."""
    config = CONFIGS["delays"]
    counts = nir_counts(config)
    run = run_and_count(build(config), FRAMES, LENGTHS)
    twin = trained_twin("twin.pt", 32, 32, None, run, TABLES, energies(counts, TABLES))
    dense = {figure.table: figure.ann_uj for figure in energies(counts, TABLES)}
    assert {figure.boundary for figure in twin.energies} == {OPERATIONS, MEMORY}
    for figure in twin.energies:
        assert figure.twin_uj == pytest.approx(dense[figure.table])
    every = compare(counts).twins[1]
    few = trained_twin("twin.pt", 4, 8, None, run, TABLES, ())
    assert few.at_22nm.compute_uj == pytest.approx(every.compute_uj)


@pytest.mark.parametrize(("steps", "bits"), [(1, (8, 2)), (40, (8, 6)), (100, (8, 7)), (255, (8,)), (1000, (8,))])
def test_bits_of_the_quantised_twins(steps, bits):
    assert twin_bits(steps) == bits


# ---- report ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A spiking network's file, its input, and the checkpoint of a twin of the same data."""
    split = Split(FRAMES, np.array([0, 1, 2, 3, 0]), LENGTHS, list("abcde"))
    splits = dict.fromkeys(("train", "validation", "test"), split)
    dataset = Dataset("here", tuple("abcd"), (12,), 0.01, splits)
    monkeypatch.setattr("neurotarget.hardware.energy.twin_file.open_dataset", lambda *_: dataset)
    config = CONFIGS["spikescr"]
    spiking = build(dataclasses.replace(config, twin=False))
    nir.write(tmp_path / "model.nir", to_nir(spiking, (12,)))
    np.savez(tmp_path / "input.npz", input=FRAMES, length=LENGTHS, label=split.labels)
    for name, network in (("twin", build(config)), ("spiking", spiking)):
        made = checkpoint.Checkpoint(network.config, network.state_dict(), {}, "synth", tuple("abcd"), 0.01, {})
        checkpoint.save(tmp_path / f"{name}.pt", made)
    return tmp_path


def make(folder, twin, *more):
    argv = [str(folder / "model.nir"), "--input", str(folder / "input.npz"), "--lava-samples", "0", *more]
    return report.main([*argv, "--out", str(folder / "out"), "--twin", str(folder / twin)])


def test_a_report_has_the_twin_beside_the_spiking_network(files):
    assert make(files, "twin.pt") == 0
    made = json.loads((files / "out" / "report.json").read_text())
    assert [twin["name"] for twin in made["trained_twins"]] == ["fp32", "int8", "int4"]  # 14 steps, mean
    assert all(twin["samples"] == 5 and twin["accuracy"] in np.arange(6) / 5 for twin in made["trained_twins"])
    assert made["trained_twins"][0]["macs"] == pytest.approx(made["totals"]["dense_macs"])
    page = (files / "out" / "report.html").read_text()
    assert "Against a trained twin" in page and "int4" in page


def test_with_a_meter_the_twin_is_measured_too(files, monkeypatch):
    """Under a simulated counter: 1.2 J alone, of which 0.2 J is idle draw; the twin takes 0.5 J above the same."""

    def metered(network, frames, lengths, estimate=()):
        machine = Machine(joules_a_batch=0.5 if network == files / "twin.pt" else 1.0)
        return measure("ckpt.pt", frames, lengths, estimate, {"meter": machine.sensor}, machine.bench, machine.timing)

    monkeypatch.setattr("neurotarget.hardware.energy.runs.measure", metered)
    monkeypatch.setattr("neurotarget.hardware.page.assembly.measure", metered)
    assert make(files, "twin.pt") == 0
    made = json.loads((files / "out" / "report.json").read_text())
    assert made["measured_twin"]["batch_1"]["total_uj"] == pytest.approx(0.7e6)
    (row,) = (row for row in made["verdict"]["rows"] if row["name"] == "measured")
    assert row["standing"] == "open" and row["answer"].count("1.71 ± ") == 2
    assert '<td class="text">twin</td>' in (files / "out" / "report.html").read_text()


def test_a_report_refuses_a_network_that_spikes(files, capsys):
    assert make(files, "spiking.pt") == 2
    assert "spikes; --twin takes" in capsys.readouterr().err
