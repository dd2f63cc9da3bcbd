"""`hardware.measure`: every row of a sweep, on the processor and over simulated counters; the file that it writes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from neurotarget.conversion.export.torch_network import TorchNetwork
from neurotarget.hardware import measure as door
from neurotarget.hardware.energy.prices import measured_tables
from neurotarget.hardware.meters import device_file, samples, sweep, torch_bench, windows
from neurotarget.hardware.meters.device_file import MeasuredDevice
from neurotarget.hardware.meters.int8 import Int8Linear
from neurotarget.hardware.meters.sensors import Domain, MeterError, Sensor
from neurotarget.hardware.meters.sweep import Data, Subject
from neurotarget.hardware.meters.torch_bench import COMPILED, EAGER, FP32, INT8, TF32, Setting
from neurotarget.hardware.meters.windows import Timing
from neurotarget.model.training import checkpoint
from torch import nn

from tests import torch_networks as networks
from tests.hardware.devices import ROWS, SPIKING, TWIN, device
from tests.hardware.metered import reading

QUICK = Timing(window_seconds=0.02, windows=2)
SWEEP = sweep.sweep
SETTINGS = (Setting(FP32, EAGER), Setting(TF32, EAGER), Setting(INT8, EAGER))


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows, "LARGEST_BATCH", 4)
    monkeypatch.setattr(windows, "WARM_UP", 1)


@pytest.fixture
def subject(tmp_path: Path) -> Subject:
    (tmp_path / "ckpt.pt").write_bytes(b"weights")
    return Subject("spiking", tmp_path / "ckpt.pt", TorchNetwork(networks.tiny(), ()))


def data() -> Data:
    frames = np.random.default_rng(0).poisson(0.5, (5, 9, 12)).astype(np.float32)
    return Data("synth", frames, np.array([9, 3, 5, 7, 4]), np.zeros(5, np.int64)).chosen(4)


class Clock:
    """A millisecond passes at each look; beside it a counter of 10 W. What else the machine does decides nothing.

    Each look may take energy too: under load there is one per pass, idle hardly any.
    """

    def __init__(self, joules_a_look: float = 0.0) -> None:
        self.now, self.looked, self.joules_a_look = 0.0, 0.0, joules_a_look
        self.timing = Timing(0.02, 2, self.look, self.sleep)

    def look(self) -> float:
        self.now += 1e-3
        self.looked += self.joules_a_look
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def sensor(self) -> Sensor:
        return Sensor(
            "a clock", "a processor", "cpu", "", (Domain("package-0"),), lambda: [10 * self.now + self.looked]
        )


def refused() -> Sensor:
    raise MeterError("no right to read")


# ---- samples and batches ---------------------------------------------------------------------------------------------


def test_samples_are_spaced_evenly_over_their_lengths_and_sorted() -> None:
    lengths = np.array([90, 10, 80, 20, 70, 30, 60, 40])
    assert lengths[samples.chosen(lengths, 4)].tolist() == [20, 40, 70, 90]
    assert len(samples.chosen(lengths[:7], 100)) == 4 and len(samples.chosen(lengths, 1)) == 1


def test_every_batch_size_holds_each_sample_equally_often() -> None:
    for batch in (1, 2, 4, 8, 32):
        held = samples.batches(8, batch)
        assert all(len(places) == batch for places in held)
        counts = np.bincount(np.concatenate(held), minlength=8)
        assert set(counts.tolist()) == {max(batch // 8, 1)}
    assert samples.padding(np.array([2, 4, 6, 8]), [4, 8], 2) == pytest.approx(1 - 20 / 24)


@pytest.mark.parametrize(("way", "multiple"), [(EAGER, 1), (COMPILED, 4)])
@pytest.mark.parametrize("batch", [1, 2, 8])
def test_what_is_computed_is_as_long_as_the_longest_sample_of_each_batch(
    way: str, multiple: int, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The network sees each sample's own steps, in the order of lengths, and the padding is what it saw beyond them."""
    seen: list[tuple[torch.Tensor, torch.Tensor | None]] = []

    class Seeing(nn.Module):
        def forward(self, frames: torch.Tensor, lengths: torch.Tensor | None) -> None:
            seen.append((frames, lengths))

    monkeypatch.setattr(Seeing, "compile", lambda self: None)
    monkeypatch.setattr(torch_bench, "SHAPE_STEPS", 4)
    chosen = data()
    with torch_bench.torch_bench(
        TorchNetwork(Seeing(), ()), chosen.frames, chosen.lengths, "cpu", Setting(FP32, way)
    ) as bench:
        work = bench.prepare(batch)
        for run in work.runs:
            run()
    held = [chosen.lengths[places] for places in samples.batches(4, batch)]
    steps = [min(-(-max(lengths) // multiple) * multiple, 9) for lengths in held]
    assert [frames.shape[:2] for frames, _ in seen] == [(batch, longest) for longest in steps]
    for (frames, window), places, lengths in zip(seen, samples.batches(4, batch), held, strict=True):
        assert np.array_equal(frames, chosen.frames[places][:, : frames.shape[1]])
        assert np.array_equal(lengths if window is None else window, lengths)
        assert window is not None or set(lengths) == {frames.shape[1]}
    computed = sum(frames.shape[0] * frames.shape[1] for frames, _ in seen)
    assert work.padding == pytest.approx(1 - sum(map(sum, held)) / computed)


# ---- rows ------------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("small")
def test_a_network_is_measured_and_what_does_not_work_is_a_row(subject: Subject) -> None:
    before = torch.backends.cudnn.allow_tf32
    clock = Clock()
    choice = {"NVML": refused, "clock": clock.sensor}
    found = sweep.sweep([subject], data(), "cpu", 5.0, choice, clock.timing, SETTINGS)
    assert torch.backends.cudnn.allow_tf32 is before
    assert (found.device, found.device_class, found.meter, found.reason) == ("a processor", "processor", "a clock", "")
    assert found.samples == 4 and found.idle_watts == pytest.approx(10, rel=0.1)  # a look is 5 % of a window
    single, tensor_cores, integer = found.rows
    assert tensor_cores.reason == "TF32 needs a CUDA device" and tensor_cores.batch_1 is None
    for row in (single, integer):
        assert row.batch_1 and row.best_batch and row.batch_1.batch == 1
        assert row.batch_1.total_uj == pytest.approx(10 * row.batch_1.latency_ms * 1e3, rel=0.1)
        assert row.batches[0].padding == 0 and all(throughput.padding < 0.5 for throughput in row.batches)
    assert single.agreement == 1.0 and single.neurons == "one compiled pass"
    (network,) = found.networks
    assert network.spiking and network.sha256 == hashlib.sha256(b"weights").hexdigest()
    assert network.steps == pytest.approx(data().lengths.mean())


def test_without_a_counter_there_is_time_and_the_reason(subject: Subject, small: None) -> None:
    elsewhere = replace(Clock().sensor(), torch_device="cuda:0", device="a GPU")
    choice = {"NVML": lambda: elsewhere, "RAPL": refused}
    found = sweep.sweep([subject], data(), "cpu", 5.0, choice, QUICK, SETTINGS[:1])
    assert found.reason == "NVML: it meters a GPU, and cpu is what computes; RAPL: no right to read"
    (row,) = found.rows
    assert row.batch_1 and row.batch_1.per_second > 0 and row.batch_1.total_uj is None
    assert found.meter == "" and found.idle_watts is None


def test_a_failure_is_a_row_with_its_reason_and_the_others_go_on(
    subject: Subject, small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = torch_bench.torch_bench

    def failing(network: Any, frames: Any, lengths: Any, device: str, setting: Setting) -> Any:
        if setting.precision == FP32:
            raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate 2 GiB")
        return real(network, frames, lengths, device, setting)

    monkeypatch.setattr(torch_bench, "torch_bench", failing)
    found = sweep.sweep([subject], data(), "cpu", 5.0, {}, QUICK, SETTINGS)
    reasons = [row.reason for row in found.rows]
    assert reasons == ["OutOfMemoryError: CUDA out of memory.", "TF32 needs a CUDA device", ""]
    assert found.rows[0].batch_1 is None and found.rows[2].batch_1 is not None


def test_a_network_and_its_twin_stand_in_one_file(subject: Subject, small: None) -> None:
    twin = Subject("twin", subject.checkpoint, TorchNetwork(networks.tiny(twin=True), ()))
    clock = Clock()
    found = sweep.sweep([subject, twin], data(), "cpu", 5.0, {"clock": clock.sensor}, clock.timing, SETTINGS[:1])
    assert [(network.name, network.spiking) for network in found.networks] == [("spiking", True), ("twin", False)]
    assert [(row.network, row.neurons, row.reason) for row in found.rows] == [
        ("spiking", "one compiled pass", ""),
        ("twin", "", ""),
    ]
    assert [line.partition(":")[0] for line in door.comparisons(found)] == [
        "spiking against twin, alone",
        "spiking against twin, saturated",
    ]


def test_each_side_is_compared_in_its_best_setting(tmp_path: Path) -> None:
    found = device_file.load(device(tmp_path, SPIKING, TWIN, rows=ROWS))
    assert door.comparisons(found) == [
        "spiking against twin, alone: 15 ± 0 times the energy (FP32, eager against FP16, eager)",
        "spiking against twin, saturated: 30 ± 0 times the energy (FP32, eager against FP32, eager)",
    ]
    noisy = replace(reading(1, (10.0, 3.0), (8.0, 3.0)), per_second=50.0, per_second_std=5.0)
    other = replace(reading(1, (5.0, 2.0), (4.0, 1.0)), per_second=100.0, per_second_std=0.0)
    assert door.ratio_words((ROWS[0], noisy), (ROWS[1], other)).startswith("2 ± 1 times the energy")
    timed = replace(noisy, total_uj=None)
    assert door.ratio_words((ROWS[0], timed), (ROWS[1], other)).startswith("2 ± 0.2 times the time")


def test_rows_that_do_not_begin_in_time_are_left_out(subject: Subject) -> None:
    found = sweep.sweep([subject], data(), "cpu", -1.0, {}, QUICK, SETTINGS)
    assert {row.reason for row in found.rows} == {"left out: the -1 minutes were over"}


def test_multiplications_are_those_of_the_layers_over_true_lengths(tmp_path: Path) -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(12, 7), nn.Linear(7, 3, bias=False)

        def forward(self, frames: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
            return self.second(self.first(frames)).transpose(0, 1)

    chosen = data()
    assert sweep.macs(TorchNetwork(Two(), ()), chosen) == chosen.lengths.mean() * (12 * 7 + 7 * 3)


# ---- graphs of CUDA, their calls replaced ----------------------------------------------------------------------------


def test_a_graph_is_captured_per_shape_and_each_batch_is_copied_into_its_input(monkeypatch: pytest.MonkeyPatch) -> None:
    """A replay gives what the static input holds then: the batch, and its lengths."""
    captures: list[tuple[torch.Size, bool]] = []
    capturing: list[bool] = []
    current: list[Any] = []

    class Graph:
        @torch.inference_mode()
        def replay(self) -> None:
            self.output.copy_(self.frames.sum((1, 2)) + 100 * self.window)

    @contextmanager
    def graph(made: Graph) -> Iterator[None]:
        capturing.append(True)
        current.append(made)
        yield
        capturing.pop()

    stream = SimpleNamespace(wait_stream=lambda other: None)
    for name, fake in {
        "Stream": lambda: stream,
        "current_stream": lambda: stream,
        "stream": lambda chosen: nullcontext(),
        "CUDAGraph": Graph,
        "graph": graph,
    }.items():
        monkeypatch.setattr(torch.cuda, name, fake)

    def network(frames: torch.Tensor, window: torch.Tensor) -> torch.Tensor:
        captures.append((frames.shape, bool(capturing)))
        output = torch.zeros(len(frames))
        if capturing:
            current[-1].frames, current[-1].window, current[-1].output = frames, window, output
        return output

    shapes = [(2, 4), (2, 8), (2, 4)]
    arguments = [
        (torch.full((*shape, 3), float(place)), torch.tensor([place, place + 1])) for place, shape in enumerate(shapes)
    ]
    runs = torch_bench._captured(network, arguments)
    assert [shape[1] for shape, captured in captures if captured] == [4, 8]
    assert len(captures) == 2 * (3 + 1)  # three warm up, one is captured
    for place in (2, 0, 1, 2):
        expected = place * 3 * shapes[place][1] + 100 * torch.tensor([place, place + 1])
        assert torch.equal(runs[place](), expected.float())


# ---- INT8 ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(40, 24, 16), (3, 13, 5)])  # as kernels take it, and to be padded
def test_an_integer_product_is_exact_where_nothing_is_rounded(shape: tuple[int, int, int]) -> None:
    """Weights and activations are whole numbers whose largest is 127: the scale is 1."""
    rows, inputs, outputs = shape
    rng = np.random.default_rng(0)
    linear = nn.Linear(inputs, outputs)
    whole = rng.integers(-127, 128, (outputs, inputs))
    whole[:, 0] = 127
    linear.weight.data = torch.from_numpy(whole).float()
    x = rng.integers(-127, 128, (rows, inputs))
    x[0, 0] = -127
    expected = x @ whole.T + linear.bias.detach().numpy().astype(np.float64)
    given = Int8Linear(linear)(torch.from_numpy(x).float()[None])
    assert given.shape == (1, rows, outputs)
    np.testing.assert_allclose(given[0].detach().numpy(), expected, rtol=1e-6)


# ---- the command -----------------------------------------------------------------------------------------------------


def trained(folder: Path, **changes: Any) -> Path:
    network = networks.tiny(**changes)
    classes = tuple(str(number) for number in range(network.config.classes))
    folder.mkdir()
    content = checkpoint.Checkpoint(
        network.config, network.state_dict(), {}, "synth", classes, 0.01, checkpoint.versions()
    )
    checkpoint.save(folder / "ckpt.pt", content)
    return folder / "ckpt.pt"


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch, small: None) -> None:
    """The command on small data, without a counter, in two settings."""
    chosen = data()
    split = SimpleNamespace(frames=chosen.frames, lengths=chosen.lengths, labels=chosen.labels)
    classes = tuple(str(number) for number in range(4))
    dataset = SimpleNamespace(features=12, classes=classes, split=lambda name: {"test": split}[name])
    monkeypatch.setattr(door, "open_dataset", lambda spec, standardisation: dataset)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    settle(monkeypatch, {"RAPL": refused}, QUICK)


def settle(monkeypatch: pytest.MonkeyPatch, sensors: Any, timing: Timing) -> None:
    """The command measures with these counters, on this clock, in two settings."""

    def quick(subjects: Any, data: Any, device: str, minutes: float) -> MeasuredDevice:
        return SWEEP(subjects, data, device, minutes, sensors, timing, SETTINGS[:2])

    monkeypatch.setattr(sweep, "sweep", quick)


@pytest.mark.usefixtures("opened")
def test_the_command_measures_each_checkpoint_and_writes_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [str(trained(tmp_path / name, seed=seed)) for name, seed in (("one", 0), ("other", 1))]
    assert door.main([*paths, "--out", str(tmp_path / "measured")]) == 0
    out = capsys.readouterr().out
    assert "no energy was measured: RAPL: no right to read" in out
    _, row, *_, last = out.splitlines()
    assert row.startswith("one, FP32, eager (one compiled pass)  ") and last.endswith(".json: written")
    assert "other, TF32, eager: not measured: TF32 needs a CUDA device" in out
    (path,) = (tmp_path / "measured").iterdir()
    found = device_file.load(path)
    assert [(row.network, row.precision) for row in found.rows] == [
        ("one", "FP32"),
        ("other", "FP32"),
        ("one", "TF32"),
        ("other", "TF32"),
    ]
    assert door.main([paths[0], "--out", str(tmp_path / "measured"), "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["rows"]) == 2


@pytest.mark.usefixtures("opened")
def test_with_a_counter_what_it_writes_is_a_price(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = Clock(joules_a_look=0.1)
    settle(monkeypatch, {"clock": clock.sensor}, clock.timing)
    paths = [str(trained(tmp_path / name, twin=name == "twin")) for name in ("spiking", "twin")]
    assert door.main([*paths, "--out", str(tmp_path / "measured")]) == 0
    out = capsys.readouterr().out
    assert "spiking against twin, alone: " in out and "times the energy (FP32, eager against FP32, eager)" in out
    path = tmp_path / "measured" / "a-processor.json"
    alone, saturated = measured_tables(path)
    (row,) = (row for row in device_file.load(path).rows if row.network == "twin" and row.batch_1)
    (twin,) = (network for network in device_file.load(path).networks if not network.spiking)
    assert row.batch_1 and row.best_batch
    assert alone.prices_pj["dense_mac"] == pytest.approx((row.batch_1.dynamic_uj or 0) * 1e6 / twin.macs)
    assert saturated.prices_pj["dense_mac"] == pytest.approx((row.best_batch.dynamic_uj or 0) * 1e6 / twin.macs)
    assert alone.group == "processor, measured" and "a clock (a-processor.json)" in alone.source


@pytest.mark.usefixtures("opened")
@pytest.mark.parametrize(
    ("changes", "more", "words"),
    [
        ({"features": 13}, [], "13 features"),
        ({}, ["--samples", "0"], "more than 0 is needed"),
        ({}, ["--minutes", "nan"], "more than 0 is needed"),
    ],
)
def test_the_command_refuses_what_it_cannot_measure(
    changes: dict[str, int], more: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = trained(tmp_path / "one", **changes)
    assert door.main([str(path), "--out", str(tmp_path / "measured"), *more]) == 2
    assert words in capsys.readouterr().err and not (tmp_path / "measured").exists()


@pytest.mark.usefixtures("opened")
def test_two_checkpoints_need_two_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(trained(tmp_path / "one"))
    assert door.main([path, path, "--out", str(tmp_path / "measured")]) == 2
    assert "two checkpoints lie in folders called 'one'; rename one" in capsys.readouterr().err
