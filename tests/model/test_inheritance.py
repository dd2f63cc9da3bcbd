"""What a student takes over in seconds: each option by its meaning at 100 and at 40 steps per second."""

import numpy as np
import pytest
import torch
from neurotarget.model.networks.delays import DelaysConfig, DelaysNetwork
from neurotarget.model.networks.neuron import FusedLIFNode
from neurotarget.model.spikescr import SpikeSCR
from neurotarget.model.training import checkpoint, inheritance, registry, stages
from neurotarget.model.training.settings import Augmentation, Settings, Training

import neurotarget
from neurotarget.data import Dataset, Split
from tests.torch_networks import tiny

FINE, COARSE = 100, 40  # steps per second
RATIO = FINE / COARSE


def saved(network, steps=FINE):
    return checkpoint.Checkpoint(
        network.config, network.state_dict(), {}, "made", ("a", "b", "c", "d"), 1 / steps, checkpoint.versions()
    )


def stage_of(config, steps=COARSE, batches="padded", **options):
    settings = Settings("made", config, Training(batch=8, batches=batches), Augmentation())
    return stages.Stage(2, steps, settings, stages.Distillation(**options))


def counts_at(steps, features=12, samples=8, seconds=0.4):
    """The same events, 0.05 s apart or closer, at that many steps per second."""
    rng = np.random.default_rng(3)
    frames = np.zeros((samples, round(seconds * steps), features), np.float32)
    for sample in frames:
        times = rng.uniform(0, seconds, 600)
        np.add.at(sample, ((times * steps).astype(int), rng.integers(0, features, 600)), 1)
    split = Split(frames, np.arange(samples) % 4, np.full(samples, frames.shape[1]), tuple(map(str, range(samples))))
    return Dataset("made", ("a", "b", "c", "d"), (features,), 1 / steps, {"train": split, "validation": split})


def started(teacher, **options):
    """The student's network as it starts, and its stage."""
    stage = inheritance.with_leak(stage_of(teacher.config, **options), saved(teacher))
    state = inheritance.inherited(saved(teacher), counts_at(FINE), stage, counts_at(COARSE))
    network = registry.build(stage.settings.model)
    network.load_state_dict(dict(state))
    return network.eval(), stage


def test_without_options_the_whole_state_is_taken_over_as_it_is():
    teacher = tiny()
    student, stage = started(teacher)
    theirs, ours = teacher.state_dict(), student.state_dict()
    assert stage.settings.model == teacher.config
    assert all(torch.equal(theirs[name], ours[name]) for name in theirs)


# ---- kernels over time, and delays -----------------------------------------------------------------------------------


def test_a_tap_at_100_ms_stays_at_100_ms():
    kernel = torch.zeros(31)
    kernel[15 - 10], kernel[15 + 5] = 3.0, 7.0  # 100 ms ago and 50 ms ahead, of steps of 10 ms
    expected = torch.zeros(31)
    expected[15 - 4], expected[15 + 2] = 3.0, 7.0  # of steps of 25 ms
    torch.testing.assert_close(inheritance.resampled(kernel, RATIO, look_ahead=15), expected)


@pytest.mark.parametrize(
    ("look_ahead", "expected"),
    [
        (15, [1.75, *[2.5] * 11, 1.75]),  # 0.155 s either way: 6.2 steps of 25 ms
        (0, [1.0, *[2.5] * 12]),  # 0.31 s back: 12.4 steps
    ],
)
def test_a_kernel_keeps_its_sum_and_its_reach_in_seconds(look_ahead, expected):
    kernel = inheritance.resampled(torch.ones(2, 1, 31), RATIO, look_ahead)
    assert kernel.shape == (2, 1, 31) and kernel.sum(-1).flatten().tolist() == pytest.approx([31, 31])
    places = np.flatnonzero(kernel[0, 0].numpy())
    assert kernel[0, 0, places].tolist() == pytest.approx(expected)
    last = 30 - look_ahead
    assert (places[0] - last, places[-1] - last) == ((-6, 6) if look_ahead else (-12, 0))


def test_a_slow_signal_gives_the_same_current_at_both_time_scales():
    teacher = tiny(kernel=31)
    student, _ = started(teacher, reach_in_seconds=True)
    outputs = []
    for network, steps in ((teacher, FINE), (student, COARSE)):
        seconds = (torch.arange(2 * steps) + 0.5) / steps
        wave = torch.sin(torch.pi * seconds)[:, None, None].expand(-1, 1, 16)
        with torch.no_grad():
            outputs.append(network.blocks[0].convolution.depthwise.conv(wave)[:, 0])
    fine = outputs[0].reshape(-1, 5, 16)[:, 2]  # every 50 ms: the middle of five steps of 10 ms, of two of 25 ms
    coarse = outputs[1].reshape(-1, 2, 16).mean(dim=1)
    inside = slice(4, -4)
    assert fine.std() > 0.1  # of half a cycle a second
    torch.testing.assert_close(coarse[inside], fine[inside], rtol=0, atol=0.02)
    unchanged = teacher.blocks[0].convolution.depthwise.conv(wave)[:, 0].detach().reshape(-1, 2, 16).mean(dim=1)
    assert (unchanged - fine)[inside].abs().max() > 0.2


