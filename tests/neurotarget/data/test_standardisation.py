"""A network's own numbers standardise what it hears: one word, one speaker's folder, another data set."""

import dataclasses
import json

import numpy as np
import pytest
import soundfile
from neurotarget.sim.graph import dialect

from neurotarget.data import DataError, Standardisation, logmel, open_dataset, open_recordings, wav
from tests.recordings import noise, write_wav


@pytest.fixture
def trained(gsc_folder):
    return open_dataset(f"gsc:{gsc_folder}")


def test_the_train_splits_own_numbers(gsc_folder, trained):
    filters = logmel.mel_filters(4000)
    paths = [gsc_folder / key for key in trained.split("train").keys]
    decibels = np.concatenate([logmel.log_mel(wav.read_samples(path, (16_000,)), 80, filters) for path in paths])
    used = filters.any(axis=0)
    np.testing.assert_allclose(trained.standardisation.mean, decibels.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(trained.standardisation.scale[used], 1 / decibels.std(axis=0)[used], rtol=1e-4)
    assert not trained.standardisation.scale[~used].any()
    assert trained.standardisation.fmax_hz == 4000
    assert open_dataset(f"gsc:{gsc_folder}?fmax=14000").standardisation.fmax_hz == 14_000


def test_its_own_numbers_given_are_the_same_frames_from_the_same_folder(gsc_folder, trained, cache_folder):
    before = sorted(cache_folder.iterdir())
    again = open_dataset(f"gsc:{gsc_folder}", trained.standardisation)
    assert sorted(cache_folder.iterdir()) == before
    assert again.split("train").frames.tobytes() == trained.split("train").frames.tobytes()


def test_one_speakers_folder_and_one_word_have_the_frames_of_the_whole(tmp_path, gsc_folder, trained):
    """Alone, the folder would be brought to mean 0 by its own mean, and be another input."""
    test = trained.split("test")
    key = test.keys[0]
    speaker = key.partition("/")[2]
    for word in ("yes", "no", "wow"):
        (tmp_path / "one" / word).mkdir(parents=True)
        (tmp_path / "one" / word / speaker).write_bytes((gsc_folder / word / speaker).read_bytes())
    alone = open_dataset(f"gsc:{tmp_path / 'one'}", trained.standardisation)
    assert alone.classes == trained.classes
    assert alone.split("test").keys == tuple(f"{word}/{speaker}" for word in ("no", "wow", "yes"))
    assert alone.split("test").labels.tolist() == [0, 1, 2]
    with pytest.raises(DataError, match="no recording for the train split; there are some for test"):
        alone.split("train")
    with pytest.raises(DataError, match="expected three speakers or more"):
        open_dataset(f"gsc:{tmp_path / 'one'}")
    folder = open_recordings(f"wav:{tmp_path / 'one'}", trained.standardisation)
    single = open_recordings(f"wav:{gsc_folder / key}", trained.standardisation)
    assert folder.keys == alone.split("test").keys and single.keys == (speaker,)
    assert (folder.step_seconds, single.step_seconds) == (0.01, 0.01)
    for frames, length in (
        (folder.frames[folder.keys.index(key)], folder.lengths[folder.keys.index(key)]),
        (alone.split("test").frames[folder.keys.index(key)], test.lengths[0]),
        (single.frames[0], single.lengths[0]),
    ):
        assert length == test.lengths[0]
        np.testing.assert_array_equal(frames[:length], test.frames[0, :length])


def test_one_speaker_of_the_digits(tmp_path, fsdd_folder):
    trained = open_dataset(f"fsdd:{fsdd_folder}")
    for path in (fsdd_folder / "recordings").glob("*_theo_*"):
        write_wav(tmp_path / "theo" / path.name, noise(int(path.name[0]), 2000), 8_000)
    alone = open_dataset(f"fsdd:{tmp_path / 'theo'}", trained.standardisation).split("test")
    assert alone.keys == trained.split("test").keys
    with pytest.raises(DataError, match=r"recordings of 1 speaker.s.; expected three"):
        open_dataset(f"fsdd:{tmp_path / 'theo'}")


def test_recordings_at_both_rates_and_what_is_none(tmp_path, trained):
    tone = np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000) * 9000
    write_wav(tmp_path / "rates" / "b" / "high.wav", tone, 16_000)
    write_wav(tmp_path / "rates" / "a.WAV", tone[::2], 8_000)
    (tmp_path / "rates" / "._a.WAV").write_bytes(b"no sound")
    found = open_recordings(f"wav:{tmp_path / 'rates'}", trained.standardisation)
    assert found.keys == ("a.WAV", "b/high.wav") and found.lengths.tolist() == [100, 100]
    peak = [int(frame[50].argmax()) for frame in found.frames * (trained.standardisation.scale > 0)]
    assert peak[0] == peak[1]
    coarse = open_recordings(f"wav:{tmp_path / 'rates'}?steps=40", trained.standardisation)
    assert coarse.frames.shape[1] == 40 and coarse.step_seconds == 0.025
    (tmp_path / "empty").mkdir()
    write_wav(tmp_path / "odd.wav", tone, 44_100)
    for text, said in (
        (f"wav:{tmp_path / 'empty'}", "no .wav file in this folder"),
        (f"wav:{tmp_path / 'nowhere.wav'}", "nowhere.wav: no such file"),
        (f"wav:{tmp_path / 'odd.wav'}", "44100 Hz; expected 8000 Hz or 16000 Hz: resample it"),
        (f"wav:{tmp_path / 'rates'}?fmax=14000", "trained on 140 up to 4000 Hz: write fmax=4000"),
        (f"wav:{tmp_path / 'rates'}?words=10", "unknown option"),
        ("synth", "expected wav:PATH"),
    ):
        with pytest.raises(DataError, match=said):
            open_recordings(text, trained.standardisation)
    with pytest.raises(DataError, match="does not say how its log-mel frames were standardised"):
        open_recordings(f"wav:{tmp_path / 'rates'}", None)


