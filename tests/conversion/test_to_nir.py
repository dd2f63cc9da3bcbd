"""PyTorch against the reference simulator through a NIR file: two implementations, one file between them."""

import json
from types import SimpleNamespace

import nir
import numpy as np
import pytest
import torch
from neurotarget.conversion.export.draft import UnsupportedModule
from neurotarget.conversion.to_nir import check, main, proven, random_frames, to_nir, write
from neurotarget.model.training import checkpoint
from neurotarget.sim import reference
from neurotarget.sim.graph import dialect
from neurotarget.sim.parity import DIFFERS, HOLDS, NOT_TESTED
from spikingjelly.activation_based import layer, neuron
from torch import nn

from tests import torch_networks as networks


def converted(network, shape, path, dt=1e-4):
    return write(to_nir(network, shape, dt), path)


@pytest.mark.parametrize("changes", [{}, {"causal": True}, {"blocks": 2}, {"tau": 3.0, "threshold": 0.8}])
def test_spikescr_is_the_same_spike_for_spike(tmp_path, changes):
    network = networks.tiny(**changes)
    graph = converted(network, (12,), tmp_path / "tiny.nir")
    frames, lengths = random_frames((12,))
    parity = check(network, graph, frames, lengths)
    assert parity.spikes > 1000
    assert parity.mismatched == 0
    assert parity.output_difference < 1e-9


@pytest.mark.parametrize("build", [networks.dense, networks.convolutional, networks.one_dimensional])
@pytest.mark.parametrize("seed", range(3))
def test_sequential_networks_are_the_same_spike_for_spike(tmp_path, build, seed):
    network, shape = build(seed)
    graph = converted(network, shape, tmp_path / "net.nir")
    frames, _ = random_frames(shape, seed)
    parity = check(network, graph, frames)
    assert parity.spikes > 100
    assert parity.holds, parity
    assert parity.mismatched == 0


@pytest.mark.parametrize("reset", [None, -0.5])
def test_a_reset_by_subtraction_and_a_start_away_from_zero_are_the_same_spike_for_spike(tmp_path, reset):
    """SpikingJelly: theta is taken off at once without v_reset; with one v starts there."""
    torch.manual_seed(3)
    network = nn.Sequential(
        layer.Conv2d(2, 3, 3, padding=1, step_mode="m"),
        neuron.IFNode(v_reset=reset, step_mode="m"),
        layer.Flatten(step_mode="m"),
        layer.Linear(48, 8, step_mode="m"),
        networks.lif(tau=3.0, reset=reset, theta=0.7),
        layer.Linear(8, 5, step_mode="m"),
        networks.lif(tau=2.0, decay_input=True, reset=reset),
    )
    for module in (network[0], network[3], network[5]):
        torch.nn.init.normal_(module.weight, 0.2, 0.6)
    network = network.double().eval()
    path = tmp_path / "net.nir"
    graph = converted(network, (2, 4, 4), path)
    word = "subtract_at_once" if reset is None else "zero"
    assert {node.reset for node in graph.spiking} == {word} and not graph.notes
    for node in graph.spiking:
        assert np.all(node.parameters.get("v_initial", 0.0) == (reset or 0.0))
    frames, _ = random_frames((2, 4, 4), 1)
    parity = check(network, graph, frames)
    assert parity.holds and parity.mismatched == 0 and parity.spikes > 100, parity
    assert min(spikes.sum() for spikes in reference.run(graph, frames).spikes.values()) > 20


def state_of(network):
    """All that a run could change: tensors with their type and place, modes, membranes, hooks."""
    modules = dict(network.named_modules())
    return {
        "tensors": {
            name: (id(v), v.dtype, v.device, v.clone()) for name, v in network.state_dict(keep_vars=True).items()
        },
        "modes": {name: (module.training, getattr(module, "step_mode", None)) for name, module in modules.items()},
        "membranes": {name: dict(m._memories) for name, m in modules.items() if isinstance(m, neuron.BaseNode)},
        "hooks": {name: list(module._forward_hooks) for name, module in modules.items()},
    }


