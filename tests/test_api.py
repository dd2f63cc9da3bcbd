"""The Python API: its examples run as they stand, a caller's network stays as it was, nothing wrong is written."""

import ast
import doctest
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from spikingjelly.activation_based import layer, neuron
from torch import nn
from torch.nn.utils import parametrizations

import neurotarget
from neurotarget.errors import UserError

PACKAGE = Path(neurotarget.__file__).parent
ORDER = [
    "export",
    "check",
    "load",
    "run",
    "compare",
    "quantize",
    "place",
    "count",
    "report",
]  # each example needs those before
TYPES = ["Graph", "Trace", "Parity", "UserError", "CheckFailed"]


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        layer.Linear(6, 10, step_mode="m"),
        neuron.LIFNode(step_mode="m", decay_input=False),
        layer.Linear(10, 3, step_mode="m"),
        neuron.LIFNode(step_mode="m", v_threshold=0.1),
    )


def frames(samples=5, steps=20):
    return np.random.default_rng(0).poisson(1.0, (samples, steps, 6)).astype(np.float64)


def test_every_example_runs_as_it_stands(tmp_path, monkeypatch):
    """In one session, as a reader would type them."""
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    session = {"torch": torch, "neurotarget": neurotarget}
    parser, runner = doctest.DocTestParser(), doctest.DocTestRunner()
    said = []
    for name in ORDER:
        example = parser.get_doctest(getattr(neurotarget, name).__doc__, session, name, None, None)
        assert example.examples, name
        result = runner.run(example, out=said.append, clear_globs=False)
        assert not result.failed, "".join(said)
        session |= example.globs
    assert {path.name for path in tmp_path.iterdir()} == {"network.nir", "network.q.nir", "report"}


def test_the_declared_names_are_those_that_exist():
    stub = ast.parse((PACKAGE / "__init__.pyi").read_text())
    declared = {}
    for statement in stub.body:
        if isinstance(statement, ast.ImportFrom) and statement.module.startswith("neurotarget."):
            for alias in statement.names:
                declared[alias.asname or alias.name] = f"{statement.module.removeprefix('neurotarget.')}:{alias.name}"
    assert declared == neurotarget.PUBLIC
    assert set(ORDER) | set(TYPES) == set(neurotarget.PUBLIC)
    assert set(neurotarget.__all__) == set(neurotarget.PUBLIC) | {"__version__"} <= set(dir(neurotarget))
    with pytest.raises(AttributeError, match="no attribute 'exprot'"):
        neurotarget.exprot  # noqa: B018


def test_importing_it_imports_no_library():
    """Lava's child has numpy alone, on an older Python; and `--version` takes no seconds."""
    code = "import sys, neurotarget\nfound = {n.partition('.')[0] for n in sys.modules}\n"
    code += "assert not found & {'torch', 'numba', 'nir', 'numpy', 'h5py', 'matplotlib', 'spikingjelly'}, found\n"
    subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=PACKAGE.parent, check=True)


# ---- export ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_a_network_keeps_type_mode_and_state(tmp_path, dtype):
    own = network().to(dtype).train()
    own[1](torch.ones(4, 2, 10))
    before = {name: value.clone() for name, value in own.state_dict().items()}
    v = own[1].v.clone()
    neurotarget.export(own, frames(), tmp_path / "net.nir")
    assert own.training and all(value.dtype == dtype for value in own.parameters())
    assert all(torch.equal(value, before[name]) for name, value in own.state_dict().items())
    assert torch.equal(own[1].v, v) and not own[1]._forward_hooks


def test_the_file_has_the_step_and_the_networks_own_spikes(tmp_path):
    own, given = network().double().eval(), frames()
    graph = neurotarget.export(own, given, tmp_path / "net.nir", dt=0.002)
    assert graph.dt == neurotarget.load(tmp_path / "net.nir").dt == 0.002
    with torch.no_grad():
        spikes = own[1](own[0](torch.from_numpy(given).transpose(0, 1))).transpose(0, 1)
    found = neurotarget.run(tmp_path / "net.nir", given).spikes["1"]
    assert found.sum() > 50 and np.array_equal(found, spikes.numpy())


