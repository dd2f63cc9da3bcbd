import h5py
import numpy as np
import pytest
from spikingjelly.datasets.shd import _integrate_events_by_fixed_duration

from neurotarget.data import DataError, open_dataset, shd
from tests.recordings import random_utterances, write_spikes


def bin_events(*events) -> np.ndarray:
    length, cells = shd.event_cells(*events)
    return np.bincount(cells, minlength=length * 140).reshape(length, 140)


def test_counts_of_a_hand_computed_utterance():
    # 10 ms steps. Units 0..4 are feature 0; 0.01 s is the first instant of step 1; 0.29 * 100 is 28.999... in floats.
    times = np.array([0.0, 0.0099, 0.01, 0.29, 0.2999, 0.05])
    units = np.array([0, 4, 5, 699, 699, 7])
    counts = bin_events(times, units, 100)
    expected = np.zeros((30, 140), np.int64)
    expected[0, 0] = 2
    expected[1, 1] = 1
    expected[5, 1] = 1
    expected[29, 139] = 2
    np.testing.assert_array_equal(counts, expected)


@pytest.mark.parametrize("steps", [40, 100, 200, 500, 333])
def test_counts_equal_a_histogram(steps):
    generator = np.random.default_rng(steps)
    times = generator.integers(0, 2800, 3000) / 2000  # multiples of 0.5 ms: many fall on an edge
    units = generator.integers(0, 700, 3000)
    counts = bin_events(times, units, steps)
    length = len(counts)
    expected, _, _ = np.histogram2d(
        times, units, bins=(np.arange(length + 2) / steps, np.arange(0, 701, 5))
    )  # one bin more than needed: numpy closes the last one on the right
    np.testing.assert_array_equal(counts, expected[:length])
    assert counts.sum() == 3000
    assert counts[-1].any()


def test_steps_from_the_first_event_are_those_of_spikingjelly():
    generator = np.random.default_rng(0)
    times = np.sort(generator.uniform(0.0371, 0.9, 500))
    units = generator.integers(0, 700, 500)
    theirs = _integrate_events_by_fixed_duration({"t": times, "x": units}, 10, 700)  # 10 ms
    ours = bin_events(times, units, 100, "first_event")
    np.testing.assert_array_equal(ours, theirs.reshape(len(theirs), 140, 5).sum(axis=2))
    zero = bin_events(times, units, 100)
    assert len(zero) > len(ours) and not zero[:3].any()
    assert bin_events(np.array([]), np.array([], np.int64), 100, "first_event").tolist() == [[0] * 140]


def test_the_origin_is_an_option_of_shd_and_ssc(shd_folder):
    late = [(times + np.float16(0.25), units) for times, units in random_utterances(2, 4)]
    write_spikes(shd_folder / "shd_test.h5", late, [1, 0, 1, 0], speakers=[4] * 4)
    frames = {}
    for option in ("", "?origin=zero", "?origin=first_event"):
        frames[option] = open_dataset(f"shd:{shd_folder}{option}").split("test").frames
    np.testing.assert_array_equal(frames[""], frames["?origin=zero"])
    assert not frames[""][:, 0].any()
    for row, (times, units) in enumerate(late):
        expected = bin_events(np.float64(times), units, 100, "first_event")
        np.testing.assert_array_equal(frames["?origin=first_event"][row, : len(expected)], expected)
        assert expected[0].any()


def test_as_many_units_are_summed_as_is_asked_for(shd_folder):
    by_five, by_one, by_ten = (open_dataset(f"shd:{shd_folder}{text}") for text in ("", "?n_bins=1", "?n_bins=10"))
    assert (by_five.features, by_one.features, by_ten.features) == (140, 700, 70)
    for name in ("train", "validation", "test"):
        units = by_one.split(name).frames.astype(int)
        for dataset, together in ((by_five, 5), (by_ten, 10)):
            expected = units.reshape(*units.shape[:2], -1, together).sum(axis=-1)
            np.testing.assert_array_equal(dataset.split(name).frames, expected)
            assert dataset.split(name).keys == by_one.split(name).keys


