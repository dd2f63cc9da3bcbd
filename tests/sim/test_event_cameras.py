"""A data set of an event camera as INPUT of a convolutional network, against torch on frames counted by hand."""

import json

import nir
import numpy as np
import pytest
import torch
from neurotarget.sim import run
from neurotarget.sim.trace import Trace

from tests.event_recordings import random_events, write_nmnist

STEPS = 10  # per second
RECORDINGS = {f"Test/{digit}/{digit + 1:05d}": random_events(digit, 400, 34, 306_000) for digit in range(10)}
SPIKING = {"first": 4 * 16 * 16, "second": 10}


@pytest.fixture
def weights():
    random = np.random.default_rng(0)
    return random.integers(-2, 4, (4, 2, 4, 4)).astype(float), random.integers(-2, 3, (10, 4 * 8 * 8)).astype(float)


@pytest.fixture
def model(tmp_path, weights):
    """Convolution of stride 2, integrate and fire, sum over 2 x 2, all to ten that integrate and fire."""

    def fire(shape):
        full = np.full(shape, 1.0)
        return nir.IF(r=STEPS * full, v_threshold=3.5 * full, v_reset=0 * full)

    nodes = {
        "input": nir.Input(input_type={"input": np.array([2, 34, 34])}),
        "convolution": nir.Conv2d((34, 34), weights[0], 2, 0, 1, 1, np.zeros(4)),
        "first": fire((4, 16, 16)),
        "pool": nir.SumPool2d(kernel_size=np.array([2, 2]), stride=np.array([2, 2]), padding=np.array([0, 0])),
        "flatten": nir.Flatten(input_type={"input": np.array([4, 8, 8])}, start_dim=0, end_dim=-1),
        "linear": nir.Linear(weights[1]),
        "second": fire((10,)),
        "output": nir.Output(output_type={"output": np.array([10])}),
    }
    path = tmp_path / "model.nir"
    edges = list(zip(nodes, list(nodes)[1:], strict=False))
    nir.write(path, nir.NIRGraph(nodes, edges, metadata={"dt": 1 / STEPS}))
    return path


def _frames(recording):
    first = recording[0][0]
    frames = np.zeros((1 + (recording[-1][0] - first) * STEPS // 10**6, 2, 34, 34))
    for t, x, y, p in recording:
        frames[(t - first) * STEPS // 10**6, p, y, x] += 1
    return torch.from_numpy(frames)


def _by_torch(frames, convolution, linear):
    voltage = {"first": torch.zeros(4, 16, 16), "second": torch.zeros(10)}
    spikes: dict[str, list[torch.Tensor]] = {"first": [], "second": []}

    def fire(name, current):
        voltage[name] = voltage[name] + current
        spikes[name].append(voltage[name] > 3.5)
        voltage[name] = torch.where(spikes[name][-1], 0, voltage[name])
        return spikes[name][-1].double()

    for frame in frames:
        image = fire("first", torch.nn.functional.conv2d(frame, torch.from_numpy(convolution), stride=2))
        pooled = 4 * torch.nn.functional.avg_pool2d(image, 2)
        fire("second", torch.from_numpy(linear) @ pooled.flatten())
    return {name: torch.stack(of_node).flatten(1).numpy() for name, of_node in spikes.items()}


def test_a_convolutional_network_runs_on_nmnist(tmp_path, monkeypatch, capsys, model, weights):
    monkeypatch.setenv("NEUROTARGET_CACHE", str(tmp_path / "cache"))
    write_nmnist(tmp_path / "data", RECORDINGS)
    spec = f"nmnist:{tmp_path / 'data'}?steps={STEPS}"
    arguments = [str(model), "--input", spec, "--json", "--trace", str(tmp_path / "trace.npz")]
    assert run.main(arguments) == 0
    said = capsys.readouterr()
    assert "steps of" not in said.err  # the data's step is the file's
    trace = Trace.load(tmp_path / "trace.npz")
    assert trace.labels.tolist() == list(range(10))
    fired = dict.fromkeys(SPIKING, 0)
    for row, recording in enumerate(RECORDINGS.values()):
        expected = _by_torch(_frames(recording), *weights)
        assert trace.lengths[row] == len(expected["first"]) == 4
        for name, size in SPIKING.items():
            found = trace.spikes[name][row, : trace.lengths[row]].reshape(-1, size)
            np.testing.assert_array_equal(found, expected[name])
            fired[name] += int(expected[name].sum())
    assert min(fired.values()) > 20
    assert json.loads(said.out)["spikes"] == sum(fired.values())


def test_an_image_of_another_size_is_refused(tmp_path, monkeypatch, capsys, model):
    monkeypatch.setenv("NEUROTARGET_CACHE", str(tmp_path / "cache"))
    write_nmnist(tmp_path / "data", RECORDINGS)
    assert run.main([str(model), "--input", f"nmnist:{tmp_path / 'data'}?size=17"]) == 2
    assert "17" in (said := capsys.readouterr().err) and "34" in said
    assert "Traceback" not in said
