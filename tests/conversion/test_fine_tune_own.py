"""Fine-tuning a network of one's own in integers: the file of its three steps in one, images too, or one sentence."""

import json
import sys

import numpy as np
import pytest
import torch
from neurotarget.conversion import fine_tune, quantize, to_nir
from neurotarget.conversion.commands import CALIBRATION_SAMPLES
from neurotarget.conversion.export.factory import make_network
from neurotarget.sim.graph import load

from tests.event_recordings import random_events, write_nmnist
from tests.recordings import write_words

SOURCE = """
import torch
import snntorch
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn

class Own(nn.Module):  # a loop over the steps, snnTorch's default reset, a sum of two layers
    def __init__(self):
        super().__init__()
        self.first, self.first_lif = nn.Linear(140, 24), snntorch.Leaky(beta=0.8)
        self.second, self.second_lif = nn.Linear(24, 24), snntorch.Leaky(beta=0.9, threshold=0.4)
        self.head = nn.Linear(24, 4)

    def forward(self, x):  # [steps, samples, features]
        one, two, out = self.first_lif.init_leaky(), self.second_lif.init_leaky(), []
        for step in range(x.shape[0]):
            spikes, one = self.first_lif(self.first(x[step]), one)
            later, two = self.second_lif(self.second(spikes), two)
            out.append(self.head(spikes + later))
        return torch.stack(out)

class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.lif = nn.Linear(140, 8), snntorch.RLeaky(beta=0.8, linear_features=8)
        self.head = nn.Linear(8, 4)

    def forward(self, x):
        spikes, state = self.lif.init_rleaky()
        out = []
        for step in range(x.shape[0]):
            spikes, state = self.lif(self.first(x[step]), spikes, state)
            out.append(self.head(spikes))
        return torch.stack(out)

def camera():
    torch.manual_seed(1)
    network = nn.Sequential(
        layer.Conv2d(2, 4, 4, stride=2), neuron.IFNode(v_threshold=0.5), layer.MaxPool2d(2), layer.Flatten(),
        layer.Linear(4 * 8 * 8, 10),
    )
    functional.set_step_mode(network, "m")
    return network

def narrow():
    return nn.Sequential(nn.Linear(12, 4), snntorch.Leaky(beta=0.8, init_hidden=True))
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The user's working folder: networks.py, weights, words to learn."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NEUROTARGET_CACHE", str(tmp_path / "cache"))
    (tmp_path / "networks.py").write_text(SOURCE)
    write_words(tmp_path / "words" / "shd_train.h5", 1, [1] * 32 + [2] * 12)
    write_words(tmp_path / "words" / "shd_test.h5", 2, [3] * 12)
    (tmp_path / "tune.toml").write_text(
        '[data]\nspec = "shd:words?steps=50"\n'
        "[training]\nepochs = 4\nbatch = 8\nlearning_rate = 0.01\nwarmup_epochs = 0\n"
    )
    torch.manual_seed(0)
    torch.save(make_network("networks:Own").state_dict(), "state.pt")
    yield tmp_path
    sys.modules.pop("networks", None)


OWN = ["--network", "networks:Own", "--weights", "state.pt"]


def integers(path):
    graph = load(path)
    weights = {name: node.parameters["weight"] for name, node in graph.nodes.items() if "weight" in node.parameters}
    return weights | {(name, key): value for name, keys in graph.fixed.items() for key, value in keys.items()}


def test_ones_own_network_learns_in_its_integers_as_by_three_commands(folder, capsys):
    assert fine_tune.main(["tune.toml", *OWN, "--out", "run", "--json"]) == 0
    metrics = json.loads(capsys.readouterr().out)
    assert metrics["validation_accuracy"] > metrics["calibrated_validation_accuracy"]
    graph = load("run/model.q.nir")
    assert {node.reset for node in graph.spiking} == {"subtract"}
    frames = ["--frames", "shd:words?steps=50", "--split", "train", "--samples", str(CALIBRATION_SAMPLES)]
    assert to_nir.main([*OWN, *frames, "-o", "own.nir"]) == 0
    assert quantize.main(["own.nir", "--calibrate", "shd:words?steps=50"]) == 0
    assert fine_tune.main(["tune.toml", "--quantized", "own.q.nir", "--out", "apart"]) == 0
    one, other = integers("run/model.q.nir"), integers("apart/model.q.nir")
    assert one.keys() == other.keys() and len(one) > 10
    for key, value in one.items():
        np.testing.assert_array_equal(value, other[key], err_msg=str(key))


def test_a_network_of_an_event_camera_is_trained_on(folder, capsys):
    keys = [f"{split}/{digit}/{n:05d}" for split in ("Train", "Test") for digit in range(10) for n in (1, 2, 50_001)]
    write_nmnist(folder / "events", {key: random_events(i, 300, 34, 306_000) for i, key in enumerate(keys)})
    options = ["--set", "data.spec=nmnist:events?steps=20", "--set", "training.epochs=1", "--out", "run"]
    assert fine_tune.main(["tune.toml", "--network", "networks:camera", *options]) == 0
    kinds = [node.kind for node in load("run/model.q.nir").nodes.values()]
    assert kinds.count("lif") == 1 and "conv2d" in kinds  # the LIF is the max pool's Threshold
    masked = [*options[:-1], "masked", "--set", "augmentation.feature_mask=1"]
    capsys.readouterr()
    assert fine_tune.main(["tune.toml", "--network", "networks:camera", *masked]) == 2
    assert "feature_mask 1: frames of nmnist:events?steps=20 are images" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "one of --quantized and --network is expected"),
        (["--quantized", "q.nir", *OWN], "one of --quantized and --network is expected"),
        (["--quantized", "q.nir", "--weights", "state.pt"], "--weights goes with --network"),
        (["--network", "networks:Recurrent"], "loops cannot be fine-tuned"),
        (["--network", "networks:Owns"], "networks has no Owns (did you mean Own?)"),
        (["--network", "networks:narrow"], "the network does not take frames [32, 15, 140]"),
    ],
)
def test_wrong_input_is_one_sentence(folder, capsys, arguments, words):
    assert fine_tune.main(["tune.toml", *arguments, "--out", "run"]) == 2
    error = [line for line in capsys.readouterr().err.strip().splitlines() if not line.startswith("note: ")]
    assert len(error) == 1 and error[0].startswith("error: ") and words in error[0], error
    assert not (folder / "run").exists()