def assert_same_state(before, after):
    assert all(before[key] == after[key] for key in ("modes", "hooks"))
    for name, (*place, value) in before["tensors"].items():
        assert after["tensors"][name][:3] == tuple(place) and torch.equal(after["tensors"][name][3], value), name
    for name, memories in before["membranes"].items():
        assert all(after["membranes"][name][key] is value for key, value in memories.items()), name


def in_use(network, shape):
    """A network in training, as a caller may have it: its neurons hold what the last batch left, with a gradient."""
    network.train()
    network[0].register_forward_hook(lambda *_: None)
    network(torch.rand(5, 3, *shape)).sum().backward()
    assert any(isinstance(m.v, torch.Tensor) for m in network.modules() if isinstance(m, neuron.BaseNode))
    return network


@pytest.mark.parametrize("fails", [False, True])
def test_a_check_leaves_the_network_as_it_was(tmp_path, monkeypatch, fails):
    """Single precision, training, membranes, step modes and hooks, also where the run raises."""
    network, shape = networks.dense(0)
    graph = converted(in_use(network.float(), shape), shape, tmp_path / "net.nir")
    before = state_of(network)
    if fails:
        monkeypatch.setattr(neuron.ParametricLIFNode, "multi_step_forward", lambda *_: 1 / 0)
        with pytest.raises(UnsupportedModule, match=r"layer 7: ZeroDivisionError: division by zero"):
            check(network, graph, random_frames(shape)[0])
    else:
        assert check(network, graph, random_frames(shape)[0]).holds
    assert_same_state(before, state_of(network))


def test_a_check_leaves_a_network_in_training_as_it_was(tmp_path):
    network = networks.tiny().train()
    frames, lengths = random_frames((12,))
    network(torch.from_numpy(frames).float(), torch.from_numpy(lengths)).sum().backward()
    graph = converted(network, (12,), tmp_path / "tiny.nir")
    before = state_of(network)
    assert check(network, graph, frames, lengths).holds
    assert_same_state(before, state_of(network))


def test_layer_names_are_those_of_named_modules(tmp_path):
    network = networks.tiny()
    graph = converted(network, (12,), tmp_path / "tiny.nir")
    names = dict(network.named_modules())
    assert {node.name for node in graph.nodes.values()} - {"input", "output"} <= set(names)
    spiking = {name for name, module in names.items() if isinstance(module, neuron.BaseNode)}
    assert {node.name for node in graph.spiking} == spiking


def test_stock_nir_opens_the_file_and_writes_it_unchanged(tmp_path):
    graph = to_nir(networks.tiny(), (12,))
    nir.write(tmp_path / "a.nir", graph)
    again = nir.read(tmp_path / "a.nir", type_check=True)
    nir.write(tmp_path / "b.nir", again)
    twice = nir.read(tmp_path / "b.nir", type_check=True)
    assert sorted(map(tuple, again.edges)) == sorted(map(tuple, twice.edges)) == sorted(graph.edges)
    assert again.metadata == twice.metadata
    for name, node in again.nodes.items():
        other = twice.nodes[name]
        assert type(node) is type(other)
        for key, value in vars(node).items():
            if isinstance(value, np.ndarray):
                np.testing.assert_array_equal(value, getattr(other, key), err_msg=f"{name}.{key}")


def test_graph_metadata_states_the_semantics(tmp_path):
    graph = converted(networks.tiny(), (12,), tmp_path / "tiny.nir", dt=1e-3)
    metadata = nir.read(tmp_path / "tiny.nir").metadata
    assert metadata["dt"] == 1e-3 and metadata["scheme"] == "euler"
    assert metadata["rule"] == ">=" and metadata["theta"] == 1.0
    assert graph.dt == 1e-3 and not graph.dt_is_default and graph.readout == dialect.READOUT_SOFTMAX_SUM
    lif = nir.read(tmp_path / "tiny.nir").nodes["embed.lif"]
    assert (lif.v_threshold == np.nextafter(1.0, 0.0)).all() and (lif.r == 1).all() and (lif.tau == 2e-3).all()


