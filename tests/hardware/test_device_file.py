"""The file of a measured device: it comes back as it was, and a hostile one is refused in a sentence."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from neurotarget.hardware.meters import device_file
from neurotarget.hardware.meters.device_file import DeviceFileError
from neurotarget.hardware.meters.windows import Throughput

from tests.hardware.devices import ROWS, SPIKING, TWIN, device


def test_the_file_comes_back_as_it_was(tmp_path: Path) -> None:
    batches = (Throughput(1, 2.0, 500.0, 0.0), Throughput(2, 2.5, 800.0, 0.125))
    timed = replace(ROWS[0].batch_1, total_uj=None, total_uj_std=None)
    path = device(tmp_path, SPIKING, TWIN, rows=[*ROWS, replace(ROWS[0], batches=batches, batch_1=timed)])
    found = device_file.load(path)
    assert path.name == "a-gpu.json" and found.networks == (SPIKING, TWIN) and found.rows[:4] == ROWS
    assert found.rows[4].batches == batches and found.rows[4].batch_1 == timed
    again = device_file.save(tmp_path, replace(found, idle_watts=20.0, versions=("torch 2",)))
    assert again == path and device_file.load(again) == replace(found, idle_watts=20.0, versions=("torch 2",))


HOSTILE = {
    "no JSON": (lambda content: content[:-9], "not a file of measurements"),
    "deep": (lambda content: "[" * 100_000, "not a file of measurements"),
    "a list": (lambda content: "[]", "a table is expected"),
    "digits": (lambda content: content.replace('"samples": 32', f'"samples": {"9" * 5000}'), "not a file"),
    "NaN": (lambda content: content.replace('"samples": 32', '"samples": NaN'), "NaN is no number"),
    "infinite": (lambda content: content.replace('"samples": 32', '"samples": 1e999'), "samples = inf"),
    "another format": (lambda content: content.replace('"format": 1', '"format": 2'), "format = 2"),
    "unknown key": (lambda content: content.replace('"samples"', '"sample"'), "unknown key 'sample'"),
    "no name": (lambda content: content.replace('"device": "A GPU"', '"device": ""'), "device = ''"),
    "escapes": (lambda content: content.replace('"A GPU"', '"\\u001b[2J"'), "device holds a character"),
    "no list": (lambda content: content.replace('"rows": [', '"rows": 3, "other": ['), "rows = 3; a list is expected"),
    "rows of numbers": (lambda content: content.replace('"rows": [', '"rows": [7,'), "row 1 = 7"),
    "another network": (lambda content: content.replace('"network": "spiking"', '"network": "x"'), "network 'x'"),
    "negative time": (lambda content: content.replace('"latency_ms": ', '"latency_ms": -'), "latency_ms = -"),
    "both": (lambda content: content.replace('"reason": "n', '"reason": "", "stopped": "n'), "or a reason"),
    "text": (lambda content: content.replace('"total_uj": ', '"total_uj": "x", "_": '), "total_uj"),
    "not UTF-8": (lambda content: content.replace("spiking", "\udcff"), "not a file of measurements"),
    "huge": (lambda content: content + " " * device_file.LARGEST_BYTES, "more than"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_refused_in_a_sentence(name: str, tmp_path: Path) -> None:
    change, words = HOSTILE[name]
    path = device(tmp_path, SPIKING, TWIN, rows=ROWS)
    path.write_bytes(change(path.read_text()).encode(errors="surrogateescape"))
    with pytest.raises(DeviceFileError) as refused:
        device_file.load(path)
    assert words in str(refused.value) and "\n" not in str(refused.value)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DeviceFileError, match="No such file"):
        device_file.load(tmp_path / "none.json")
