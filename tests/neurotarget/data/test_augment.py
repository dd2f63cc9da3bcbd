import math

import numpy as np
import pytest

from neurotarget.data import augment


def ones(batch=200, steps=50, features=40):
    return np.ones((batch, steps, features), np.float32)


def runs(silent):
    """Number of separate stretches of True."""
    return int(np.diff(np.concatenate([[0], silent.astype(int), [0]])).clip(0).sum())


def test_time_mask_silences_one_stretch_within_the_share_of_each_length():
    row = np.arange(1000)
    frames, lengths = ones(batch=1000), np.where(row % 2, 50, row % 50 + 1)
    augment.time_mask(frames, lengths, np.random.default_rng(1), 0.2, 1.0)
    widths = []
    for sample, length in zip(frames, lengths, strict=True):
        silent = ~sample.any(axis=1)
        assert not silent[length:].any()
        assert runs(silent) <= 1
        assert silent.sum() <= int(0.2 * length)
        assert np.isin(sample[~silent], 1).all()
        widths.append(silent.sum())
    assert max(widths) == 10
    assert min(widths) == 0


def test_a_time_mask_of_fixed_width_has_always_its_share_of_the_length():
    frames, lengths = ones(batch=300), np.arange(300) % 50 + 1
    augment.time_mask(frames, lengths, np.random.default_rng(1), 0.2, 1.0, fixed=True)
    silent = ~frames.any(axis=2)
    assert silent.sum(axis=1).tolist() == [int(0.2 * length) for length in lengths]
    assert all(runs(row) <= 1 for row in silent) and silent[lengths == 50][:, :40].any(axis=0).sum() > 20


def test_neuron_mask_silences_one_stretch_of_features():
    frames = ones()
    augment.neuron_mask(frames, np.random.default_rng(1), 20, 1.0)
    silent = ~frames.any(axis=1)
    assert all(runs(row) <= 1 for row in silent)
    assert silent.sum(axis=1).max() == 20
    assert silent.any(axis=0).all()  # each place has its turn
    np.testing.assert_array_equal(frames, np.broadcast_to(~silent[:, None], frames.shape))


@pytest.mark.parametrize("probability", [0.0, 0.5])
def test_probability_is_that_of_a_sample(probability):
    frames = ones(batch=2000)
    augment.neuron_mask(frames, np.random.default_rng(2), 39, probability)
    touched = (frames == 0).any(axis=(1, 2)).mean()
    assert touched == pytest.approx(probability * 39 / 40, abs=0.03)


def test_speed_stretches_a_ramp_to_a_ramp_of_another_length():
    """A ramp stays one: linear interpolation is exact on it, from half a step inside its ends."""
    lengths = np.full(200, 40)
    frames = np.zeros((200, 60, 2), np.float32)
    frames[:, :40] = (np.arange(40) + 0.5)[None, :, None]
    played = augment.speed(frames, lengths, np.random.default_rng(1), 0.25)
    assert played.min() < 34 and played.max() > 50 and np.all((played >= 32) & (played <= 53))
    for sample, length in zip(frames, played, strict=True):
        ramp = np.clip((np.arange(length) + 0.5) * 40 / length, 0.5, 39.5)
        np.testing.assert_allclose(sample[:length, 0], ramp, rtol=1e-5)
        assert not sample[length:].any()
    assert (lengths == 40).all()


def test_speed_cuts_what_would_be_longer_than_the_frame():
    frames = ones(batch=100, steps=10)
    played = augment.speed(frames, np.full(100, 10), np.random.default_rng(0), 0.5)
    assert played.max() == 10 and played.min() == 7 and (frames[played == 10] == 1).all()


def test_level_moves_all_features_of_a_sample_alike_and_nothing_behind_it():
    frames, lengths = ones(batch=100), np.arange(100) % 50 + 1
    frames[:, :, 7] = 0
    augment.level(frames, lengths, np.random.default_rng(1), 0.5)
    moved = frames[:, 0, 0]
    assert moved.min() < 0.6 and moved.max() > 1.4 and np.abs(moved - 1).max() <= 0.5
    assert not frames[:, :, 7].any()
    for sample, length, value in zip(np.delete(frames, 7, axis=2), lengths, moved, strict=True):
        assert (sample[:length] == value).all() and (sample[length:] == 1).all()


