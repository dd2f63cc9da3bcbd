import builtins

import h5py
import numpy as np
import pytest

from neurotarget.data import DataError, ear, open_dataset, synth


def tone(hertz, seconds=0.3):
    return np.sin(2 * np.pi * hertz * np.arange(int(seconds * 22_050)) / 22_050)


def test_channels_span_hearing_from_high_to_low():
    centres = ear.centre_frequencies()
    assert centres.shape == (700,)
    assert (np.diff(centres) < 0).all()
    # sqrt(1e9 / 0.05) / 2 pi = 22508 Hz at the base; a quarter millimetre in: * exp(-1.5 * 0.0025)
    assert centres[0] == pytest.approx(22507.9 * np.exp(-1.5 * 0.0025), rel=1e-4)
    assert centres[-1] == pytest.approx(22507.9 * np.exp(-1.5 * 3.4975), rel=1e-4)


@pytest.mark.parametrize("hertz", [200, 1000, 3000])
def test_a_tone_moves_its_own_place_most(hertz):
    moved = ear.displacement(tone(hertz))[100:500].mean(axis=0) / np.minimum(1, 1000 / ear.centre_frequencies())
    assert ear.centre_frequencies()[moved.argmax()] == pytest.approx(hertz, rel=0.03)
    # A sine of amplitude 1 in the middle of a filter of gain 1, half-wave rectified, averages 1 / pi.
    assert moved.max() == pytest.approx(1 / np.pi, rel=0.05)  # a cycle of 200 Hz has only ten samples


def test_hair_cells_rest_then_adapt():
    stimulus = np.zeros((1200, 2), np.float32)
    stimulus[200:, 1] = 100
    cleft, at_rest = ear.hair_cells(stimulus)
    np.testing.assert_allclose(cleft[:, 0], at_rest, rtol=1e-3)  # silence changes nothing
    onset, settled = cleft[200, 1], cleft[-1, 1]
    assert onset > 2 * settled > 2 * at_rest
    # Resting content by hand: k q = y (1 - q) + r c, c = k q / (l + r), with k = g A / (A + B) = 32.79 / s.
    k = (1 - np.exp(-2000 * 5 / 305 / 2000)) * 2000
    q = 5.05 / (5.05 + k * 2500 / 9080)
    assert at_rest == pytest.approx(k * q / 9080, rel=1e-5)


def test_bushy_cells_are_silent_at_rest_and_fire_at_a_known_step():
    at_rest = 0.001
    cleft = np.full((100, 2), at_rest, np.float32)
    cleft[:, 1] = 0.002  # settles at 1.6, from 0.8: crosses 1 when 0.8 * exp(-t / 20 steps) < 0.6, t = 5.75
    spikes = ear.bushy_cells(cleft, at_rest)
    assert not spikes[:, 0].any()
    assert spikes[:, 1].nonzero()[0][0] == 5
    # From 0 then: exp(-t / 20) < 0.6 / 1.6, t = 19.6 -> every 20 steps.
    assert np.diff(spikes[:, 1].nonzero()[0]).tolist() == [20] * 4


def test_times_and_units_of_a_heard_tone():
    times, units = ear.hear(tone(500))
    assert times.dtype == np.float32
    assert units.dtype == np.uint16
    assert (np.diff(times) >= 0).all()
    assert 0 <= times[0] < times[-1] < 0.45
    assert abs(np.median(ear.centre_frequencies()[units]) - 500) < 100
    louder = ear.hear(tone(500), level_decibels=6)
    assert len(louder[0]) > len(times)
    with pytest.raises(ValueError, match="silent"):
        ear.hear(np.zeros(100))


def test_voices_are_in_one_split_only_for_every_number_of_voices():
    every = [voice for voices in synth.VOICES.values() for voice in voices]
    assert len(every) == len(set(every)) == synth.ALL_VOICES
    for count in range(3, synth.ALL_VOICES + 1):
        chosen = synth.choose_voices(count)
        assert sum(map(len, chosen.values())) == count
        assert all(chosen.values())
        assert all(set(voices) <= set(synth.VOICES[split]) for split, voices in chosen.items())


def test_relatives_by_name_are_in_one_split():
    split_of = {}
    for split, voices in synth.VOICES.items():
        for voice in voices:
            family = voice.lower().rstrip("0123456789").removesuffix("robot")
            assert split_of.setdefault(family, split) == split, voice


def test_a_missing_package_says_how_to_install_it(monkeypatch):
    original = builtins.__import__

    def without(name, *arguments, **keywords):
        if name == "espeakng_loader":
            raise ImportError("No module named 'espeakng_loader'")
        return original(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(DataError, match=r"pip install 'neurotarget\[demo\]'"):
        open_dataset("synth?voices=3")


class TestSpeech:
    @pytest.fixture(autouse=True)
    def _needs_espeak(self):
        pytest.importorskip("espeakng_loader", reason="speech needs the extra demo")

    def test_the_same_word_twice_with_others_between(self):
        first = synth.speak("seven", "en-us+klatt", 150, 50)  # klatt draws noise from rand()
        synth.speak("acht", "de+f1", 120, 60)
        again = synth.speak("seven", "en-us+klatt", 150, 50)
        assert first.dtype == np.int16
        np.testing.assert_array_equal(first, again)
        assert 0.2 < len(first) / 22_050 < 1.2
        assert len(synth.speak("seven", "en-us+klatt", 110, 50)) > len(first)

    def test_an_unknown_voice_is_refused(self):
        with pytest.raises(DataError, match="no voice xx-yy"):
            synth.speak("seven", "xx-yy+m3", 150, 50)

    @pytest.mark.slow
    def test_a_small_set_has_the_layout_of_shd_and_the_same_bytes_twice(self, cache_folder, tmp_path, monkeypatch):
        dataset = open_dataset("synth?voices=3")
        assert dataset.classes == synth.CLASSES
        assert len(set(dataset.classes)) == 20
        assert dataset.split("train").frames.shape[0] == 40
        assert dataset.split("test").labels.tolist() == list(range(20))
        folder = next(path for path in cache_folder.iterdir() if (path / "synth_train.h5").exists())
        speakers = {}
        for split in ("train", "valid", "test"):
            with h5py.File(folder / f"synth_{split}.h5") as file:
                assert set(file) == {"spikes", "labels", "extra"}
                assert [word.decode() for word in file["extra/keys"]] == list(synth.CLASSES)
                speakers[split] = set(file["extra/speaker"][:].tolist())
                counts = [len(times) for times in file["spikes/times"]]
                assert 3000 < np.mean(counts) < 16_000  # a real utterance of SHD: 7,300
        assert not speakers["train"] & speakers["valid"] | speakers["train"] & speakers["test"]
        coarse = open_dataset("synth?voices=3&steps=40")
        assert coarse.split("test").keys == dataset.split("test").keys
        monkeypatch.setenv("NEUROTARGET_CACHE", str(tmp_path / "again"))
        open_dataset("synth?voices=3")
        for file in folder.iterdir():
            again = tmp_path / "again" / folder.name / file.name
            assert again.read_bytes() == file.read_bytes(), file.name
