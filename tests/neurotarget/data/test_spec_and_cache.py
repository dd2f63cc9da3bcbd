import multiprocessing
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from neurotarget.data import DataError, cache, open_dataset, spec


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "expected one of synth, gsc:PATH, shd:PATH, ssc:PATH, fsdd:PATH"),
        ("mnist:/data", "unknown data source 'mnist'"),
        ("gsc", "write gsc:PATH"),
        ("gsc:?words=10", "write gsc:PATH"),
        ("synth:/data", "takes no path"),
        ("synth?speed=3", "synth takes steps=VALUE, voices=VALUE"),
        ("shd:/data?words=10", "shd takes steps=VALUE"),
        ("synth?steps", "unknown option 'steps'"),
        ("synth?", "unknown option ''"),
        ("synth?steps=100&steps=40", "given twice"),
        ("synth?steps=0", "whole number from 1"),
        ("synth?steps=-5", "whole number from 1"),
        ("synth?steps=1e2", "whole number from 1"),
        ("synth?steps=²", "whole number from 1"),
        ("synth?steps=99999999999999999999999999", "whole number from 1"),
        ("synth?voices=2", "whole number from 3"),
        ("gsc:/data?words=12", "expected words=10 or words=35, or leave it out"),
        ("gsc:/data?steps=300", "expected one of [32, 40, 50, 64, 80, 100"),
        ("gsc:/data?steps=20", "expected one of [32, 40, 50, 64, 80, 100"),
        ("gsc:/data?fmax=10", "whole number from 1000"),
        ("shd:/data?origin=last_event", "expected one of zero, first_event"),
        ("shd:/data?n_bins=3", "n_bins=3 does not divide 700 units; expected one of 1, 2, 4, 5, 7, 10"),
        ("synth?n_bins=0", "whole number from 1 to 700"),
        ("shd:/data?n_mels=40", "unknown option 'n_mels=40'; shd takes steps=VALUE, origin=VALUE, n_bins=VALUE"),
        ("gsc:/data?n_bins=5", "unknown option 'n_bins=5'; gsc takes steps=VALUE, words=VALUE"),
        ("gsc:/data?n_mels=513", "n_mels=513 is not a whole number from 1 to 512"),
        ("gsc:/data?rate=11025", "rate=11025; expected one of 8000, 16000"),
        ("gsc:/data?rate=44100", "rate=44100 is not a whole number from 8000 to 16000"),
        ("gsc:/data?rate=16000&steps=25", "steps=25 does not divide 16000 samples; expected one of [32, 40, 50"),
        ("fsdd:/data?rate=16000", "rate"),
        ("fsdd:/data?n_fft=300", "n_fft=300; expected one of 64, 128, 256, 512, 1024, 2048"),
        ("gsc:/data?n_fft=4096", "n_fft=4096 is not a whole number from 64 to 2048"),
        ("gsc:/data?steps=40&n_fft=128", "steps=40 does not divide 8000 samples; expected one of [64, 80, 100"),
        ("wav:/data", "wav has no labels, so it can be classified but not learned or judged"),
    ],
)
def test_a_wrong_spec_says_what_is_allowed(text, said):
    with pytest.raises(DataError) as caught:
        open_dataset(text)
    assert said in str(caught.value)


def test_a_spec_is_taken_apart_at_its_first_colon_and_question_mark():
    parsed = spec.parse("gsc:/a:b/c?words=10&steps=40")
    assert (parsed.kind, parsed.path, parsed.options) == ("gsc", Path("/a:b/c"), {"words": "10", "steps": "40"})
    assert parsed.steps() == 40
    assert spec.parse("synth").steps() == 100


def test_only_the_three_splits_exist(shd_folder):
    with pytest.raises(DataError, match=r"no split 'valid'; expected one of train, validation, test"):
        open_dataset(f"shd:{shd_folder}").split("valid")


def test_a_folder_is_built_once_for_one_identity(cache_folder):
    built = []

    def build(folder):
        built.append(folder)
        (folder / "data").write_text("whole")

    first = cache.prepared("kind", {"option": 1}, build)
    assert cache.prepared("kind", {"option": 1}, build) == first
    assert cache.prepared("kind", {"option": 2}, build) != first
    assert len(built) == 2
    assert first.parent == cache_folder


def test_an_interrupted_build_leaves_nothing_that_looks_finished(cache_folder):
    def interrupted(folder):
        (folder / "data").write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.prepared("kind", {}, interrupted)
    assert [entry for entry in cache_folder.iterdir() if entry.is_dir()] == []
    # A killed process cannot tidy up: its folder goes when the next one builds the same.
    folder = cache.prepared("kind", {}, lambda target: None)
    folder.rename(folder.with_name(folder.name + ".tmpkilled"))
    folder = cache.prepared("kind", {}, lambda target: (target / "data").write_text("whole") and None)
    assert [entry for entry in cache_folder.iterdir() if entry.is_dir()] == [folder]
    assert (folder / "data").read_text() == "whole"


def _build_slowly(log: str) -> str:
    def build(folder):
        with open(log, "a") as file:
            file.write("built\n")
        time.sleep(0.3)
        (folder / "data").write_text("whole")

    return (cache.prepared("kind", {}, build) / "data").read_text()


@pytest.mark.slow
def test_two_processes_build_once_between_them(tmp_path):
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        assert pool.map(_build_slowly, [str(tmp_path / "log")] * 2) == ["whole", "whole"]
    assert (tmp_path / "log").read_text() == "built\n"


def test_a_cache_that_cannot_be_written_names_its_variable(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("NEUROTARGET_CACHE", str(tmp_path / "file"))
    with pytest.raises(DataError, match="set NEUROTARGET_CACHE"):
        cache.prepared("kind", {}, lambda folder: None)


def test_a_damaged_cache_says_which_folder_to_delete(shd_folder, cache_folder):
    open_dataset(f"shd:{shd_folder}")
    frames = next(cache_folder.glob("*/test.frames.npy"))
    frames.write_bytes(frames.read_bytes()[:200])
    with pytest.raises(DataError, match=r"damaged .*; delete this folder"):
        open_dataset(f"shd:{shd_folder}")


def test_frames_are_a_read_only_memory_map(shd_folder):
    frames = open_dataset(f"shd:{shd_folder}").split("train").frames
    assert isinstance(frames, np.memmap)
    assert not frames.flags.writeable


def test_nothing_here_imports_torch():
    code = "import sys, neurotarget.data.augment; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_environment_variables_of_a_shared_file(monkeypatch):
    monkeypatch.setenv("SPEECH", "/data/speech")
    monkeypatch.delenv("NOWHERE", raising=False)
    assert spec.expanded("gsc:$SPEECH?words=10") == "gsc:/data/speech?words=10"
    assert spec.expanded("${SPEECH}/in.npz") == "/data/speech/in.npz"
    with pytest.raises(DataError, match="environment variable NOWHERE is not set"):
        spec.expanded("gsc:$NOWHERE")


def test_messages_name_variables_and_not_what_they_hold(monkeypatch):
    monkeypatch.setenv("SECRET", "hunter2")
    monkeypatch.setenv("SHORT", "a")
    text = "gsc:${SECRET}/$SHORT"
    assert spec.as_written(f"{spec.expanded(text)}/x.wav: no such file", text) == "gsc:$SECRET/a/x.wav: no such file"
    assert spec.as_written("hunter2: no such file", "gsc:elsewhere") == "hunter2: no such file"