def test_tensors_are_taken_wherever_they_stem_from(tmp_path):
    given = torch.from_numpy(frames()).requires_grad_()
    neurotarget.export(network(), given, tmp_path / "net.nir")
    lengths = torch.tensor([20, 3, 4, 5, 20])
    neurotarget.export(network().bfloat16(), given.bfloat16(), tmp_path / "half.nir")  # which numpy does not have
    trace = neurotarget.run(tmp_path / "net.nir", given, lengths, labels=[0, 1, 2, 0, 1])
    assert trace.lengths.tolist() == lengths.tolist() and trace.labels.tolist() == [0, 1, 2, 0, 1]


@pytest.mark.parametrize(
    "build",
    [
        lambda: neuron.LIFNode(step_mode="m", v_threshold=0.5),
        lambda: nn.Sequential(parametrizations.weight_norm(nn.Linear(6, 10)), neuron.IFNode(step_mode="m")),
        lambda: nn.Sequential(parametrizations.spectral_norm(nn.Linear(6, 10)), neuron.IFNode(step_mode="m")),
    ],
    ids=["one layer", "weight norm", "spectral norm"],
)
def test_layers_that_are_the_network_or_compute_their_weights(tmp_path, build):
    torch.manual_seed(0)
    graph = neurotarget.export(build().eval(), frames(), tmp_path / "net.nir")  # which compares spike by spike
    assert len(graph.spiking) == 1


def test_nothing_is_written_where_a_spike_differs(tmp_path, monkeypatch):
    from neurotarget.conversion import to_nir

    monkeypatch.setattr(to_nir, "STEPS", to_nir.STEPS[:1])  # without the time constant the spikes are others
    with pytest.raises(neurotarget.CheckFailed, match=r"net\.nir: not written: .*first divergence: sample 0, node 1"):
        neurotarget.export(network(), frames(), tmp_path / "net.nir")
    assert not list(tmp_path.iterdir())


def test_silence_is_no_proof(tmp_path):
    own = network()
    with torch.no_grad():
        own[2].weight.zero_(), own[2].bias.zero_()
    with pytest.warns(
        UserWarning, match="^3: never fires on these frames, 5 samples of 20 steps; .* not tested$"
    ) as said:
        neurotarget.export(own, frames(), tmp_path / "net.nir")
    assert said[0].filename == __file__ and (tmp_path / "net.nir").exists()
    with torch.no_grad():
        own[0].bias.zero_()
    with pytest.raises(
        neurotarget.CheckFailed, match=r"quiet\.nir: not written: nothing fired on these frames, .* larger values"
    ):
        neurotarget.export(own, frames() * 0, tmp_path / "quiet.nir")
    assert [path.name for path in tmp_path.iterdir()] == ["net.nir"]


def meta():
    with torch.device("meta"):
        return network()


class Fails(nn.Module):
    def forward(self, x):
        return x * {}["gain"]


def scripted():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is deprecated
        return torch.jit.script(torch.nn.Linear(6, 3))


