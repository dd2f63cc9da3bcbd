"""Words of a stream, and the command: on frames as text, on sound, on samples."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from pathlib import Path

import nir
import numpy as np
import pytest
import soundfile
from neurotarget.sim import reference
from neurotarget.sim.graph import dialect, load
from neurotarget.sim.reference import Stream
from neurotarget.sim.stream import main, of_text
from neurotarget.sim.trace import classify
from neurotarget.sim.words import Words

from neurotarget.data.logmel import MELS, log_mel, sparse_filters
from neurotarget.standardisation import Standardisation
from tests.sim.networks import Network, chain, spikes

CLASSES = ("yes", "no", "go")
KNOWN = Standardisation(np.full(MELS, -30, np.float32), np.full(MELS, 0.05, np.float32), 4000)


def network(features: int = 4, look_ahead: int = 0, heard: Standardisation | None = None) -> nir.NIRGraph:
    """Two layers of 6 and a readout of three words; steps of 10 ms."""
    net = Network(features)
    x = net.operation("ahead", "look_ahead", features, "input", steps=look_ahead) if look_ahead else "input"
    graph = net.to_nir(net.affine("readout", 3, 6, net.layer("b", 6, 6, net.layer("a", 6, features, x))), outputs=3)
    for node in graph.nodes.values():
        if hasattr(node, "tau"):
            node.tau = np.full_like(node.tau, 0.02)
    graph.metadata |= {"dt": 0.01, "readout": "softmax_sum"} | dialect.data_metadata(CLASSES, heard)
    return graph


def test_a_word_is_what_a_run_of_its_steps_gives() -> None:
    graph = load(network())
    frames = spikes(2, 14, 4, seed=1)
    frames[:, [0, -1]] = 1  # no word begins or ends with a quiet step of its own
    quiet = np.zeros((5, 4), int)
    all_frames = np.concatenate([quiet, frames[0], quiet, quiet, frames[1], quiet[:2]])
    words = Words(Stream(graph), pause=3)
    said = [*words.push(all_frames, ~all_frames.any(axis=1)), *words.end()]
    assert [(word.start_step, word.end_step) for word in said] == [(5, 19), (29, 43)]
    assert [(word.start_ms, word.end_ms) for word in said] == [(50, 190), (290, 430)]
    for word, rest, sample in zip(said, (3, 2), frames, strict=True):
        seen = np.concatenate([sample, quiet[:rest]])[None]
        output = reference.run(graph, seen).output
        assert word.label == classify(output, np.array([14 + rest]), "softmax_sum")[0]
        assert word.word == CLASSES[word.label]
        exponentials = np.exp(output[0] - output[0].max(axis=1, keepdims=True))
        share = (exponentials / exponentials.sum(axis=1, keepdims=True)).mean(axis=0)
        assert word.score == pytest.approx(share.max(), abs=1e-12)
    assert words.steps_run == 14 + 3 + 14 + 2 and words.step == len(all_frames)


def test_a_word_may_be_what_its_loudest_step_says() -> None:
    raw = network()
    raw.metadata["readout"] = "max"
    graph, frames = load(raw), spikes(2, 14, 4, seed=1)
    words = Words(Stream(graph), pause=None)
    for sample in frames:
        word = next(iter([*words.push(sample, [False] * 14), *words.end()]))
        output = reference.run(graph, sample[None]).output
        assert word.label == classify(output, np.array([14]), "max")[0]
        assert word.score == pytest.approx(output.max(), abs=1e-12)


def test_a_quiet_step_inside_a_word_does_not_end_it() -> None:
    words = Words(Stream(chain()), pause=3)
    frames = np.ones((6, 4))
    said = [*words.push(frames, [False, True, True, False, True, True]), *words.end()]
    assert [(word.start_step, word.end_step) for word in said] == [(0, 4)]
    assert said[0].word == str(said[0].label) and said[0].start_ms == 0


def test_frames_as_text() -> None:
    words = Words(Stream(load(network())), pause=100)
    lines = ["1 0 1 2\n", "0,1,1,0\n", "\n", "\n", "0 0 0 0\n", "2 2 2 2\n"]
    assert [(word.start_step, word.end_step) for word in of_text(words, lines)] == [(0, 2), (3, 4)]


@pytest.fixture
def files(tmp_path: Path) -> Path:
    nir.write(tmp_path / "net.nir", network())
    nir.write(tmp_path / "ears.nir", network(MELS, heard=KNOWN))
    nir.write(tmp_path / "ahead.nir", network(look_ahead=3))
    np.savez(tmp_path / "in.npz", input=spikes(3, 9, 4), length=[9, 0, 5], label=[0, 1, 2])
    sound = np.random.default_rng(0).normal(size=16000) * 0.2
    sound[:2000] = sound[6000:12000] = 0
    soundfile.write(tmp_path / "two.wav", sound, 8000, subtype="FLOAT")
    return tmp_path


def test_samples_have_the_classes_of_a_run(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(files / "net.nir"), "--input", str(files / "in.npz"), "--json"]) == 0
    *words, figures = map(json.loads, capsys.readouterr().out.splitlines())
    with np.load(files / "in.npz") as data:
        trace = reference.run(load(files / "net.nir"), data["input"], data["length"])
    expected = classify(trace.output, trace.lengths, "softmax_sum")[[0, 2]]
    assert [word["label"] for word in words] == expected.tolist()
    assert [(word["start_ms"], word["end_ms"]) for word in words] == [(0, 90), (90, 140)]
    assert figures["words"] == 2 and figures["steps"] == 14 and figures["latency_ms"] == 0
    assert figures["accuracy"] == np.mean(expected == [0, 2])


def test_sound_in_a_file_and_on_standard_input(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = [str(files / "ears.nir"), "--json", "--pause", "200", "--input"]
    assert main([*command, f"wav:{files / 'two.wav'}"]) == 0
    out = capsys.readouterr().out
    *words, figures = map(json.loads, out.splitlines())
    assert [(word["start_ms"], word["end_ms"]) for word in words] == [(250, 750), (1500, 2000)]
    assert figures["latency_ms"] == 11  # half a window of 256 samples beyond half a hop of 80, at 8 kHz
    sound, _ = soundfile.read(files / "two.wav", dtype="float32")
    frames = KNOWN.applied(log_mel(sound, 80, sparse_filters(4000)))[25:95]  # the pause included
    output = reference.run(load(files / "ears.nir"), frames[None]).output
    assert words[0]["label"] == classify(output, np.array([70]), "softmax_sum")[0]
    with (files / "two.wav").open("rb") as file:
        run = [sys.executable, "-m", "neurotarget.sim.stream", *command, "wav:-"]
        piped = subprocess.run(run, stdin=file, capture_output=True, text=True, check=True).stdout
    assert piped.splitlines()[:2] == out.splitlines()[:2]


def test_sound_at_16_khz_and_what_lacks_its_upper_half(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    known = Standardisation(KNOWN.mean, KNOWN.scale, 8000, 512, 16_000)
    nir.write(files / "wide.nir", network(MELS, heard=known))
    sound = np.random.default_rng(0).normal(size=16_000).astype(np.float32) * 0.2
    soundfile.write(files / "one.wav", sound, 16_000, subtype="FLOAT")
    assert main([str(files / "wide.nir"), "--json", "--input", f"wav:{files / 'one.wav'}"]) == 0
    word, figures = map(json.loads, capsys.readouterr().out.splitlines())
    frames = known.applied(log_mel(sound, 160, sparse_filters(8000, MELS, 512, 16_000)))
    output = reference.run(load(files / "wide.nir"), frames[None]).output
    assert word["label"] == classify(output, np.array([100]), "softmax_sum")[0]
    assert (word["start_ms"], word["end_ms"], figures["latency_ms"]) == (0, 1000, 11)
    assert main([str(files / "wide.nir"), "--input", f"wav:{files / 'two.wav'}"]) == 2
    said = capsys.readouterr().err
    assert "wide.nir was trained on sound at 16000 Hz, this is at 8000 Hz and lacks what lies above 4000 Hz" in said


@pytest.mark.parametrize(
    ("model", "given", "said"),
    [
        ("ahead.nir", "", r"node ahead \(look_ahead\) looks 3 steps \(30 ms\) ahead"),
        ("net.nir", "1 2 3\n", "line 1 of standard input holds 3 texts; 4 numbers are expected"),
        ("net.nir", "1 2 3 x\n", "line 1 of standard input holds 4 texts; 4 numbers are expected"),
        ("net.nir", "1 2 3 4\n1 2 nan 4\n", "line 2 of standard input: finite numbers are expected"),
    ],
)
def test_what_cannot_stream_is_refused(
    model: str, given: str, said: str, files: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:

    monkeypatch.setattr(sys, "stdin", io.StringIO(given))
    assert main([str(files / model)]) == 2
    error = capsys.readouterr().err
    assert re.search(said, error) and error.count("\n") == 1


def test_sound_for_a_network_of_spikes_is_refused(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(files / "net.nir"), "--input", f"wav:{files / 'two.wav'}"]) == 2
    assert "give it frames on standard input" in capsys.readouterr().err
    assert main([str(files / "net.nir"), "--pause", "-1"]) == 2
    assert "--pause -1.0: milliseconds, at least 0" in capsys.readouterr().err