def test_events_from_the_cap_on_are_dropped():
    counts = bin_events(np.array([0.1, 1.3999, 1.4, 5.0]), np.array([0, 0, 0, 0]), 100)
    assert counts.shape == (140, 140)
    assert counts.sum() == 2


def test_an_utterance_without_events_has_one_empty_step():
    assert bin_events(np.array([]), np.array([], np.int64), 100).tolist() == [[0] * 140]


@pytest.mark.parametrize("steps", [40, 100, 500])
def test_splits_hold_the_files_events(shd_folder, steps):
    dataset = open_dataset(f"shd:{shd_folder}?steps={steps}")
    assert (dataset.classes, dataset.features, dataset.step_seconds) == (("zero", "one"), 140, 1 / steps)
    test = dataset.split("test")
    assert test.frames.dtype == np.uint8
    assert test.labels.dtype == test.lengths.dtype == np.int64
    assert test.labels.tolist() == [1, 0, 1, 0]
    assert test.keys == tuple(f"shd_test/{row:06d}" for row in range(4))
    for row, (times, units) in enumerate(random_utterances(2, 4)):
        length = int(np.float64(times.max()) * steps) + 1
        assert test.lengths[row] == length
        assert not test.frames[row, length:].any()
        assert test.frames[row].sum() == len(units)
        np.testing.assert_array_equal(test.frames[row].sum(axis=0, dtype=int), np.bincount(units // 5, minlength=140))
    splits = [dataset.split(name) for name in ("train", "validation", "test")]
    assert len({split.frames.shape[1] for split in splits}) == 1
    assert max(split.lengths.max() for split in splits) == splits[0].frames.shape[1]


def test_validation_is_the_speaker_with_nearest_to_a_tenth(shd_folder):
    dataset = open_dataset(f"shd:{shd_folder}")  # speaker 7 has one utterance of ten: row 4
    assert dataset.split("validation").keys == ("shd_train/000004",)
    assert dataset.split("train").keys == tuple(f"shd_train/{row:06d}" for row in range(10) if row != 4)
    assert dataset.split("validation").speakers == ("7",)
    assert dataset.split("train").speakers == tuple("311113313")
    assert dataset.split("test").speakers == ("4",) * 4
    assert shd.validation_speaker(np.array([5] * 11 + [2] * 9)) == 2
    assert shd.validation_speaker(np.array([5] * 10 + [2] * 10)) == 2


def test_the_same_utterances_in_the_same_order_for_every_step(shd_folder):
    coarse, fine = (open_dataset(f"shd:{shd_folder}?steps={steps}") for steps in (40, 500))
    for name in ("train", "validation", "test"):
        assert coarse.split(name).keys == fine.split(name).keys
        np.testing.assert_array_equal(coarse.split(name).labels, fine.split(name).labels)
        np.testing.assert_array_equal(
            coarse.split(name).frames.sum(axis=1, dtype=int), fine.split(name).frames.sum(axis=1, dtype=int)
        )


def test_many_events_in_one_step_widen_the_type(tmp_path):
    crowd = (np.full(300, 0.1), np.zeros(300, int))
    for name in ("train", "valid", "test"):
        write_spikes(tmp_path / f"ssc_{name}.h5", [crowd], [0])
    frames = open_dataset(f"ssc:{tmp_path}").split("validation").frames
    assert frames.dtype == np.uint16
    assert frames.max() == 300


def test_a_changed_file_is_read_again(shd_folder):
    first = open_dataset(f"shd:{shd_folder}").split("test").labels.tolist()
    write_spikes(shd_folder / "shd_test.h5", random_utterances(9, 5), [0] * 5)
    assert open_dataset(f"shd:{shd_folder}").split("test").labels.tolist() == [0] * 5 != first


def _set(path, name, value):
    with h5py.File(path, "r+") as file:
        del file[name]
        if value is not None:
            file[name] = value


def _set_events(path, name, row, value):
    with h5py.File(path, "r+") as file:
        file[name][row] = value


DAMAGE = {
    "truncated": (lambda p: p.write_bytes(p.read_bytes()[: p.stat().st_size // 2]), "not a readable HDF5 file"),
    "foreign": (lambda p: p.write_text("hello"), "not a readable HDF5 file"),
    "missing": (lambda p: p.unlink(), "no such file"),
    "no times": (lambda p: _set(p, "spikes/times", None), "no data set spikes/times"),
    "no words": (lambda p: _set(p, "extra/keys", None), "no data set extra/keys"),
    "times as a table": (lambda p: _set(p, "spikes/times", np.zeros((4, 3))), r"shape \(4, 3\)"),
    "times as numbers": (lambda p: _set(p, "spikes/times", np.zeros(4)), "expected lists of numbers"),
    "too few labels": (lambda p: _set(p, "labels", np.zeros(3, int)), "labels holds 3 values"),
    "float labels": (lambda p: _set(p, "labels", np.zeros(4)), "type float64"),
    "label too large": (lambda p: _set(p, "labels", np.array([0, 1, 2, 0])), r"labels\[2\] is 2"),
    "label negative": (lambda p: _set(p, "labels", np.array([0, -1, 0, 0])), r"labels\[1\] is -1"),
    "other words": (lambda p: _set(p, "extra/keys", np.array([b"one", b"zero"])), "in its order"),
    "words twice": (lambda p: _set(p, "extra/keys", np.array([b"one", b"one"])), "twice"),
    "unit 700": (
        lambda p: _set_events(p, "spikes/units", 1, np.full(200, 700)),
        "utterance 1 has an event of unit 700",
    ),
    "NaN": (lambda p: _set_events(p, "spikes/times", 2, np.full(200, np.nan)), "utterance 2 has an event at nan s"),
    "infinite": (lambda p: _set_events(p, "spikes/times", 2, np.full(200, np.inf)), "event at inf s"),
    "negative time": (lambda p: _set_events(p, "spikes/times", 0, np.full(200, -0.5)), "event at -0.5 s"),
    "uneven": (lambda p: _set_events(p, "spikes/times", 3, np.zeros(7)), "utterance 3 has 7 times and 200 units"),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_a_damaged_file_is_named_with_what_is_wrong(shd_folder, cache_folder, case):
    damage, said = DAMAGE[case]
    damage(shd_folder / "shd_test.h5")
    with pytest.raises(DataError, match=said) as caught:
        open_dataset(f"shd:{shd_folder}")
    assert "shd_test.h5" in str(caught.value)
    assert not list(cache_folder.glob("*/*.npy"))


def test_a_file_that_claims_too_many_utterances_is_refused_before_reading(shd_folder):
    path = shd_folder / "shd_test.h5"
    with h5py.File(path, "r+") as file:
        del file["labels"]  # chunked and never written: no bytes on disk, terabytes in memory
        file.create_dataset("labels", (10**12,), np.int64, chunks=(1024,))
    with pytest.raises(DataError, match="expected one dimension of 1 to 1,000,000"):
        open_dataset(f"shd:{shd_folder}")


def test_a_missing_folder_and_a_lone_speaker_are_refused(tmp_path):
    with pytest.raises(DataError, match="no such folder"):
        open_dataset(f"shd:{tmp_path / 'nowhere'}")
    for name in ("train", "test"):
        write_spikes(tmp_path / f"shd_{name}.h5", random_utterances(1, 3), [0, 1, 0])
    with pytest.raises(DataError, match="all utterances are of speaker 0"):
        open_dataset(f"shd:{tmp_path}")
