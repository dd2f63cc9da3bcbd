"""Speech Commands' 35 words in a small folder, from the files to a trained network, with all that training offers."""

import numpy as np
import pytest
from neurotarget.model.training import checkpoint

from neurotarget.data import DataError, gsc, open_dataset
from tests.model.training_runs import rows_of, run
from tests.recordings import noise, write_wav

SPEAKERS = ("00000000", "11111111", "22222222", "33333333")
SHARES = "validation=30&test=30"  # of four speakers one each
CONFIG = f"""
[data]
spec = "gsc:$NEUROTARGET_WORDS?words=35&n_mels=20&n_fft=512&steps=50&{SHARES}"
[model]
preset = "tiny"
readout = "max"
[training]
epochs = 2
batch = 16
warmup_epochs = 0
learning_rate = 0.02
batches = "cut"
average = "exponential"
average_epochs = 1
label_smoothing = 0.1
[augmentation]
vocal_tract = 0.1
speed = 0.1
shift = 2
background = 1.0
level = 0.1
time_jitter = 0.5
feature_jitter = 0.5
event_drop = 3
time_mask = 0.1
feature_mask = 3
cut_mix = 0.5
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("gsc")
    for number, word in enumerate(gsc.WORDS["35"]):
        tone = 6000 * np.sin(2 * np.pi * (200 + 90 * number) * np.arange(4000) / 16_000)
        for speaker, name in enumerate(SPEAKERS):
            write_wav(root / word / f"{name}_nohash_0.wav", tone + noise(100 * number + speaker, 4000) / 9, 16_000)
    write_wav(root / "_background_noise_" / "hum.wav", noise(0, 16_000), 16_000)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NEUROTARGET_CACHE", str(root / "cache"))
        patch.setenv("NEUROTARGET_WORDS", str(root))
        yield root


def test_all_words_or_ten_of_the_same_folder(folder, tmp_path):
    assert (len(gsc.WORDS["35"]), len(set(gsc.WORDS["35"]))) == (35, 35)
    every, ten = (open_dataset(f"gsc:{folder}?words={words}&{SHARES}") for words in (35, 10))
    assert every.classes == open_dataset(f"gsc:{folder}?{SHARES}").classes == gsc.WORDS["35"]
    assert ten.classes == gsc.TEN_WORDS
    assert sum(len(split.labels) for split in every.splits.values()) == 35 * len(SPEAKERS)
    for word in gsc.TEN_WORDS:
        (tmp_path / word).symlink_to(folder / word)
    with pytest.raises(DataError, match="recordings of 10 words, none of backward, bed, bird"):
        open_dataset(f"gsc:{tmp_path}?words=35")


def test_a_network_learns_them_with_everything_on_and_says_what_it_heard(folder, tmp_path):
    (tmp_path / "sound.toml").write_text(CONFIG)
    assert run(tmp_path / "sound.toml", tmp_path / "run") == 0
    losses = [float(row["train_loss"]) for row in rows_of(tmp_path / "run")]
    assert losses[1] < losses[0]
    saved = checkpoint.load(tmp_path / "run" / "ckpt.pt")
    assert saved.classes == gsc.WORDS["35"] and (saved.config.features, saved.config.readout) == (20, "max")
    assert (saved.standardisation.fft_samples, len(saved.standardisation.mean)) == (512, 20)
