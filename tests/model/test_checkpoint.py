import dataclasses
import errno
import io
import os
import pickle
import subprocess
import sys
import zipfile

import pytest
import torch
from neurotarget.model.spikescr import SpikeSCR, SpikeSCRConfig
from neurotarget.model.training import checkpoint
from neurotarget.model.training.checkpoint import Checkpoint, CheckpointError

from neurotarget.files import write_text


@pytest.fixture
def trained():
    torch.manual_seed(3)
    config = SpikeSCRConfig.preset("tiny", tau=1.5, causal=True)
    return Checkpoint(
        config=config,
        state=SpikeSCR(config).state_dict(),
        metrics={"validation_accuracy": 0.5},
        data="synth?steps=40",
        classes=("a", "b", "c", "d"),
        step_seconds=0.025,
        versions=checkpoint.versions(),
    )


def content_of(path):
    return torch.load(path, weights_only=True)


def test_what_is_saved_comes_back(tmp_path, trained):
    checkpoint.save(tmp_path / "ckpt.pt", trained)
    loaded = checkpoint.load(tmp_path / "ckpt.pt")
    for field in dataclasses.fields(Checkpoint):
        if field.name != "state":
            assert getattr(loaded, field.name) == getattr(trained, field.name), field.name
    assert list(loaded.state) == list(trained.state)
    assert all(torch.equal(loaded.state[name], trained.state[name]) for name in trained.state)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["ckpt.pt"]


def test_the_loaded_network_computes_the_same_and_does_not_train(tmp_path, trained):
    checkpoint.save(tmp_path / "ckpt.pt", trained)
    frames = torch.poisson(torch.full((2, 9, 12), 2.0))
    network = checkpoint.load(tmp_path / "ckpt.pt").model()
    assert not network.training
    assert torch.equal(network(frames), trained.model()(frames))


def test_building_a_network_draws_no_random_number(trained):
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    trained.model()
    assert torch.equal(torch.rand(1), expected)


def test_a_checkpoint_holds_nothing_that_runs(tmp_path, trained):
    checkpoint.save(tmp_path / "ckpt.pt", trained)
    assert set(content_of(tmp_path / "ckpt.pt")) == set(checkpoint.REQUIRED)  # weights_only=True opens it