def test_time_shift_moves_without_wrapping():
    frames = np.zeros((300, 20, 2), np.uint8)
    lengths = np.full(300, 15)
    frames[:, :15] = np.arange(1, 16)[:, None]
    moved = augment.time_shift(frames, lengths, np.random.default_rng(4), 8)
    assert lengths.tolist() == [15] * 300
    shifts = set()
    for sample, length in zip(frames, moved, strict=True):
        values = sample[:, 0][sample[:, 0] > 0].astype(int)
        first = int(np.flatnonzero(sample[:, 0])[0])
        shift = first - (values[0] - 1)
        shifts.add(shift)
        assert (np.diff(values) == 1).all()
        assert length == min(20, 15 + shift)
        assert not sample[length:].any()
    assert shifts == set(range(-8, 9))


def test_a_short_sample_is_never_shifted_away():
    frames = np.ones((50, 20, 1), np.uint8)
    frames[:, 2:] = 0
    moved = augment.time_shift(frames, np.full(50, 2), np.random.default_rng(5), 10)
    assert frames.any(axis=(1, 2)).all()
    assert moved.min() == 1


def test_the_same_generator_state_gives_the_same_batch():
    batches = []
    for _ in range(2):
        generator, frames = np.random.default_rng(6), ones()
        augment.neuron_mask(frames, generator, 10, 0.5)
        augment.time_mask(frames, np.full(200, 50), generator, 0.25, 0.5)
        augment.time_shift(frames, np.full(200, 50), generator, 5)
        batches.append(frames.tobytes())
    assert batches[0] == batches[1]


def test_wrong_settings_are_refused():
    frames, lengths, generator = ones(2), np.full(2, 50), np.random.default_rng(0)
    with pytest.raises(ValueError, match=r"share is 1\.5"):
        augment.time_mask(frames, lengths, generator, 1.5, 0.5)
    with pytest.raises(ValueError, match="probability is -1"):
        augment.neuron_mask(frames, generator, 5, -1)
    with pytest.raises(ValueError, match="max_width is 41"):
        augment.neuron_mask(frames, generator, 41, 0.5)
    with pytest.raises(ValueError, match="max_steps is 50"):
        augment.time_shift(frames, lengths, generator, 50)


def numbered(batch, steps=30, features=20):
    """Every cell is another number, so that each can be followed."""
    return np.arange(1, batch * steps * features + 1, dtype=np.float32).reshape(batch, steps, features)


@pytest.mark.parametrize(("jitter", "axis"), [(augment.time_jitter, 0), (augment.feature_jitter, 1)])
def test_jitter_rolls_each_line_of_a_sample_by_its_own_draw(jitter, axis):
    """As np.roll does line by line, which is how the public code writes it."""
    frames, lengths = numbered(50), np.arange(50) % 21 + 10
    before = frames.copy()
    jitter(frames, lengths, np.random.default_rng(1), 2, 1.0)
    found = set()
    for sample, old, length in zip(frames, before, lengths, strict=True):
        np.testing.assert_array_equal(sample[length:], old[length:])
        lines, old_lines = (values[:length] if axis else values[:length].T for values in (sample, old))
        of_sample = [
            next(by for by in range(-2, 3) if (line == np.roll(old_line, by)).all())
            for line, old_line in zip(lines, old_lines, strict=True)
        ]
        assert len(set(of_sample)) > 1
        found |= set(of_sample)
    assert found == {-2, -1, 0, 1, 2}
    jitter(frames := before.copy(), lengths, np.random.default_rng(1), 2, 0.0)
    np.testing.assert_array_equal(frames, before)


