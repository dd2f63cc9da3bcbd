"""A trained network on data from elsewhere: one WAV, one speaker's folder, labels in its own order."""

import json

import nir
import numpy as np
import pytest
import torch
from neurotarget.conversion import to_nir
from neurotarget.model import evaluate
from neurotarget.model.spikescr import SpikeSCR, SpikeSCRConfig
from neurotarget.model.training import checkpoint
from neurotarget.sim import reference, run
from neurotarget.sim.graph import load
from neurotarget.sim.inputs import open_input
from neurotarget.sim.trace import classify

from neurotarget.data import open_dataset
from tests.recordings import noise, write_wav

WORDS = ("no", "wow", "yes")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A data set in the layout of Speech Commands, and an untrained network that carries its numbers."""
    path = tmp_path_factory.mktemp("speech")
    for index, word in enumerate(WORDS):
        for speaker in range(20):
            sound = noise(100 * index + speaker, 3200) * (index + 1) // 3
            write_wav(path / "all" / word / f"{speaker * 2654435761 % 2**32:08x}_nohash_0.wav", sound, 16_000)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NEUROTARGET_CACHE", str(path / "cache"))
        dataset = open_dataset(f"gsc:{path / 'all'}")
        torch.manual_seed(0)
        config = SpikeSCRConfig.preset("tiny")
        config = type(config)(**{**vars(config), "features": 140, "classes": 3})
        saved = checkpoint.Checkpoint(
            config=config,
            state=SpikeSCR(config).state_dict(),
            metrics={},
            data=f"gsc:{path / 'all'}",
            classes=WORDS,
            step_seconds=dataset.step_seconds,
            versions=checkpoint.versions(),
            standardisation=dataset.standardisation,
        )
        checkpoint.save(path / "ckpt.pt", saved)
        assert all(parity.holds for _, parity in to_nir.convert_checkpoint(path / "ckpt.pt", path / "ckpt.nir"))
        speaker = dataset.split("test").keys[0].partition("/")[2]
        for word in ("wow", "yes"):  # one speaker, who said two of the three words
            (path / "one" / word).mkdir(parents=True)
            (path / "one" / word / speaker).write_bytes((path / "all" / word / speaker).read_bytes())
        yield path


def evaluated(capsys, *arguments):
    assert evaluate.main([*map(str, arguments), "--json"]) == 0
    output = capsys.readouterr()
    return json.loads(output.out), output.err


def test_a_checkpoint_keeps_the_numbers(folder):
    loaded = checkpoint.load(folder / "ckpt.pt").standardisation
    assert loaded.identity == open_dataset(f"gsc:{folder / 'all'}").standardisation.identity
    content = checkpoint.load_content(folder / "ckpt.pt")
    content["standardisation"]["mean"][0] = float("nan")
    torch.save(content, folder / "nan.pt")
    with pytest.raises(checkpoint.CheckpointError, match=r"nan\.pt: standardisation: mean is not finite numbers"):
        checkpoint.load(folder / "nan.pt")


def test_the_file_says_classes_step_and_numbers(folder):
    graph, loaded = load(folder / "ckpt.nir"), checkpoint.load(folder / "ckpt.pt")
    assert (graph.classes, graph.dt, graph.dt_is_default) == (WORDS, 0.01, False)
    assert graph.standardisation.identity == loaded.standardisation.identity
    raw = nir.read(folder / "ckpt.nir")
    del raw.metadata["input_scale"]
    with pytest.raises(Exception, match="mean, scale, fmax_hz are expected"):
        load(raw)


def test_one_word_is_heard_as_in_the_whole_data_set(folder, capsys):
    """In PyTorch, in the reference simulator, alone and among others."""
    test = open_dataset(f"gsc:{folder / 'all'}").split("test")
    graph = load(folder / "ckpt.nir")
    trace = reference.run(graph, test.frames, test.lengths)
    expected = [WORDS[label] for label in classify(trace.output, trace.lengths, graph.readout)]
    heard, errors = evaluated(capsys, folder / "ckpt.pt", "--data", f"wav:{folder / 'all'}")
    assert [heard["predicted"][key] for key in test.keys] == expected and not errors
    key = test.keys[0]
    heard, _ = evaluated(capsys, folder / "ckpt.pt", "--data", f"wav:{folder / 'all' / key}")
    assert heard["predicted"] == {key.partition("/")[2]: expected[0]}
    assert run.main([str(folder / "ckpt.nir"), "--input", f"wav:{folder / 'all' / key}", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["samples"], result["accuracy"]) == (1, None)
    assert [WORDS[label] for label in result["predicted"]] == expected[:1]


def test_one_speaker_with_some_of_the_words(folder, capsys):
    graph = load(folder / "ckpt.nir")
    data = open_input(f"gsc:{folder / 'one'}", graph)
    assert data.labels.tolist() == [1, 2]  # of the network; 0 and 1 in the folder
    whole = open_input(f"gsc:{folder / 'all'}", graph)
    trace = reference.run(graph, data.frames, data.lengths, data.labels)
    right = float(np.mean(classify(trace.output, trace.lengths, graph.readout) == data.labels))
    result, _ = evaluated(capsys, folder / "ckpt.pt", "--data", f"gsc:{folder / 'one'}")
    assert (result["samples"], result["accuracy"]) == (2, right)
    assert whole.labels.tolist() == open_dataset(f"gsc:{folder / 'all'}").split("test").labels.tolist()


def test_words_that_the_network_does_not_know_are_named(folder, tmp_path, capsys):
    for speaker in range(20):
        write_wav(tmp_path / "zebra" / f"{speaker:08x}_nohash_0.wav", noise(speaker, 1600), 16_000)
        write_wav(tmp_path / "wow" / f"{speaker:08x}_nohash_0.wav", noise(speaker, 1600), 16_000)
    assert evaluate.main([str(folder / "ckpt.pt"), "--data", f"gsc:{tmp_path}"]) == 2
    assert "1 of 2 words of the data, 'zebra' the first, are none of the network's 3: no, wow, yes" in (
        capsys.readouterr().err
    )


def test_what_differs_from_the_training_is_said(folder, capsys):
    _, errors = evaluated(capsys, folder / "ckpt.pt", "--data", f"gsc:{folder / 'all'}?steps=40")
    assert errors.startswith("note: gsc:") and "has steps of 25 ms" in errors and "trained on steps of 10 ms" in errors
    content = checkpoint.load_content(folder / "ckpt.pt")
    del content["standardisation"]
    torch.save(content, folder / "old.pt")
    _, errors = evaluated(capsys, folder / "old.pt", "--data", f"gsc:{folder / 'all'}")
    assert "old.pt does not say how its log-mel frames were standardised" in errors
    assert evaluate.main([str(folder / "old.pt"), "--data", f"wav:{folder / 'all'}"]) == 2
    assert "does not say how its log-mel frames were standardised" in capsys.readouterr().err