def test_other_filters_are_refused(gsc_folder, trained):
    with pytest.raises(DataError, match="filters up to 14000 Hz; the network was trained on 140 up to 4000 Hz"):
        open_dataset(f"gsc:{gsc_folder}?fmax=14000", trained.standardisation)


def test_another_front_end_is_the_networks_own(gsc_folder, trained):
    """Of 40 filters on an FFT of 512, and whoever hears with the network has to say so."""
    text = f"gsc:{gsc_folder}?n_mels=40&n_fft=512"
    other = open_dataset(text)
    known, split = other.standardisation, other.split("train")
    assert (other.features, known.fft_samples, trained.standardisation.fft_samples) == (40, 512, 256)
    filters = logmel.mel_filters(4000, 40, 512)
    sound = wav.read_samples(gsc_folder / split.keys[0], (16_000,))
    expected = known.applied(logmel.log_mel(sound, 80, filters))
    np.testing.assert_allclose(split.frames[0, : split.lengths[0]], expected, atol=1e-5)
    again = Standardisation.of(json.loads(json.dumps(known.as_dict())))
    assert again.fft_samples == 512 and again.identity == known.identity
    assert dialect.standardisation_of(dialect.data_metadata((), known)).identity == known.identity
    assert "input_fft_samples" not in dialect.data_metadata((), trained.standardisation)
    found = open_recordings(f"wav:{gsc_folder / split.keys[0]}?n_mels=40&n_fft=512", known)
    np.testing.assert_array_equal(found.frames[0], split.frames[0, : split.lengths[0]])
    with pytest.raises(DataError, match=r"140 up to 4000 Hz, FFT of 256: write n_mels=140&n_fft=256"):
        open_dataset(text, trained.standardisation)
    with pytest.raises(DataError, match=r"trained on 40 up to 4000 Hz, FFT of 512: write n_mels=40&n_fft=512"):
        open_dataset(f"gsc:{gsc_folder}", known)
    same = dataclasses.replace(known, fft_samples=256)
    assert same.identity != known.identity
    with pytest.raises(DataError, match="FFT of 256: write n_fft=256"):
        open_dataset(text, same)


