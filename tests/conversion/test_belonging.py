"""What cannot be compared is refused before it is: a checkpoint of another network, layers that take one step."""

import dataclasses

import nir
import numpy as np
import pytest
import torch
from neurotarget.conversion.export.draft import UnsupportedModule
from neurotarget.conversion.to_nir import check, random_frames, require_same_network, to_nir, write
from neurotarget.hardware import report
from neurotarget.hardware.page import assembly
from neurotarget.model.training import checkpoint
from neurotarget.sim.graph import load
from spikingjelly.activation_based import layer
from torch import nn

from tests import torch_networks as networks


def saved(path, network):
    classes = tuple("abcd"[: network.config.classes])
    content = checkpoint.Checkpoint(
        network.config, network.state_dict(), {}, "synth", classes, 0.01, checkpoint.versions()
    )
    checkpoint.save(path, content)
    return path


@pytest.fixture
def graph(tmp_path):
    return write(to_nir(networks.tiny(), (12,)), tmp_path / "net.nir")


def test_the_checkpoint_that_a_file_was_made_of_belongs(tmp_path, graph):
    path = saved(tmp_path / "own.pt", networks.tiny())
    require_same_network(graph, path)
    single = nir.read(tmp_path / "net.nir")
    for node in single.nodes.values():
        if isinstance(node, (nir.Affine, nir.Linear)):
            node.weight = node.weight.astype(np.float32)
    require_same_network(load(single), path)


def test_another_network_is_refused_by_what_differs(tmp_path, graph):
    for name, network, words in (
        ("weights", networks.tiny(seed=1), r"weights of [\w.]+ differ by up to \d\.\d+"),
        (
            "blocks",
            networks.tiny(blocks=2),
            r"spiking layer blocks\.1\.[\w.]+ is \(16,\) in it and missing in the file",
        ),
        ("width", networks.tiny(width=32), r"spiking layer [\w.]+ is \(32,\) in it and \(16,\) in the file"),
    ):
        path = saved(tmp_path / f"{name}.pt", network)
        with pytest.raises(checkpoint.CheckpointError, match=rf"{name}\.pt: not the checkpoint of .*: {words}"):
            require_same_network(graph, path)


def test_weights_of_a_quantised_file_are_its_own(tmp_path, graph):
    require_same_network(
        dataclasses.replace(graph, arithmetic="lava-fixed"), saved(tmp_path / "o.pt", networks.tiny(1))
    )


def test_the_report_refuses_before_it_works(tmp_path, graph, capsys, monkeypatch):
    monkeypatch.setattr(assembly, "count_and_price", lambda *_, **__: pytest.fail("it worked"))
    np.savez(tmp_path / "in.npz", input=random_frames((12,))[0])
    arguments = ["--input", tmp_path / "in.npz", "--out", tmp_path / "out"]
    arguments += ["--checkpoint", saved(tmp_path / "other.pt", networks.tiny(seed=1))]
    assert report.main([str(tmp_path / "net.nir"), *map(str, arguments)]) == 2
    assert "other.pt: not the checkpoint of" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("plain", "shape", "name"),
    [
        (nn.Conv2d(1, 2, 3), (1, 6, 6), "Conv2d"),
        (nn.Conv1d(1, 2, 3), (1, 6), "Conv1d"),
        (nn.AvgPool2d(2), (1, 6, 6), "AvgPool2d"),
        (nn.Flatten(), (1, 6, 6), "Flatten"),
    ],
)
def test_a_layer_of_torch_that_takes_one_step_is_refused(plain, shape, name):
    network = nn.Sequential(plain, networks.lif()).eval()
    with pytest.raises(UnsupportedModule, match=rf"layer 0 \({name}\) of torch .* spikingjelly.*layer\.{name}"):
        check(network, load(to_nir(network, shape)), *random_frames(shape))


def test_the_same_layer_of_spikingjelly_is_compared():
    torch.manual_seed(0)
    network = nn.Sequential(layer.Conv2d(1, 2, 3, step_mode="m"), networks.lif(theta=0.2)).eval()
    parity = check(network, load(to_nir(network, (1, 6, 6))), *random_frames((1, 6, 6)))
    assert parity.holds and parity.spikes > 10