def test_event_drop_silences_up_to_so_many_cells_within_the_length():
    frames, lengths = numbered(400), np.full(400, 17)
    before = frames.copy()
    augment.event_drop(frames, lengths, np.random.default_rng(1), 4)
    dropped = frames != before
    assert not frames[dropped].any() and not dropped[:, 17:].any()
    counts = dropped.sum(axis=(1, 2))
    assert set(counts) == {0, 1, 2, 3, 4}
    assert np.bincount(counts) / 400 == pytest.approx([0.2] * 5, abs=0.06)
    assert dropped[:, :17].any(axis=0).mean() > 0.85  # of 340 cells, after about 800 draws


def test_added_counts_have_the_published_probabilities_and_lower_nothing():
    frames, lengths = np.tile(np.array([0, 2, 9], np.uint8), (1, 20_000, 1)), np.array([19_990])
    augment.added_counts(frames, lengths, np.random.default_rng(1), 1.0)
    zeros, twos, nines = frames[0, :19_990].T
    assert np.bincount(zeros) / 19_990 == pytest.approx(augment.PUBLISHED_COUNTS, abs=0.01)
    assert np.bincount(twos)[2:] / 19_990 == pytest.approx([0.87, 0.06, 0.03, 0.04], abs=0.01)  # 5 is the most
    assert (nines == 9).all() and (frames[0, 19_990:] == (0, 2, 9)).all()


def test_added_counts_with_a_deviation_are_rounded_magnitudes():
    frames, lengths = np.tile(np.array([0, 254], np.uint8), (1, 20_000, 1)), np.array([20_000])
    augment.added_counts(frames, lengths, np.random.default_rng(1), 1.0, 0.75)
    erf = math.erf
    below = [erf((count + 0.5) / 0.75 / math.sqrt(2)) for count in range(4)]
    expected = np.diff([0.0, *below])
    assert np.bincount(frames[0, :, 0], minlength=4)[:4] / 20_000 == pytest.approx(expected, abs=0.012)
    assert set(frames[0, :, 1]) == {254, 255}  # no count wraps around
    augment.added_counts(before := np.zeros((9, 5, 4), np.uint8), np.full(9, 5), np.random.default_rng(1), 0.0)
    assert not before.any()


@pytest.mark.parametrize("fixed", [False, True])
def test_cut_mix_takes_the_same_steps_of_another_sample_as_it_was(fixed):
    frames, lengths = numbered(200), np.random.default_rng(0).integers(5, 31, 200)
    before = frames.copy()
    others, shares = augment.cut_mix(frames, lengths, np.random.default_rng(1), 0.4, 0.5, fixed)
    mixed = others != np.arange(200)
    assert mixed.mean() == pytest.approx(0.5, abs=0.1)
    np.testing.assert_array_equal(frames[~mixed], before[~mixed])
    assert not shares[~mixed].any()
    widths = []
    for row in np.flatnonzero(mixed):
        taken = (frames[row] != before[row]).any(axis=1)
        assert runs(taken) <= 1
        np.testing.assert_array_equal(frames[row, taken], before[others[row], taken])
        both = min(lengths[row], lengths[others[row]])
        assert not taken[both:].any()
        assert shares[row] == taken.sum() / lengths[row]
        widths.append((taken.sum(), int(0.4 * both)))
    assert all(width == whole if fixed else width <= whole for width, whole in widths)
    assert {width for width, _ in widths} > {2, 3, 4}
    others, shares = augment.cut_mix(before[:1], lengths[:1], np.random.default_rng(1), 0.4, 1.0)
    assert (others.tolist(), shares.tolist()) == ([0], [0.0])  # there is no other


@pytest.mark.parametrize("probability", [-0.1, 1.1])
def test_a_probability_outside_0_to_1_is_refused(probability):
    frames, lengths, generator = np.zeros((2, 5, 4), np.uint8), np.full(2, 5), np.random.default_rng(0)
    for change in (
        lambda: augment.time_jitter(frames, lengths, generator, 1, probability),
        lambda: augment.feature_jitter(frames, lengths, generator, 1, probability),
        lambda: augment.added_counts(frames, lengths, generator, probability),
        lambda: augment.cut_mix(frames, lengths, generator, 0.4, probability),
    ):
        with pytest.raises(ValueError, match="probability is"):
            change()