def test_sound_at_16_khz_is_heard_up_to_8_khz(gsc_folder, fsdd_folder, trained):
    """The frames of a file's own samples, with a window as long in seconds; whoever hears has to say so."""
    text = f"gsc:{gsc_folder}?rate=16000"
    wide = open_dataset(text)
    known, split = wide.standardisation, wide.split("train")
    assert (known.rate_hz, known.fft_samples, known.fmax_hz, wide.step_seconds) == (16_000, 512, 8_000, 0.01)
    sound, rate_hz = soundfile.read(gsc_folder / split.keys[0], dtype="float32")
    assert rate_hz == 16_000
    decibels = logmel.log_mel(sound, 160, logmel.mel_filters(8_000, 140, 512, 16_000))
    np.testing.assert_allclose(split.frames[0, : split.lengths[0]], known.applied(decibels), atol=1e-5)
    narrow = open_dataset(f"gsc:{gsc_folder}").split("train")
    np.testing.assert_array_equal(split.lengths, narrow.lengths)
    assert split.keys == narrow.keys
    again = Standardisation.of(json.loads(json.dumps(known.as_dict())))
    assert again.rate_hz == 16_000 and again.identity == known.identity
    carried = dialect.data_metadata((), known)
    assert dialect.standardisation_of(carried).identity == known.identity and carried["input_rate_hz"] == 16_000
    assert dataclasses.replace(known, rate_hz=8_000).identity != known.identity
    assert "input_rate_hz" not in dialect.data_metadata((), trained.standardisation)
    found = open_recordings(f"wav:{gsc_folder / split.keys[0]}?rate=16000", known)
    np.testing.assert_array_equal(found.frames[0], split.frames[0, : split.lengths[0]])
    with pytest.raises(DataError, match=r"FFT of 512, sound at 16000 Hz: write fmax=8000&n_fft=512&rate=16000"):
        open_dataset(f"gsc:{gsc_folder}", known)
    with pytest.raises(DataError, match="sound at 8000 Hz: write fmax=4000&n_fft=256&rate=8000"):
        open_dataset(text, trained.standardisation)
    with pytest.raises(DataError, match=r"8000 Hz; expected 16000 Hz: resample it"):
        open_recordings(f"wav:{next(fsdd_folder.rglob('*.wav'))}?rate=16000", known)


def test_a_tone_above_4_khz_is_heard_at_16_khz_only():
    tone = np.sin(2 * np.pi * 6_000 * np.arange(16_000) / 16_000).astype(np.float32)
    filters = logmel.mel_filters(8_000, 140, 512, 16_000)
    loudest = logmel.log_mel(tone, 160, filters)[50].argmax()
    assert abs(logmel.centres_hz(8_000, 140)[loudest] - 6_000) < 16_000 / 512
    assert not logmel.mel_filters(8_000, 140, 256, 8_000)[:, loudest].any()


def test_as_a_file_holds_it(trained):
    again = Standardisation.of(json.loads(json.dumps(trained.standardisation.as_dict())))
    assert again.identity == trained.standardisation.identity
    assert (again.mean.tobytes(), again.scale.tobytes()) == (
        trained.standardisation.mean.tobytes(),
        trained.standardisation.scale.tobytes(),
    )


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([1], "mean, scale, fmax_hz are expected"),
        ({"mean": [0.0]}, "mean, scale, fmax_hz are expected"),
        ({"mean": [0.0], "scale": ["x"], "fmax_hz": 4000}, "scale is not finite numbers"),
        ({"mean": [float("nan")], "scale": [1.0], "fmax_hz": 4000}, "mean is not finite numbers"),
        ({"mean": [0.0], "scale": [1.0, 2.0], "fmax_hz": 4000}, r"shapes \(1,\), \(2,\), \(\)"),
        ({"mean": [0.0], "scale": [1.0], "fmax_hz": [4000]}, r"shapes \(1,\), \(1,\), \(1,\)"),
        ({"mean": [0.0], "scale": [1.0], "fmax_hz": 0.5}, "fmax_hz is 0.5"),
        ({"mean": [0.0], "scale": [1.0], "fmax_hz": 4000, "fft_samples": 300}, "fft_samples is 300"),
        ({"mean": [0.0], "scale": [1.0], "fmax_hz": 4000, "fft_samples": [256, 512]}, "fft_samples is"),
        ({"mean": [0.0], "scale": [1.0], "fmax_hz": 4000, "fft_samples": "long"}, "fft_samples is long"),
    ],
)
def test_what_is_none_is_said(values, words):
    with pytest.raises(ValueError, match=words):
        Standardisation.of(values)


def test_a_damaged_cache_says_which_folder_to_delete(gsc_folder, trained, cache_folder):
    path = next(cache_folder.glob("*/standardisation.json"))
    path.write_text("{}")
    with pytest.raises(DataError, match=r"standardisation.json: damaged .*; delete this folder"):
        open_dataset(f"gsc:{gsc_folder}")
