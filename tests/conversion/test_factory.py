"""One's own network by name: from the working folder, with its weights, or one sentence."""

import json
import sys

import numpy as np
import pytest
import torch
from neurotarget.conversion.export.factory import NetworkError, make_network
from neurotarget.conversion.to_nir import main
from neurotarget.hardware.report import main as report_main
from neurotarget.sim.graph import load

SOURCE = """
import torch
from spikingjelly.activation_based import neuron
from torch import nn

class Residual(nn.Module):  # steps one after the other, a sum of two layers
    def __init__(self, width=10):
        super().__init__()
        self.first, self.first_lif = nn.Linear(6, width), neuron.LIFNode(decay_input=False)
        self.second, self.second_lif = nn.Linear(width, width), neuron.LIFNode(v_threshold=0.2)
        self.head = nn.Linear(width, 3)

    def forward(self, x):
        spikes = self.first_lif(self.first(x))
        return self.head(spikes + self.second_lif(self.second(spikes)))

def wide():
    return Residual(12)

def broken():
    raise ValueError("one line\\nand another")

def leaves():
    raise SystemExit(3)

def text():
    return "no network"

made = Residual()
number = 3
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The user's working folder: networks.py, weights, samples."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "networks.py").write_text(SOURCE)
    (tmp_path / "fails.py").write_text("import torch\nimport a_package_of_nobodys\n")
    torch.manual_seed(0)
    network = make_network("networks:Residual")
    torch.save(network.state_dict(), tmp_path / "state.pt")
    np.savez(tmp_path / "in.npz", input=np.random.default_rng(0).poisson(1.0, (5, 20, 6)), label=[0, 1, 2, 0, 1])
    before = list(sys.path)
    yield tmp_path
    assert sys.path == before
    for name in ("networks", "fails"):
        sys.modules.pop(name, None)


def test_the_factory_makes_the_network_and_the_file_its_weights(folder):
    torch.manual_seed(1)
    network = make_network("networks:Residual", "state.pt")
    saved = torch.load("state.pt", weights_only=True)
    assert not network.training and all(torch.equal(saved[key], value) for key, value in network.state_dict().items())
    assert make_network("networks:made") is sys.modules["networks"].made


def test_a_module_of_the_users_own_with_the_name_of_one_of_ours(folder):
    """`model.py` in the working folder, beside the installed neurotarget.model."""
    held = {name: sys.modules.pop(name) for name in [*sys.modules] if name.partition(".")[0] == "model"}
    (folder / "model.py").write_text(SOURCE)
    try:
        assert type(make_network("model:Residual")).__module__ == "model"
        assert sys.modules["model"].__file__ == str(folder / "model.py")
    finally:
        sys.modules.pop("model", None)
        sys.modules.update(held)


WRONG = {
    "no colon": ("networks.Residual", "--network networks.Residual: package.module:factory is expected"),
    "no name": ("networks:", "--network networks:: package.module:factory is expected"),
    "no module": ("nets:Residual", "no module nets in {folder} or among the installed packages"),
    "no package": ("mine.nets:Residual", "no module mine in {folder} or among the installed packages"),
    "no factory": ("networks:residual", "networks has no residual (did you mean Residual?)"),
    "a number": ("networks:number", "number is a int; name a function that makes the network"),
    "a text": ("networks:text", "text gives a str; return a torch.nn.Module"),
    "raises": ("networks:broken", "calling broken() raised ValueError: one line (networks.py, line 21)"),
    "exits": ("networks:leaves", "calling leaves() raised SystemExit: 3 (networks.py, line 24)"),
    "does not import": (
        "fails:make",
        "importing fails raised ModuleNotFoundError: No module named 'a_package_of_nobodys' (fails.py, line 2)",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_with_a_factory_is_one_sentence(folder, name):
    network, words = WRONG[name]
    with pytest.raises(NetworkError) as error:
        make_network(network)
    assert words.format(folder=folder) in str(error.value) and "\n" not in str(error.value)


def weights(**changes):
    state = torch.load("state.pt", weights_only=True)
    state |= changes
    torch.save({key: value for key, value in state.items() if value is not None}, "other.pt")
    return "other.pt"


def test_weights_of_another_network_are_refused_by_the_first_key_that_differs(folder):
    both = weights(**{"head.weight": None, "head.bias": None, "tail.weight": torch.ones(1)})
    words = r"it lacks head\.weight and it has tail\.weight, which the network has not \(2 missing, 1 more\)"
    with pytest.raises(NetworkError, match=f"other.pt: not the weights of networks:Residual: {words}"):
        make_network("networks:Residual", both)
    with pytest.raises(NetworkError, match=r"first\.weight is \(10, 6\) in the file and \(12, 6\) in the network"):
        make_network("networks:wide", "state.pt")
    with pytest.raises(NetworkError, match=r"other\.pt: epoch is a int, no tensor; save network\.state_dict\(\) alone"):
        make_network("networks:Residual", weights(epoch=3))
    with pytest.raises(NetworkError, match=r"missing\.pt: no such file"):
        make_network("networks:Residual", "missing.pt")


# ---- commands --------------------------------------------------------------------------------------------------------

CONVERT = ["--network", "networks:Residual", "--weights", "state.pt", "--frames", "in.npz", "-o", "own.nir"]


def test_a_network_of_ones_own_is_converted_and_reported(folder, capsys):
    """To PyTorch it is compared on the given samples; the file says the step; the report counts and compares."""
    assert main([*CONVERT, "--dt", "0.002", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    (parity,) = result["parity"]
    assert (parity["input"], parity["samples"], parity["mismatched"], parity["holds"]) == ("in.npz", 5, 0, True)
    assert parity["spikes"] > 100 and load("own.nir").dt == 0.002
    assert [node.name for node in load("own.nir").spiking] == ["first_lif", "second_lif"]
    own = ["--network", "networks:Residual", "--weights", "state.pt", "--compare-counters"]
    assert report_main(["own.nir", "--input", "in.npz", "--out", "r", "--lava-samples", "0", *own, "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    sides = {check["sides"]: check for check in made["parity"]}
    in_double = sides["pytorch float64 against reference float64"]
    assert in_double["required"] and in_double["holds"] and in_double["spikes"] == parity["spikes"]
    assert "pytorch float32 against reference float64" in sides
    assert made["measured"].get("reason") != "no checkpoint and no network was given"
    counted = {row["layer"]: row for row in made["counters"]["rows"] if row["counter"] == "op_counter"}
    assert counted["second"]["equal"] and counted["second"]["acs"] > 0  # spikes: both count the same events


def test_weights_that_were_trained_on_are_not_those_of_the_file(folder, capsys):
    assert main(CONVERT) == 0
    state = torch.load("state.pt", weights_only=True)
    weights(**{"second.weight": state["second.weight"] + 0.1})
    own = ["--network", "networks:Residual", "--weights", "other.pt"]
    capsys.readouterr()
    assert report_main(["own.nir", "--input", "in.npz", "--out", "r", "--lava-samples", "0", *own]) == 2
    error = capsys.readouterr().err
    assert "networks:Residual: not the network of own.nir: weights of second differ by up to 0.1; give" in error
    assert not (folder / "r").exists()


def test_a_difference_writes_nothing(folder, capsys, monkeypatch):
    import neurotarget.conversion.to_nir as module

    monkeypatch.setattr(module, "STEPS", module.STEPS[:1])
    assert main(CONVERT) == 1
    out = capsys.readouterr().out
    assert "nothing written" in out and "first divergence: sample 0, node first_lif" in out
    assert not (folder / "own.nir").exists()


def test_silence_writes_nothing(folder, capsys):
    np.savez("in.npz", input=np.zeros((2, 5, 6)))
    torch.save({k: v * 0 for k, v in torch.load("state.pt", weights_only=True).items()}, "state.pt")
    assert main(CONVERT) == 1
    assert "error: own.nir: not written: nothing fired on these frames, 2 samples of 5" in capsys.readouterr().err


USAGE = {
    "two": (["ckpt.pt", *CONVERT], "one of a checkpoint and --network is expected"),
    "none": ([], "one of a checkpoint and --network is expected"),
    "no frames": (CONVERT[:4], "--network wants --frames INPUT"),
    "weights alone": (["ckpt.pt", "--weights", "state.pt"], "--weights goes with --network"),
    "no output folder": ([*CONVERT[:-1], "none/x.nir"], "there is no folder none"),
}


@pytest.mark.parametrize("name", USAGE)
def test_arguments_that_do_not_belong_together(folder, capsys, name):
    arguments, words = USAGE[name]
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert words in error and len(error.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--checkpoint", "ckpt.pt", "--network", "networks:Residual"], "--checkpoint and --network: one network"),
        (["--weights", "state.pt"], "--weights goes with --network"),
        (["--compare-counters"], "give --checkpoint or --network too"),
    ],
)
def test_arguments_of_a_report_that_do_not_belong_together(folder, capsys, more, words):
    assert main(CONVERT) == 0
    capsys.readouterr()
    assert report_main(["own.nir", "--input", "in.npz", "--out", "r", *more]) == 2
    assert words in capsys.readouterr().err and not (folder / "r").exists()
