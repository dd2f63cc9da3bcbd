"""Event cameras: frames against a plain loop over the events, and against tonic's own data sets and frames."""

import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import tonic

from neurotarget.data import DataError, events, open_dataset
from neurotarget.errors import PackageMissing
from tests.event_recordings import (
    bin_bytes,
    random_events,
    write_cifar10_dvs,
    write_dvs_gesture,
    write_nmnist,
)

EPOCH = 1_512_000_000_000_000  # an AEDAT 4 file counts from 1970


def _in_milliseconds(recording):
    return [(t // 1000 * 1000, *rest) for t, *rest in recording]


RECORDINGS = {
    "nmnist": {
        "Train/3/00008": random_events(1, 400, 34, 306_000),
        "Train/7/50000": random_events(2, 300, 34, 300_000, 150),
        "Train/7/50001": random_events(3, 300, 34, 310_000, 777),
        "Test/0/00004": random_events(4, 500, 34, 300_000),
        "Test/9/00002": random_events(5, 200, 34, 100_000, 99_999),
    },
    "dvsgesture": {
        "ibmGestureTrain/user01_fluorescent_led/0": _in_milliseconds(random_events(1, 300, 128, 6_000_000)),
        "ibmGestureTrain/user22_lab/10": _in_milliseconds(random_events(2, 300, 128, 900_000)),
        "ibmGestureTrain/user23_lab/4": _in_milliseconds(random_events(3, 300, 128, 1_100_000, 80_000)),
        "ibmGestureTest/user24_natural/9": _in_milliseconds(random_events(4, 300, 128, 2_000_000)),
        "ibmGestureTest/user29_led/9": _in_milliseconds(random_events(5, 300, 128, 500_000)),
    },
    "cifar10dvs": {
        "airplane/cifar10_airplane_99": random_events(1, 120, 128, EPOCH + 1_300_000, EPOCH),
        "airplane/cifar10_airplane_100": random_events(2, 100, 128, EPOCH + 999_999, EPOCH),
        "frog/cifar10_frog_199": random_events(3, 101, 128, EPOCH + 900_000, EPOCH - 100_000),
        "frog/cifar10_frog_200": random_events(4, 90, 128, EPOCH + 1_200_000, EPOCH),
        "truck/cifar10_truck_0": random_events(5, 90, 128, EPOCH + 1_200_000, EPOCH),
    },
}
KEYS = {  # validation: MNIST's last 10,000; users 22 and 23; numbers 100 to 199
    "nmnist": (("Train/3/00008", "Train/7/50000"), ("Train/7/50001",), ("Test/0/00004", "Test/9/00002")),
    "dvsgesture": (
        ("ibmGestureTrain/user01_fluorescent_led/0",),
        ("ibmGestureTrain/user22_lab/10", "ibmGestureTrain/user23_lab/4"),
        ("ibmGestureTest/user24_natural/9", "ibmGestureTest/user29_led/9"),
    ),
    "cifar10dvs": (
        ("frog/cifar10_frog_200",),
        ("airplane/cifar10_airplane_100", "frog/cifar10_frog_199"),
        ("airplane/cifar10_airplane_99", "truck/cifar10_truck_0"),
    ),
}
LABELS = {
    "nmnist": ([3, 7], [7], [0, 9]),
    "dvsgesture": ([0], [10, 4], [9, 9]),
    "cifar10dvs": ([6], [0, 6], [0, 9]),
}
WRITERS = {"nmnist": write_nmnist, "dvsgesture": write_dvs_gesture, "cifar10dvs": write_cifar10_dvs}
KINDS = tuple(WRITERS)


@pytest.fixture
def folders(tmp_path):
    """By kind, a folder in the layout of the data set; named as tonic names it below its `save_to`."""
    names = {"nmnist": "NMNIST", "dvsgesture": "DVSGesture", "cifar10dvs": "CIFAR10DVS"}
    found = {kind: tmp_path / name for kind, name in names.items()}
    for kind, folder in found.items():
        WRITERS[kind](folder, RECORDINGS[kind])
    return found


def _by_loop(recording, steps, side, size):
    first = min(t for t, *_ in recording)
    counts: dict[tuple[int, int, int, int], int] = {}
    for t, x, y, p in recording:
        cell = ((t - first) * steps // 10**6, p, y * size // side, x * size // side)
        counts[cell] = counts.get(cell, 0) + 1
    frames = np.zeros((1 + max(cell[0] for cell in counts), 2, size, size), np.int64)
    for cell, count in counts.items():
        frames[cell] = count
    return frames


@pytest.mark.parametrize(
    ("kind", "options", "steps", "size"),
    [
        ("nmnist", "", 100, 34),
        ("nmnist", "?steps=10", 10, 34),
        ("nmnist", "?steps=333&size=17", 333, 17),
        ("dvsgesture", "", 10, 128),
        ("dvsgesture", "?steps=3&size=1", 3, 1),
        ("cifar10dvs", "", 10, 128),
        ("cifar10dvs", "?steps=40&size=32", 40, 32),
    ],
)
def test_frames_count_the_events_of_a_plain_loop(folders, kind, options, steps, size):
    dataset = open_dataset(f"{kind}:{folders[kind]}{options}")
    assert (dataset.shape, dataset.step_seconds) == ((2, size, size), 1 / steps)
    side = events.LAYOUTS[kind].side
    splits = [dataset.split(name) for name in ("train", "validation", "test")]
    assert tuple(split.keys for split in splits) == KEYS[kind]
    assert tuple(split.labels.tolist() for split in splits) == LABELS[kind]
    for split in splits:
        assert split.frames.dtype == np.uint8
        for frames, length, key in zip(split.frames, split.lengths, split.keys, strict=True):
            expected = _by_loop(RECORDINGS[kind][key], steps, side, size)
            assert length == len(expected)
            np.testing.assert_array_equal(frames[:length], expected)
            assert not frames[length:].any()
    assert {split.frames.shape[1] for split in splits} == {max(split.lengths.max() for split in splits)}


def _tonics(kind, folder, monkeypatch):
    """tonic's data sets on a folder that holds a part of the data, which it would otherwise fetch as a whole."""
    name = {"nmnist": "NMNIST", "dvsgesture": "DVSGesture", "cifar10dvs": "CIFAR10DVS"}[kind]
    theirs = getattr(tonic.datasets, name)
    monkeypatch.setattr(theirs, "_check_exists", lambda self: True)
    if kind == "cifar10dvs":
        return [theirs(folder.parent)]
    return [theirs(folder.parent, train=train) for train in (True, False)]


@pytest.mark.parametrize("kind", KINDS)
def test_frames_and_labels_are_those_of_tonic(folders, kind, monkeypatch):
    dataset = open_dataset(f"{kind}:{folders[kind]}?steps=20")
    ours = {
        key: (split.frames[row, : split.lengths[row]], split.labels[row])
        for split in dataset.splits.values()
        for row, key in enumerate(split.keys)
    }
    compared = 0
    for theirs in _tonics(kind, folders[kind], monkeypatch):
        for path, (recording, label) in zip(theirs.data, theirs, strict=True):
            key = os.path.splitext(os.path.relpath(path, folders[kind]))[0]
            recording = recording[np.argsort(recording["t"], kind="stable")]
            # They leave an event out that falls on the very end of the last step: one microsecond later is none left.
            to_frame = tonic.transforms.ToFrame(
                sensor_size=theirs.sensor_size,
                time_window=50_000,
                include_incomplete=True,
                end_time=int(recording["t"][-1]) + 1,
            )
            frames, number = ours[key]
            np.testing.assert_array_equal(frames, to_frame(recording))
            assert number == label
            compared += 1
    assert compared == 5


def test_an_overflow_of_the_time_in_nmnist_is_no_event(tmp_path):
    early, late = (100, 1, 2, 1), (50, 33, 0, 0)
    path = tmp_path / "Test" / "5" / "00001.bin"
    path.parent.mkdir(parents=True)
    path.write_bytes(bin_bytes([early, (0, 0, 240, 0), late]))  # from there on 2**13 microseconds later
    test = open_dataset(f"nmnist:{tmp_path}?steps=1000").split("test")
    expected = _by_loop([early, (50 + 2**13, 33, 0, 0)], 1000, 34, 34)
    assert len(expected) == 9
    np.testing.assert_array_equal(test.frames[0], expected)


def test_events_need_not_be_in_order(tmp_path, folders):
    write_nmnist(tmp_path / "shuffled", {key: part[::-1] for key, part in RECORDINGS["nmnist"].items()})
    ours, shuffled = (open_dataset(f"nmnist:{folder}") for folder in (folders["nmnist"], tmp_path / "shuffled"))
    np.testing.assert_array_equal(ours.split("test").frames, shuffled.split("test").frames)


def test_many_events_of_one_pixel_widen_the_type(tmp_path):
    write_nmnist(tmp_path, {"Test/1/00001": [(0, 5, 6, 1)] * 300})
    frames = open_dataset(f"nmnist:{tmp_path}").split("test").frames
    assert (frames.dtype, frames.shape) == (np.uint16, (1, 1, 2, 34, 34))
    assert frames[0, 0, 1, 6, 5] == frames.sum() == 300


def test_a_part_of_the_data_is_enough_and_says_what_it_lacks(tmp_path):
    write_nmnist(tmp_path, {"Test/1/00001": [(0, 5, 6, 1)]})
    dataset = open_dataset(f"nmnist:{tmp_path}")
    assert dataset.split("test").keys == ("Test/1/00001",)
    with pytest.raises(DataError, match="no recording for the train split; there are some for test"):
        dataset.split("train")


def test_what_was_prepared_is_opened_without_reading_again(folders, monkeypatch):
    spec = f"cifar10dvs:{folders['cifar10dvs']}?size=16"
    first = open_dataset(spec).split("test").frames.copy()
    monkeypatch.setattr(events.event_files, "read", lambda *_: pytest.fail("read again"))
    np.testing.assert_array_equal(open_dataset(spec).split("test").frames, first)


def test_a_changed_file_is_read_again(folders):
    write_nmnist(folders["nmnist"], {"Test/0/00004": [(0, 5, 6, 1), (70_000, 5, 6, 1)]})
    before = open_dataset(f"nmnist:{folders['nmnist']}").split("test").lengths.tolist()
    write_nmnist(folders["nmnist"], {"Test/0/00004": [(0, 5, 6, 1), (90_000, 5, 6, 1), (90_000, 5, 6, 1)]})
    assert (before[0], open_dataset(f"nmnist:{folders['nmnist']}").split("test").lengths[0]) == (8, 10)


@pytest.mark.parametrize("kind", KINDS)
def test_files_that_are_not_there_are_named_and_not_fetched(tmp_path, kind, monkeypatch):
    monkeypatch.setattr(tonic.dataset.Dataset, "download", lambda self: pytest.fail("downloads"))
    with pytest.raises(DataError, match="no recording there; expected") as caught:
        open_dataset(f"{kind}:{tmp_path}")
    said = {
        "nmnist": ("Train/DIGIT/NUMBER.bin", "train.zip", "tonic.datasets.NMNIST"),
        "dvsgesture": ("ibmGestureTest/userNN_LIGHT/LABEL.npy", "ibmGestureTest.tar.gz", "tonic.datasets.DVSGesture"),
        "cifar10dvs": ("CLASS/NUMBER.aedat4", "CIFAR10DVS.zip", "tonic.datasets.CIFAR10DVS"),
    }[kind]
    for part in (str(tmp_path), *said):
        assert part in str(caught.value)


@pytest.mark.parametrize("package", ["tonic", "aedat"])
def test_a_package_that_is_missing_is_named_with_its_extra(folders, package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    for name in [name for name in sys.modules if name.startswith(f"{package}.")]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(PackageMissing, match=rf"{package}.* is missing: pip install 'neurotarget\[events\]'"):
        open_dataset(f"nmnist:{folders['nmnist']}")


def test_nothing_imports_tonic_before_it_is_needed():
    code = "import sys, neurotarget.data; sys.exit('tonic' in sys.modules or 'aedat' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def _at(offset, value):
    def change(path):
        data = bytearray(path.read_bytes())
        data[offset : offset + len(value)] = value
        path.write_bytes(data)

    return change


def _cut(count):
    return lambda path: path.write_bytes(path.read_bytes()[:-count])


def _array(change):
    def rewrite(path):
        array = np.load(path)
        np.save(path, change(array))

    return rewrite


def _set(row, column, value):
    def change(array):
        array[row, column] = value
        return array

    return _array(change)


BIN, NPY, AEDAT4 = (
    "Test/9/00002.bin",
    "ibmGestureTest/user29_led/9.npy",
    "truck/cifar10_truck_0.aedat4",
)
DAMAGE = {
    "bin of odd length": ("nmnist", BIN, _cut(2), "998 bytes; expected 5 for each event"),
    "bin without events": ("nmnist", BIN, _cut(1000), "no events"),
    "bin of overflows alone": ("nmnist", BIN, lambda p: p.write_bytes(bin_bytes([(0, 0, 240, 0)])), "no events"),
    "bin too large": ("nmnist", BIN, lambda p: p.write_bytes(bytes(500_005)), "100,000 events at most"),
    "bin x in the middle": ("nmnist", BIN, _at(500, b"\x22"), "event 100 has x 34; expected 0..33"),
    "bin y in the middle": ("nmnist", BIN, _at(501, b"\xff"), "event 100 has y 255; expected 0..33"),
    "bin time": ("nmnist", BIN, _at(502, b"\x7f"), "between its first and last event; expected 1 s at most"),
    "bin name": ("nmnist", "Train/3/00008.bin", lambda p: p.rename(p.with_name("seven.bin")), None),
    "npy cut off": ("dvsgesture", NPY, _cut(9), "not a whole .npy file"),
    "npy is text": ("dvsgesture", NPY, lambda p: p.write_text("hello"), "not a whole .npy file"),
    "npy of objects": ("dvsgesture", NPY, lambda p: np.save(p, np.array([{}]), allow_pickle=True), "not a whole .npy"),
    "npy of three columns": ("dvsgesture", NPY, _array(lambda a: a[:, :3]), r"float64 \(300, 3\); expected numbers"),
    "npy of words": ("dvsgesture", NPY, _array(lambda a: a.astype("U5")), "expected numbers"),
    "npy x": ("dvsgesture", NPY, _set(150, 0, 128), "event 150 has x 128; expected 0..127"),
    "npy y": ("dvsgesture", NPY, _set(150, 1, -1), "event 150 has y -1; expected 0..127"),
    "npy polarity": ("dvsgesture", NPY, _set(150, 2, 2), "event 150 has polarity 2; expected 0..1"),
    "npy fraction": ("dvsgesture", NPY, _set(150, 0, 0.5), r"event 150 is \[0.5"),
    "npy NaN": ("dvsgesture", NPY, _set(150, 3, np.nan), r"event 150 is \[.*nan"),
    "npy time": ("dvsgesture", NPY, _set(150, 3, 70_000), "expected 60 s at most"),
    "npy without events": ("dvsgesture", NPY, _array(lambda a: a[:0]), "no events"),
    "npy of another gesture": ("dvsgesture", NPY, lambda p: p.rename(p.with_name("11.npy")), None),
    "aedat4 in its last packet": ("cifar10dvs", AEDAT4, _cut(5), "truncated: its packets end at byte"),
    "aedat4 after a header": ("cifar10dvs", AEDAT4, _cut(16 * 40 + 28), "truncated"),
    "aedat4 empty": ("cifar10dvs", AEDAT4, lambda p: p.write_bytes(b""), "no AEDAT 4 file"),
    "aedat4 of version 2": ("cifar10dvs", AEDAT4, _at(9, b"2"), "no AEDAT 4 file: it begins with b'#!AER-DAT2.0"),
    "aedat4 header": ("cifar10dvs", AEDAT4, _at(18, b"\xff"), "its header is damaged"),
    "aedat4 XML": ("cifar10dvs", AEDAT4, _at(100, b"\xff"), "its header is damaged"),
    "aedat4 packet": ("cifar10dvs", AEDAT4, _at(-16 * 40 - 28, b"\x63"), "unpack it again"),
    "aedat4 x": ("cifar10dvs", AEDAT4, _at(-16 * 10 + 8, b"\x80"), "event 80 has x 128; expected 0..127"),
    "aedat4 time": ("cifar10dvs", AEDAT4, _at(-16 * 10 + 6, b"\x01"), "expected 10 s at most"),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_a_damaged_file_is_named_with_what_is_wrong(folders, cache_folder, case):
    kind, name, damage, said = DAMAGE[case]
    damage(folders[kind] / name)
    with pytest.raises(DataError, match=said or "not a name of this data set") as caught:
        open_dataset(f"{kind}:{folders[kind]}")
    assert str(folders[kind] / name).rpartition("/")[0] in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not list(cache_folder.glob("*/*.npy"))


def test_no_byte_of_an_aedat4_file_can_end_the_process(folders):
    """Its decoder aborts on some; a process of its own shows it."""
    code = """
        import random, sys
        from pathlib import Path
        from neurotarget.data import DataError, event_files
        path = Path(sys.argv[1])
        whole, outcomes = path.read_bytes(), {True: 0, False: 0}
        for case in range(600):
            generator, data = random.Random(case), bytearray(whole)
            # Every other one in the flatbuffer around the XML.
            data[generator.randrange(14, 66 if case % 2 else len(data))] = generator.randrange(256)
            path.write_bytes(data)
            try:
                event_files.read(path, 128, 10)
                outcomes[True] += 1
            except DataError:
                outcomes[False] += 1
        print(outcomes)
    """
    path = folders["cifar10dvs"] / AEDAT4
    ran = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), str(path)], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    outcomes = eval(ran.stdout)
    assert outcomes[True] > 50 and outcomes[False] > 50


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("nmnist:/data?size=16", "does not divide the sensor's 34 pixels; expected 1, 2, 17, 34"),
        ("nmnist:/data?size=68", "whole number from 1 to 34"),
        ("dvsgesture:/data?steps=0", "whole number from 1 to 10000"),
        ("cifar10dvs:/data?fmax=4000", "cifar10dvs takes steps=VALUE, size=VALUE"),
    ],
)
def test_a_wrong_option_is_said_before_files_are_looked_for(spec, said):
    with pytest.raises(DataError) as caught:
        open_dataset(spec)
    assert said in str(caught.value)


def test_frames_beyond_the_disk_are_refused_before_they_are_written(folders, monkeypatch):
    usage = events.counts.shutil.disk_usage("/")
    monkeypatch.setattr(events.counts.shutil, "disk_usage", lambda folder: usage._replace(free=1000))
    with pytest.raises(DataError, match="ask for fewer steps or a smaller size, or set NEUROTARGET_CACHE"):
        open_dataset(f"nmnist:{folders['nmnist']}")


def test_networks_of_speech_refuse_images(folders):
    dataset = open_dataset(f"nmnist:{folders['nmnist']}")
    with pytest.raises(DataError, match=r"2 x 34 x 34, and the network takes \[steps, features\]; they are INPUT of"):
        _ = dataset.features
