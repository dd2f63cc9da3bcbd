"""A tiny set of spoken words in SHD's layout, made here, that a tiny network learns in a few epochs."""

from __future__ import annotations

import pytest

from tests.model.training_runs import EPOCHS
from tests.recordings import write_words


@pytest.fixture(scope="session")
def made_words(tmp_path_factory):
    folder = tmp_path_factory.mktemp("words")
    write_words(folder / "shd_train.h5", 1, [1] * 32 + [2] * 12)  # speaker 2 becomes the validation split
    write_words(folder / "shd_test.h5", 2, [3] * 12)
    return folder


@pytest.fixture(scope="module")
def words(made_words):
    """SPEC of the set: 32 utterances to train on, 12 each to validate and to test; about 30 steps at 100 per second."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NEUROTARGET_CACHE", str(made_words / "cache"))
        yield f"shd:{made_words}"


@pytest.fixture(scope="module")
def config(tmp_path_factory, words):
    """Configuration of one network."""
    path = tmp_path_factory.mktemp("config") / "tiny.toml"
    path.write_text(
        f'[data]\nspec = "{words}?steps=50"\n[model]\npreset = "tiny"\n'
        f"[training]\nepochs = {EPOCHS}\nbatch = 8\nlearning_rate = 0.02\nwarmup_epochs = 1\n"
        "[augmentation]\ntime_mask = 0.2\nfeature_mask = 10\nshift = 1\n"
    )
    return path


@pytest.fixture(scope="module")
def chain_file(tmp_path_factory, words):
    """Configuration of a chain of two stages."""
    path = tmp_path_factory.mktemp("config") / "chain.toml"
    path.write_text(
        f'[data]\nspec = "{words}"\n[model]\npreset = "tiny"\n'
        "[training]\nepochs = 3\nbatch = 8\nlearning_rate = 0.02\nwarmup_epochs = 1\n"
        "[augmentation]\ntime_mask = 0.2\nfeature_mask = 10\n"
        "[[stage]]\nsteps = 50\n[[stage]]\nsteps = 20\nepochs = 2\nlearning_rate = 0.005\ntemperature = 2\n"
    )
    return path