def test_a_delay_of_200_ms_stays_one():
    torch.manual_seed(0)
    teacher = DelaysNetwork(DelaysConfig.preset("delays_tiny", max_delay=24))
    with torch.no_grad():
        teacher.head.delay.fill_(20)
    student, _ = started(teacher, reach_in_seconds=True)
    assert student.head.rounded().unique().tolist() == [8]


# ---- angles, leak, gain, statistics ----------------------------------------------------------------------------------


def test_a_position_200_ms_away_turns_by_the_same_angle():
    teacher = tiny()
    student, _ = started(teacher, angles_in_seconds=True)
    vector = torch.randn(16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for name in ("query_rotary", "key_rotary"):
        turned = [
            getattr(network.blocks[0].attention, name)(vector.expand(steps // 5 + 1, 1, 16))[-1, 0]
            for network, steps in ((teacher, FINE), (student, COARSE))
        ]
        torch.testing.assert_close(*turned, rtol=0, atol=1e-6)  # angles are float32
        assert (turned[0] - vector).abs().max() > 0.1


def test_a_potential_loses_as_much_in_100_ms_and_a_constant_current_holds_the_same():
    teacher = tiny()
    student, stage = started(teacher, leak_in_seconds=True)
    tau = stage.settings.model.tau
    assert 1 / tau == pytest.approx(1 - (1 - 1 / 2.0) ** 2.5)
    assert (1 - 1 / tau) ** 4 == pytest.approx((1 - 1 / 2.0) ** 10)
    potentials = []
    for network, steps in ((teacher, FINE), (student, COARSE)):
        unit = network.blocks[0].mlp1.hidden
        assert isinstance(unit.lif, FusedLIFNode) and unit.lif.tau == network.config.tau
        current = unit.norm(torch.full((steps, 1, unit.norm.num_features), 0.3)).detach().double()
        v = torch.zeros_like(current[0])
        for of_step in current:  # a neuron that does not fire
            v = v * unit.lif.decay + of_step
        potentials.append(v)
    torch.testing.assert_close(*potentials, rtol=1e-6, atol=0)


def test_a_third_stage_takes_the_leak_of_the_second():
    """100 to 64 to 40 steps is as 100 to 40."""
    first = tiny()
    second = inheritance.with_leak(stage_of(first.config, 64, leak_in_seconds=True), saved(first)).settings.model
    third = inheritance.with_leak(
        stage_of(first.config, COARSE, leak_in_seconds=True), saved(SpikeSCR(second), 64)
    ).settings.model
    assert third.tau == pytest.approx(inheritance.tau_of(2.0, RATIO))


def test_the_same_events_give_the_first_layer_the_same_current():
    """Counts of a step of 25 ms are 2.5 times those of 10 ms, on average."""
    teacher = tiny()
    student, _ = started(teacher, gain_matched=True)
    currents = []
    for network, data in ((teacher, counts_at(FINE)), (student, counts_at(COARSE))):
        mean = torch.from_numpy(data.split("train").frames).mean()
        currents.append(network.embed.conv(mean.expand(9, 1, 12))[4, 0].detach())
    torch.testing.assert_close(*currents, rtol=1e-5, atol=1e-6)
    assert torch.equal(student.embed.conv.bias, teacher.embed.conv.bias)
    assert torch.equal(student.head.weight, teacher.head.weight)


@pytest.mark.parametrize("batches", ["padded", "sorted"])
def test_statistics_are_those_of_the_students_frames(batches):
    teacher = tiny(dropout=0.5)
    student, _ = started(teacher, statistics_estimated=True, batches=batches)
    frames = torch.from_numpy(counts_at(COARSE).split("train").frames)  # one batch
    with torch.no_grad():
        current = student.embed.conv(frames.transpose(0, 1)).flatten(0, 1)
        spikes = student.embed.lif(student.embed.norm(student.embed.conv(frames.transpose(0, 1))))
        following = student.blocks[0].attention.value.linear(spikes).flatten(0, 1)
    for found, unit in ((current, student.embed), (following, student.blocks[0].attention.value)):
        torch.testing.assert_close(unit.norm.running_mean, found.mean(0), rtol=1e-2, atol=1e-2)
        torch.testing.assert_close(unit.norm.running_var, found.var(0), rtol=5e-2, atol=1e-2)
        assert unit.norm.momentum == 0.1
    assert (student.embed.norm.running_mean - teacher.embed.norm.running_mean).abs().max() > 0.3


# ---- the whole -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("causal", [False, True])
def test_a_student_with_all_options_exports_to_a_file_that_computes_its_spikes(tmp_path, causal):
    teacher = tiny(kernel=31, causal=causal)
    student, stage = started(teacher, **dict.fromkeys(stages.IN_SECONDS, True))
    frames = counts_at(COARSE).split("train").frames
    graph = neurotarget.export(student, frames, tmp_path / "student.nir", dt=1 / COARSE)  # raises where one differs
    assert graph.dt == 1 / COARSE
    (kernel,) = (node.parameters["weight"] for name, node in graph.nodes.items() if name.endswith("depthwise.conv"))
    assert (np.count_nonzero(kernel, axis=-1) == 13).all()
    torch.testing.assert_close(
        torch.from_numpy(np.array(graph.nodes["embed.lif"].parameters["tau"])).double().mean().item() * COARSE,
        stage.settings.model.tau,
    )