WRONG = {
    "not a network": (lambda: 3, frames, {}, "the network is a int; a torch.nn.Module is expected"),
    "no values": (meta, frames, {}, r"parameter 0\.weight is on the meta device"),
    "no samples axis": (network, lambda: frames()[0], {}, r"frames must be .* found float64 \(20, 6\)"),
    "not finite": (network, lambda: frames() / 0, {}, "frames must be finite numbers"),
    "time-major": (
        network,
        lambda: frames().transpose(1, 0, 2),
        {"lengths": [20] * 5},
        r"lengths must be 20 integers.*\[20, 5, 6\] is read as \[samples, steps, ...\]: swap its first two axes",
    ),
    "features": (network, lambda: frames()[..., :4], {}, r"does not take frames \[5, 20, 4\] \[samples, steps, ...\]"),
    "lengths": (network, frames, {"lengths": [21] * 5}, "lengths must be 5 numbers from 0 to 20"),
    "ragged": (network, lambda: [[1.0], [2.0, 3.0]], {}, "frames, lengths and labels are arrays of one shape"),
    "lazy": (lambda: nn.Sequential(nn.LazyLinear(3)), frames, {}, r"parameter 0\.weight has no shape yet"),
    "complex": (lambda: nn.Linear(6, 3, dtype=torch.complex64), frames, {}, "parameter weight holds complex numbers"),
    "an error of its own": (Fails, frames, {}, "layer network: KeyError: 'gain'"),
    "scripted": (scripted, frames, {}, "layer network: a compiled TorchScript module hides its layers"),
    "step": (network, frames, {"dt": 0.0}, "it must be positive and finite"),
}


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.filterwarnings("ignore:divide by zero", "ignore:invalid value")
def test_a_mistake_is_one_sentence_and_writes_nothing(tmp_path, name):
    build, given, more, words = WRONG[name]
    with pytest.raises(UserError, match=words) as error:
        neurotarget.export(build(), given(), tmp_path / "net.nir", **more)
    assert "\n" not in str(error.value) and not list(tmp_path.iterdir())


def test_a_folder_that_is_missing_is_said_before_any_work(tmp_path):
    with pytest.raises(UserError, match="there is no folder"):
        neurotarget.export(None, None, tmp_path / "none" / "net.nir")


# ---- the others ------------------------------------------------------------------------------------------------------


def test_runs_from_files_need_their_network_to_be_compared(tmp_path):
    graph = neurotarget.export(network(), frames(), tmp_path / "net.nir")
    for name in ("a.npz", "b.npz"):
        neurotarget.run(graph, frames()).save(tmp_path / name)
    with pytest.raises(UserError, match="give it as `network`"):
        neurotarget.compare(tmp_path / "a.npz", tmp_path / "b.npz")
    parity = neurotarget.compare(tmp_path / "a.npz", tmp_path / "b.npz", tmp_path / "net.nir")
    assert parity.holds and parity.spikes > 100


def test_a_file_of_another_network_is_said(tmp_path):
    neurotarget.export(network(), frames(), tmp_path / "net.nir")
    wide = nn.Sequential(nn.Linear(6, 12), neuron.LIFNode(), nn.Linear(12, 3), neuron.LIFNode())
    for other, words in ((wide[:2], r"layer 1 is \[12\]"), (wide, r"layer 1 is \[12\]"), (wide[2:], "does not take")):
        with pytest.raises(UserError, match=words):
            neurotarget.check(other, tmp_path / "net.nir", frames())
    short = nn.Sequential(nn.Linear(6, 10), neuron.LIFNode())
    with pytest.raises(UserError, match=r"layer 3 is missing in the network and \[3\] in the file; give the network"):
        neurotarget.check(short, tmp_path / "net.nir", frames())


def test_the_float_file_is_not_replaced_by_its_integers(tmp_path):
    neurotarget.export(network(), frames(), tmp_path / "net.nir")
    with pytest.raises(UserError, match="would replace the float one"):
        neurotarget.quantize(tmp_path / "net.nir", frames(), tmp_path / "net.nir")
    assert not neurotarget.load(tmp_path / "net.nir").quantised


def test_an_unknown_back_end_is_refused(tmp_path):
    neurotarget.export(network(), frames(), tmp_path / "net.nir")
    with pytest.raises(UserError, match="backend 'loihi': one of reference, lava is expected"):
        neurotarget.run(tmp_path / "net.nir", frames(), backend="loihi")


def test_integers_that_wrap_around_are_not_written(tmp_path, monkeypatch):
    from neurotarget.conversion import quantize

    graph = neurotarget.export(network(), frames(), tmp_path / "net.nir")
    whole = quantize.report
    monkeypatch.setattr(quantize, "report", lambda *given: (r := whole(*given)).overflow.update(wrapped_u=["0"]) or r)
    with pytest.raises(neurotarget.CheckFailed, match="u wraps around in 0: nothing written"):
        neurotarget.quantize(graph, frames(), tmp_path / "net.q.nir")
    assert [path.name for path in tmp_path.iterdir()] == ["net.nir"]