def test_a_network_without_extensions_is_pure_nir():
    network, shape = networks.convolutional()
    graph = to_nir(network, shape)
    assert not [name for name, node in graph.nodes.items() if isinstance(node, nir.NIRGraph)]


def test_only_the_four_extension_operations_are_used():
    graph = to_nir(networks.tiny(), (12,))
    operations = {node.metadata["op"] for node in graph.nodes.values() if isinstance(node, nir.NIRGraph)}
    assert operations == {"look_ahead", "gate", "rotary", "attention"}
    causal = to_nir(networks.tiny(causal=True), (12,))
    assert "look_ahead" not in {n.metadata["op"] for n in causal.nodes.values() if isinstance(n, nir.NIRGraph)}


def test_an_extension_computes_nan_for_a_tool_that_does_not_know_it():
    graph = to_nir(networks.tiny(), (12,))
    for node in graph.nodes.values():
        if isinstance(node, nir.NIRGraph):
            assert np.isnan(node.nodes["undefined"].scale).all()


def test_spikingjelly_itself_reads_a_dense_file(tmp_path):
    """A third witness: SpikingJelly's importer on our file, against the network that we wrote."""
    from spikingjelly.activation_based import functional
    from spikingjelly.activation_based.nir_exchange import import_from_nir

    torch.manual_seed(0)
    network = nn.Sequential(
        layer.Linear(6, 10, step_mode="m"), networks.lif(), layer.Linear(10, 4, step_mode="m"), networks.lif(theta=0.5)
    ).eval()
    write(to_nir(network, (6,)), tmp_path / "net.nir")
    imported = import_from_nir(nir.read(tmp_path / "net.nir"), dt=1e-4)
    functional.set_step_mode(imported, "m")
    x = torch.from_numpy(random_frames((6,))[0]).transpose(0, 1).double()
    with torch.no_grad():
        ours = network.double()(x)
        theirs = imported.double()(x)
    theirs = theirs[0] if isinstance(theirs, tuple) else theirs
    assert ours.sum() > 10
    assert torch.equal(ours, theirs)


# ---- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("module", "shape", "words"),
    [
        (nn.Sequential(nn.Linear(4, 4), nn.ReLU()), (4,), "relu at layer 1, .*: put a spiking neuron in its place"),
        (
            nn.Sequential(networks.lif(), layer.BatchNorm1d(4, step_mode="m")),
            (4,),
            "layer 1: batch normalisation after 0",
        ),
        (nn.Sequential(layer.MaxPool2d(2)), (1, 4, 4), "layer 0 .MaxPool2d.: takes the largest of what input send"),
        (nn.Sequential(nn.Conv2d(1, 1, (1, 2))), (1, 4, 4), "layer 0 .*not square"),
        (nn.Sequential(nn.Conv2d(1, 1, 3, padding=1, padding_mode="circular")), (1, 4, 4), "padding_mode 'circular'"),
        (nn.Sequential(nn.Linear(4, 4)), (5,), r"does not take frames \[2, 6, 5\].*layer 0: mat1 and mat2 shapes"),
        (nn.Sequential(neuron.ILIFNode()), (4,), "layer 0: ILIFNode is a neuron .* use one of IFNode, LIFNode"),
    ],
)
def test_what_cannot_be_written_is_refused_by_layer_name(module, shape, words):
    with pytest.raises(UnsupportedModule, match=words):
        to_nir(module, shape)


def test_a_module_used_twice_is_refused():
    shared = nn.Linear(4, 4)
    network = nn.Sequential(shared, networks.lif(), shared)
    # named_children leaves out the second use, so the network would lose a layer in silence
    with pytest.raises(UnsupportedModule, match="twice"):
        to_nir(network, (4,))


