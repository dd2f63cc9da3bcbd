"""What a file is, by its content."""

import io
import wave
import zipfile

import h5py
import numpy as np
import pytest
import torch

from neurotarget import kinds
from neurotarget.kinds import kind_of, mistaken


def hdf5(*members):
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        for member in members:
            file.create_group(member)
    return buffer.getvalue()


def arrays(**content):
    buffer = io.BytesIO()
    np.savez(buffer, **content)
    return buffer.getvalue()


def checkpoint():
    buffer = io.BytesIO()
    torch.save({"state": torch.zeros(2)}, buffer)
    return buffer.getvalue()


def sound():
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes(bytes(20))
    return buffer.getvalue()


def archive():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("a.txt", "a")
    return buffer.getvalue()


CONTENT = {
    "NIR": (hdf5("version", "node"), kinds.NIR),
    "NetX": (hdf5("layer"), kinds.NETX),
    "events": (hdf5("spikes", "labels"), kinds.EVENTS),
    "another HDF5": (hdf5("other"), None),
    "damaged HDF5": (hdf5("node")[:200], None),
    "checkpoint": (checkpoint(), kinds.CHECKPOINT),
    "samples": (arrays(input=[1]), kinds.SAMPLES),
    "trace": (arrays(input=[1], output=[1], header="{}"), kinds.TRACE),
    "another zip": (archive(), None),
    "damaged zip": (arrays(input=[1])[:30], None),
    "sound": (sound(), kinds.SOUND),
    "picture": (b"\x89PNG\r\n\x1a\n", kinds.PICTURE),
    "training": (b'[data]\nspec = "synth"', kinds.TRAINING),
    "chain": (b'[data]\nspec = "synth"\n[[stage]]\nsteps = 3', kinds.CHAIN),
    "claims": (b"[[claim]]", kinds.CLAIMS),
    "prices": (b"[prices_pj]\nac = 1", kinds.PRICES),
    "chip": (b"[limits.cores]", kinds.CHIP),
    "another TOML": (b"a = 3", None),
    "brackets": (b"a = " + b"[" * 3000, None),
    "text": (b"hello", None),
    "noise": (bytes(range(256)), None),
    "nothing": (b"", kinds.EMPTY),
}


@pytest.mark.parametrize("name", CONTENT)
def test_the_content_decides(tmp_path, name):
    content, kind = CONTENT[name]
    path = tmp_path / "file.pt"
    path.write_bytes(content)
    assert kind_of(path) == kind


def test_what_is_no_file(tmp_path):
    assert kind_of(tmp_path) == kinds.FOLDER
    assert kind_of(tmp_path / "missing") is None
    assert kind_of("a\0b") is None


def test_the_sentence_says_what_it_is_and_who_takes_it(tmp_path):
    path = tmp_path / "a.nir"
    path.write_bytes(checkpoint())
    assert mistaken(path, kinds.NIR) == (
        f"{path}: this is a checkpoint, not a NIR file; model.evaluate and conversion.to_nir take it"
    )
    assert mistaken(path, kinds.CHECKPOINT) is None
    path.write_bytes(b"hello")
    assert mistaken(path, kinds.NIR) is None  # it may be one that is damaged: its reader says how