def full_disk(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_leaves_the_old_file_and_no_other(tmp_path, trained, monkeypatch):
    path = tmp_path / "ckpt.pt"
    checkpoint.save(path, trained)
    before = path.read_bytes()
    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space left"):
        checkpoint.save(path, dataclasses.replace(trained, data="synth?steps=100"))
    assert path.read_bytes() == before
    assert sorted(file.name for file in tmp_path.iterdir()) == ["ckpt.pt"]


def test_a_file_appears_by_rename(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    write_text(path, "old")
    seen = []
    monkeypatch.setattr(os, "fsync", lambda _: seen.append(path.read_text()))
    write_text(path, "new")
    assert seen == ["old"] and path.read_text() == "new"


def test_a_missing_file_and_a_folder_are_refused_by_name(tmp_path):
    with pytest.raises(CheckpointError, match=r"nowhere\.pt: no such file"):
        checkpoint.load(tmp_path / "nowhere.pt")
    with pytest.raises(CheckpointError, match="this is a folder, not a checkpoint"):
        checkpoint.load(tmp_path)


class Runs:
    def __reduce__(self):
        return os.mkdir, ("hostile",)


def flipped(whole):
    """One byte of the largest tensor is another: elsewhere it might be the padding between two, which says nothing."""
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        largest = archive.read(max(archive.infolist(), key=lambda entry: entry.file_size))
    changed = bytearray(whole)
    changed[whole.index(largest) + len(largest) // 2] ^= 0xFF
    return bytes(changed)


@pytest.mark.parametrize(
    "damage",
    [
        lambda whole: b"",
        lambda whole: b"some text",
        lambda whole: whole[: len(whole) // 2],
        lambda whole: whole[:-1],
        flipped,
        lambda whole: pickle.dumps({"format": 1}),
    ],
    ids=["empty", "text", "half", "last byte", "flipped byte", "bare pickle"],
)
def test_a_damaged_file_is_refused_by_name(tmp_path, trained, damage):
    checkpoint.save(tmp_path / "ckpt.pt", trained)
    path = tmp_path / "damaged.pt"
    path.write_bytes(damage((tmp_path / "ckpt.pt").read_bytes()))
    with pytest.raises(
        CheckpointError, match=r"damaged\.pt: (not a checkpoint, or damaged: .|this is an empty file, not a checkpoint)"
    ):
        checkpoint.load(path)


def test_code_in_a_file_does_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"state": Runs()}, "hostile.pt")
    with pytest.raises(CheckpointError, match=r"hostile\.pt: not a checkpoint: it holds objects"):
        checkpoint.load("hostile.pt")
    assert not (tmp_path / "hostile").exists()


def test_a_compressed_archive_is_refused_before_it_is_unpacked(tmp_path):
    with zipfile.ZipFile(tmp_path / "bomb.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb/data.pkl", bytes(1_000_000))
    with pytest.raises(CheckpointError, match="compressed"):
        checkpoint.load(tmp_path / "bomb.pt")


def test_foreign_files_are_refused(tmp_path):
    torch.save(torch.zeros(3), tmp_path / "tensor.pt")
    torch.save({"weight": torch.zeros(3)}, tmp_path / "foreign.pt")
    with pytest.raises(CheckpointError, match="holds a Tensor, not a dictionary"):
        checkpoint.load(tmp_path / "tensor.pt")
    with pytest.raises(CheckpointError, match="lacks format, network, config, state"):
        checkpoint.load(tmp_path / "foreign.pt")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "'SpikeSCR' in format 2; this version reads SpikeSCR, DelaysNetwork in format 1"),
        ({"network": "Other"}, "'Other' in format 1"),
        ({"config": {"width": 16, "colour": 3}}, "configuration is not valid: .*colour"),
        ({"config": {"width": 17}}, "configuration is not valid: width 17"),
        ({"config": {"width": 16.0}}, "configuration is not valid: width = 16.0; a int is expected"),
        ({"config": {"tau": float("nan")}}, "configuration is not valid: tau = nan; it must exceed 1 step"),
        ({"config": {"blocks": 10**9}}, "cannot fill 1000000000 blocks"),
        ({"config": {"width": 10**9, "heads": 5 * 10**8}}, r"largest parameter has \d+ values; .* is 1000000000 wide"),
        ({"state": [1]}, "state is a list; expected a dict"),
        ({"classes": ["a", "b"]}, "names 2 classes; its network has 20"),
        ({"step_seconds": 0.0}, "step_seconds is 0.0"),
        ({"step_seconds": "x"}, "step_seconds is a str"),
        ({"data": 3}, "data is a int"),
    ],
)
def test_what_does_not_fit_together_is_refused(tmp_path, change, message):
    config = SpikeSCRConfig()
    good = {
        "format": 1,
        "network": "SpikeSCR",
        "config": dataclasses.asdict(config),
        "state": SpikeSCR(config).state_dict(),
        "metrics": {},
        "data": "synth",
        "classes": [str(index) for index in range(20)],
        "step_seconds": 0.01,
        "versions": {},
    }
    path = tmp_path / "misfit.pt"
    torch.save({**good, **change}, path)
    with pytest.raises(CheckpointError, match=rf"misfit\.pt: .*{message}"):
        checkpoint.load(path)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        (
            "head.weight",
            torch.zeros(3, 16),
            r"head.weight is torch.float32 \(3, 16\), expected torch.float32 \(4, 16\)",
        ),
        ("head.weight", torch.full((4, 16), float("nan")), "head.weight holds 64 NaN or infinite values"),
        ("head.weight", torch.zeros(4, 16, dtype=torch.int64), "head.weight is torch.int64"),
        ("head.weight", torch.zeros(4, 16).to_sparse(), "head.weight is sparse, quantised or without data"),
        ("head.weight", torch.zeros(4, 16, device="meta"), "head.weight is sparse, quantised or without data"),
        ("head.weight", torch.zeros(1, 1).expand(4, 16), "head.weight is sparse, quantised or without data"),
        ("head.weight", "text", "head.weight is a str; expected a tensor"),
        ("head.weight", None, "head.weight is missing from the file"),
        ("other.weight", torch.zeros(1), "other.weight has no place in a network"),
        (7, torch.zeros(1), "parameter 7 has no place in a network"),
    ],
)
def test_a_parameter_that_does_not_fit_is_named(tmp_path, trained, name, value, message):
    path = tmp_path / "ckpt.pt"
    checkpoint.save(path, trained)
    content = content_of(path)
    content["state"] = {**content["state"], name: value}
    if value is None:
        del content["state"][name]
    torch.save(content, path)
    with pytest.raises(CheckpointError, match=message):
        checkpoint.load(path)


def test_reading_one_loads_no_compiler(tmp_path):
    """The shapes of its parameters are checked on the meta device, where some operations of torch would load it."""
    config = SpikeSCRConfig.preset("tiny")
    network = SpikeSCR(config)
    path = tmp_path / "ckpt.pt"
    classes = tuple(map(str, range(config.classes)))
    checkpoint.save(path, checkpoint.Checkpoint(config, network.state_dict(), {}, "synth", classes, 0.01, {}, None))
    code = (
        "import sys; from neurotarget.model.training import checkpoint; "
        f"checkpoint.load({str(path)!r}); sys.exit('torch._dynamo' in sys.modules or 'sympy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