def test_nan_weights_are_refused():
    network = nn.Sequential(nn.Linear(4, 4))
    with torch.no_grad():
        network[0].weight[1, 2] = float("nan")
    with pytest.raises(UnsupportedModule, match=r"0\.weight holds NaN"):
        to_nir(network, (4,))


# ---- command line ----------------------------------------------------------------------------------------------------


def save_tiny(path, **changes):
    network = networks.tiny(**changes)
    checkpoint.save(
        path,
        checkpoint.Checkpoint(
            config=network.config,
            state=network.state_dict(),
            metrics={"validation_accuracy": 0.5},
            data="gsc:/nowhere",
            classes=("a", "b", "c", "d"),
            step_seconds=0.01,
            versions=checkpoint.versions(),
        ),
    )


def test_command_writes_beside_the_checkpoint_and_prints_the_parity(tmp_path, capsys):
    save_tiny(tmp_path / "ckpt.pt")
    assert main([str(tmp_path / "ckpt.pt")]) == 0
    out, err = capsys.readouterr()
    header, row, last = out.splitlines()
    mismatched = row[header.index("spikes") :].split()[1]
    assert row.startswith("random input  pytorch float64 against reference float64  holds") and mismatched == "0"
    assert last == f"{tmp_path / 'ckpt.nir'}: written"
    assert "no check on real input" in err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["ckpt.nir", "ckpt.pt"]


def test_command_writes_nothing_when_parity_does_not_hold(tmp_path, capsys, monkeypatch):
    save_tiny(tmp_path / "ckpt.pt")
    import neurotarget.conversion.to_nir as module

    monkeypatch.setattr(module, "STEPS", module.STEPS[:1])  # without the time constant the spikes are others
    assert main([str(tmp_path / "ckpt.pt")]) == 1
    out = capsys.readouterr().out
    assert "nothing written" in out and "first divergence: sample 0, node embed.lif" in out
    assert [p.name for p in tmp_path.iterdir()] == ["ckpt.pt"]


def test_a_network_that_never_fires_is_not_tested_and_not_written(tmp_path, capsys):
    save_tiny(tmp_path / "ckpt.pt", threshold=1e9)
    assert main([str(tmp_path / "ckpt.pt"), "--json"]) == 1
    (check,) = json.loads(capsys.readouterr().out)["parity"]
    assert (check["outcome"], check["spikes"], len(check["never_fire"])) == ("not tested", 0, 17)
    assert main([str(tmp_path / "ckpt.pt")]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith("random input of mean 256  pytorch float64 against reference float64  not tested ")
    assert lines[2] == "random input of mean 256: nothing fired"
    assert lines[-1].startswith("silence proves nothing: nothing written")
    assert [p.name for p in tmp_path.iterdir()] == ["ckpt.pt"]


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        ((HOLDS,), True),
        ((NOT_TESTED, HOLDS), True),
        ((NOT_TESTED, NOT_TESTED), False),
        ((HOLDS, DIFFERS), False),
        ((NOT_TESTED, DIFFERS), False),
    ],
)
def test_a_file_is_proven_by_something_that_fired_and_nothing_that_differs(outcomes, expected):
    assert proven([("input", SimpleNamespace(outcome=outcome)) for outcome in outcomes]) == expected


def test_random_input_is_raised_until_something_fires_and_silent_layers_are_named(tmp_path, capsys):
    save_tiny(tmp_path / "ckpt.pt", threshold=10.0)
    assert main([str(tmp_path / "ckpt.pt")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith("random input of mean 4  pytorch float64 against reference float64  holds ")
    where, there, names = lines[2].split(": ")
    assert (where, there) == ("random input of mean 4", "not tested there, because they never fire")
    assert "blocks.0.attention.query.lif" in names.split(", ") and "embed.lif" not in names
    assert (tmp_path / "ckpt.nir").exists()


def test_command_refuses_a_foreign_checkpoint(tmp_path, capsys):
    torch.save({"model": {}}, tmp_path / "other.pt")
    assert main([str(tmp_path / "other.pt")]) == 2
    assert "not a checkpoint of this program" in capsys.readouterr().err
