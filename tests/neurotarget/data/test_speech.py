import math
import os

import numpy as np
import pytest
import scipy.signal
import soundfile

from neurotarget.data import DataError, gsc, logmel, open_dataset, wav
from tests.recordings import noise, write_wav

SPLITS = ("train", "validation", "test")


def mel(hertz):
    return 2595 * np.log10(1 + hertz / 700)


def test_filters_are_triangles_at_equal_mel_distances():
    filters = logmel.mel_filters(4000)
    assert filters.shape == (129, 140)
    assert filters.min() == 0
    assert filters.max() <= 1
    peaks_hz = filters.argmax(axis=0) * 31.25
    width_mel = (mel(4000) - mel(50)) / 141
    for index in range(100, 140):  # there several FFT bins fall in each filter's width, the peak is one of them
        assert abs(peaks_hz[index] - 700 * (10 ** ((mel(50) + (index + 1) * width_mel) / 2595) - 1)) < 31.25
    # Neighbours sum to 1 between the first and the last centre: nothing of the band is lost or counted twice.
    centres = 700 * (10 ** ((mel(50) + np.array([1, 140]) * width_mel) / 2595) - 1)
    bins_hz = np.arange(129) * 31.25
    inside = (bins_hz >= centres[0]) & (bins_hz <= centres[1])
    np.testing.assert_allclose(filters[inside].sum(axis=1), 1, atol=1e-12)
    assert not filters[bins_hz <= 50].any()
    assert not filters[bins_hz >= 4000].any()


def test_the_published_upper_edge_leaves_filters_above_4_khz_empty():
    empty = ~logmel.mel_filters(14_000).any(axis=0)
    assert empty[-40:].all()
    assert not (~logmel.mel_filters(4_000).any(axis=0))[-40:].any()


@pytest.mark.parametrize(("hop", "frames"), [(80, 100), (200, 40), (40, 200), (20, 400)])
def test_a_second_gives_steps_frames_with_a_tone_in_its_filter(hop, frames):
    tone = 0.5 * np.sin(2 * np.pi * 2000 * np.arange(8000) / 8000)
    filters = logmel.mel_filters(4000)
    decibels = logmel.log_mel(tone, hop, filters)
    assert decibels.shape == (frames, 140)
    assert decibels.dtype == np.float32
    # 2000 Hz is FFT bin 64; a Hann window makes a sine of 0.5 a peak of 0.5 * 256 / 4 = 32.
    loudest = filters[64].argmax()
    middle = decibels[frames // 2]
    assert middle.argmax() == loudest
    neighbours = filters[63, loudest] * 16**2 + filters[64, loudest] * 32**2 + filters[65, loudest] * 16**2
    assert middle[loudest] == pytest.approx(10 * np.log10(neighbours), abs=0.01)
    assert decibels.max() - decibels.min() <= 80.001


@pytest.mark.parametrize(("fft_samples", "mels"), [(256, 140), (512, 40), (128, 80)])
def test_frames_equal_an_independent_transform(fft_samples, mels):
    sound = noise(3, 4321).astype(np.float32) / 32768
    filters = logmel.mel_filters(4000, mels, fft_samples)
    assert filters.shape == (fft_samples // 2 + 1, mels)
    filters = filters[:, filters.any(axis=0)]
    # scipy centres its frame p on p * hop; ours lies half a hop later.
    transform = scipy.signal.ShortTimeFFT(scipy.signal.windows.hann(fft_samples, sym=False), 80, 8000)
    moved = np.concatenate([sound[40:], np.zeros(400)])
    power = np.abs(transform.stft(moved, p0=4, p1=50).T) ** 2  # away from the start, which lacks the first 40 samples
    np.testing.assert_allclose(logmel.log_mel(sound, 80, filters)[4:50], 10 * np.log10(power @ filters), atol=1e-3)


def test_silence_has_no_infinities():
    assert np.isfinite(logmel.log_mel(np.zeros(800, np.float32), 80, logmel.mel_filters(4000))).all()


def test_the_published_hash_rule():
    # Speakers of the official Speech Commands test set: its rule put them between 10 and 20 percent.
    for speaker in ("aa80f517", "3b4f8f24", "d7467392"):
        assert 10 <= gsc.speaker_percentage(speaker) < 20
    # By hand: sha1(b"abc") = a9993e364706816aba3e25717850c26c9cd0d89d; its last 27 bits are 0x4d0d89d.
    assert gsc.speaker_percentage("abc") == pytest.approx(100 * 0x4D0D89D / (2**27 - 1), rel=1e-12)


def speakers_of(split):
    return {key.split("/")[1].split("_nohash_")[0] for key in split.keys}


def test_gsc_splits_share_no_speaker_and_lose_no_file(gsc_folder):
    dataset = open_dataset(f"gsc:{gsc_folder}")
    assert dataset.classes == ("no", "wow", "yes")
    assert (dataset.features, dataset.step_seconds) == (140, 0.01)
    splits = {name: dataset.split(name) for name in SPLITS}
    every = [key for split in splits.values() for key in split.keys]
    assert len(every) == len(set(every)) == 60
    for name, other in (("train", "validation"), ("train", "test"), ("validation", "test")):
        assert not speakers_of(splits[name]) & speakers_of(splits[other])
    for split in splits.values():
        assert [dataset.classes[label] for label in split.labels] == [key.split("/")[0] for key in split.keys]
        for row, length in enumerate(split.lengths):
            assert split.frames[row, :length].any(axis=1).all()
            assert not split.frames[row, length:].any()
        assert split.frames.dtype == np.float32
    for speaker in speakers_of(splits["validation"]):
        assert gsc.speaker_percentage(speaker) < 10
    for speaker in speakers_of(splits["test"]):
        assert 10 <= gsc.speaker_percentage(speaker) < 20


def test_gsc_train_features_have_mean_0_and_deviation_1(gsc_folder):
    split = open_dataset(f"gsc:{gsc_folder}").split("train")
    frames = np.concatenate([frames[:length] for frames, length in zip(split.frames, split.lengths, strict=True)])
    used = logmel.mel_filters(4000).any(axis=0)
    np.testing.assert_allclose(frames[:, used].mean(axis=0, dtype=float), 0, atol=1e-3)
    np.testing.assert_allclose(frames[:, used].std(axis=0, dtype=float), 1, atol=1e-3)
    assert not frames[:, ~used].any()


def test_gsc_lengths_follow_the_files(gsc_folder):
    split = open_dataset(f"gsc:{gsc_folder}?steps=40").split("train")
    for key, length in zip(split.keys, split.lengths, strict=True):
        samples = (os.path.getsize(gsc_folder / key) - 44) // 2
        assert length == math.ceil(math.ceil(samples / 2) / 200)


def test_gsc_keeps_utterances_and_order_for_every_step_and_twice(gsc_folder, monkeypatch, tmp_path):
    first, fine = (open_dataset(f"gsc:{gsc_folder}?steps={steps}") for steps in (100, 400))
    monkeypatch.setenv("NEUROTARGET_CACHE", str(tmp_path / "again"))
    again = open_dataset(f"gsc:{gsc_folder}?steps=100")
    for name in SPLITS:
        assert first.split(name).keys == fine.split(name).keys == again.split(name).keys
        assert first.split(name).frames.tobytes() == again.split(name).frames.tobytes()
        assert -(-fine.split(name).frames.shape[1] // 4) == first.split(name).frames.shape[1]


def test_gsc_list_files_decide_where_present(gsc_folder):
    speakers = sorted(path.name.split("_")[0] for path in (gsc_folder / "yes").iterdir())
    for file_name, chosen in (("validation_list.txt", speakers[:2]), ("testing_list.txt", speakers[2:7])):
        lines = [f"{word}/{speaker}_nohash_0.wav" for word in ("yes", "no", "wow") for speaker in chosen]
        (gsc_folder / file_name).write_text("\n".join(lines) + "\n")
    dataset = open_dataset(f"gsc:{gsc_folder}")
    assert speakers_of(dataset.split("validation")) == set(speakers[:2])
    assert speakers_of(dataset.split("test")) == set(speakers[2:7])
    assert speakers_of(dataset.split("train")) == set(speakers[7:])
    with pytest.raises(DataError, match="leave out validation and test"):
        open_dataset(f"gsc:{gsc_folder}?test=20")
    # One speaker on both sides: the list is not the data set's.
    with (gsc_folder / "testing_list.txt").open("a") as file:
        file.write(f"yes/{speakers[10]}_nohash_0.wav\n")
    with pytest.raises(DataError, match=f"speaker {speakers[10]} is in the"):
        open_dataset(f"gsc:{gsc_folder}")
    (gsc_folder / "testing_list.txt").unlink()
    with pytest.raises(DataError, match=r"testing_list.txt: cannot be read"):
        open_dataset(f"gsc:{gsc_folder}")


def test_gsc_speakers_of_one_hash_range_are_divided_by_rank():
    speakers = [name for name in (f"{n:08x}" for n in range(2000)) if 10 <= gsc.speaker_percentage(name) < 20][:50]
    utterances = [logmel.Utterance(None, name, name, 0) for name in speakers]
    splits = gsc._split_by_hash(utterances, 10, 20)
    assert {name: len(of_split) for name, of_split in splits.items()} == {"train": 35, "validation": 5, "test": 10}
    highest = {name: max(gsc.speaker_percentage(u.speaker) for u in of_split) for name, of_split in splits.items()}
    assert highest["validation"] < highest["test"] < highest["train"]


def test_ten_words_are_the_ten_and_have_to_be_there(gsc_folder):
    with pytest.raises(DataError, match="none of down, go, left, off, on, right, stop, up"):
        open_dataset(f"gsc:{gsc_folder}?words=10")
    for number, word in enumerate(gsc.TEN_WORDS):
        for speaker in range(20):
            write_wav(gsc_folder / word / f"{speaker:08x}_nohash_1.wav", noise(number, 1600), 16_000)
    dataset = open_dataset(f"gsc:{gsc_folder}?words=10")
    assert dataset.classes == ("down", "go", "left", "no", "off", "on", "right", "stop", "up", "yes")
    assert not any(key.startswith("wow/") for name in SPLITS for key in dataset.split(name).keys)


def test_fsdd_splits_by_speaker(fsdd_folder):
    dataset = open_dataset(f"fsdd:{fsdd_folder}")
    assert dataset.classes == tuple("0123456789")
    of_split = {name: {key.split("_")[1] for key in dataset.split(name).keys} for name in SPLITS}
    assert of_split == {"train": {"george", "jackson"}, "validation": {"lucas"}, "test": {"theo"}}
    test = dataset.split("test")
    assert test.keys == tuple(f"{digit}_theo_{number}.wav" for digit in range(3) for number in (0, 2, 10))
    assert test.labels.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert test.lengths.tolist() == [25, 28, 38] * 3


def test_fsdd_leaves_a_speaker_out(fsdd_folder):
    for left_out, after in (("jackson", "lucas"), ("theo", "george")):  # after the last comes the first
        dataset = open_dataset(f"fsdd:{fsdd_folder}?leave_out={left_out}")
        of_split = {name: set(dataset.split(name).speakers) for name in SPLITS}
        rest = {"george", "jackson", "lucas", "theo"} - {left_out, after}
        assert of_split == {"train": rest, "validation": {after}, "test": {left_out}}
    with pytest.raises(DataError, match="leave_out=bo: there are recordings of george, jackson, lucas, theo"):
        open_dataset(f"fsdd:{fsdd_folder}?leave_out=bo")


def test_fsdd_official_split_is_by_the_recordings_number(fsdd_folder):
    with pytest.raises(DataError, match="no recording for the validation split; expected numbers 0-4, 5-9 and from 10"):
        open_dataset(f"fsdd:{fsdd_folder}?split=official")
    write_wav(fsdd_folder / "recordings" / "7_theo_5.wav", noise(7, 2000), 8_000)
    dataset = open_dataset(f"fsdd:{fsdd_folder}?split=official")
    numbers = {name: {key.split("_")[2] for key in dataset.split(name).keys} for name in SPLITS}
    assert numbers == {"train": {"10.wav"}, "validation": {"5.wav"}, "test": {"0.wav", "2.wav"}}
    assert dataset.split("test").speakers == tuple(key.split("_")[1] for key in dataset.split("test").keys)
    with pytest.raises(DataError, match="the official split leaves no speaker out"):
        open_dataset(f"fsdd:{fsdd_folder}?split=official&leave_out=theo")


WRONG_FILES = {
    "rate": (lambda p: write_wav(p, noise(0, 800), 8_000), "8000 Hz; expected 16000 Hz: resample it"),
    "stereo": (lambda p: write_wav(p, noise(0, 800), 16_000, channels=2), "2 channels; expected 1: mix them down"),
    "truncated": (lambda p: p.write_bytes(p.read_bytes()[:2000]), "truncated: 1956 of the 4800 bytes of sound"),
    "cut in the header": (lambda p: p.write_bytes(p.read_bytes()[:30]), "not a whole WAV file"),
    "empty": (lambda p: p.write_bytes(b""), "not a whole WAV file"),
    "no samples": (lambda p: write_wav(p, noise(0, 0), 16_000), "0 samples"),
    "too long": (lambda p: write_wav(p, noise(0, 200_000), 16_000), "200000 samples"),
    "foreign": (lambda p: p.write_text("hello, this is no sound" * 9), "not a whole WAV file"),
    "FLAC": (lambda p: soundfile.write(p, np.zeros(800), 16_000, format="FLAC"), "a FLAC file by its content"),
    "G.721": (lambda p: soundfile.write(p, np.zeros(800), 16_000, subtype="G721_32"), "sound in G721_32, which is not"),
    "NaN": (lambda p: soundfile.write(p, np.full(800, np.nan), 16_000, subtype="FLOAT"), "800 samples are no finite"),
}


@pytest.mark.parametrize("case", WRONG_FILES)
def test_a_wrong_file_is_named_with_what_is_wrong(gsc_folder, cache_folder, case):
    path = sorted((gsc_folder / "wow").iterdir())[4]
    damage, said = WRONG_FILES[case]
    damage(path)
    with pytest.raises(DataError, match=said) as caught:
        open_dataset(f"gsc:{gsc_folder}")
    assert str(path) in str(caught.value)
    assert not list(cache_folder.glob("*/*.npy"))


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
@pytest.mark.parametrize("form", ["WAV", "WAVEX"])
def test_every_width_and_wave_format_extensible_give_the_same_sound(tmp_path, subtype, form):
    sound = noise(0, 801) // 256 * 256  # whole in 8 bits
    soundfile.write(tmp_path / "word.WAV", sound / 32768, 8_000, subtype=subtype, format=form)
    assert wav.count_samples(tmp_path / "word.WAV", (8_000,)) == 801
    found = wav.read_samples(tmp_path / "word.WAV", (8_000, 16_000))
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, sound / 32768)


def test_16_khz_is_halved(tmp_path):
    tone = np.sin(2 * np.pi * 440 * np.arange(16_001) / 16_000) / 2
    soundfile.write(tmp_path / "word.wav", tone, 16_000, subtype="DOUBLE")
    found = wav.read_samples(tmp_path / "word.wav", (16_000,))
    assert len(found) == wav.count_samples(tmp_path / "word.wav", (16_000,)) == 8_001
    np.testing.assert_allclose(found[100:-100], tone[200:-200:2], atol=2e-3)


@pytest.mark.parametrize("size", [2**32 - 1, 2**31, 2**31 - 1])
@pytest.mark.parametrize("more", [b"", b"LIST\x05\0\0\0words\0"])
def test_a_header_of_a_stream_does_not_know_the_length(tmp_path, size, more):
    """As ffmpeg, arecord and sox write them into a pipe."""
    path = tmp_path / "word.wav"
    write_wav(path, noise(0, 800), 16_000)
    whole = path.read_bytes()
    path.write_bytes(whole[:36] + more + b"data" + size.to_bytes(4, "little") + whole[44:])
    assert wav.count_samples(path, (16_000,)) == 400
    streamed = wav.read_samples(path, (16_000,))
    path.write_bytes(whole)
    np.testing.assert_array_equal(streamed, wav.read_samples(path, (16_000,)))


def test_any_header_is_read_or_refused(tmp_path):
    """Bytes of the header changed at random: sizes, formats, rates, channels, widths."""
    generator, path = np.random.default_rng(0), tmp_path / "word.wav"
    write_wav(path, noise(0, 800), 16_000)
    whole = path.read_bytes()
    read = 0
    for _ in range(400):
        changed = bytearray(whole)
        for at in generator.integers(0, 44, generator.integers(1, 4)):
            changed[at] = generator.integers(0, 256)
        path.write_bytes(changed)
        try:
            read += len(wav.read_samples(path, (8_000, 16_000))) > 0
        except DataError as error:
            assert str(path) in str(error) and "\n" not in str(error)
    assert 10 < read < 390


def test_upper_case_names_and_the_book_keeping_of_macos(gsc_folder, fsdd_folder):
    before = open_dataset(f"gsc:{gsc_folder}"), open_dataset(f"fsdd:{fsdd_folder}")
    for folder in (gsc_folder, fsdd_folder):
        for path in list(folder.rglob("*.wav")):
            path.with_name(f"._{path.name}").write_bytes(b"\0\5\26\7 no sound")
            path.rename(path.with_suffix(".WAV"))
    after = open_dataset(f"gsc:{gsc_folder}"), open_dataset(f"fsdd:{fsdd_folder}")
    for one, other in zip(before, after, strict=True):
        for name in SPLITS:
            assert [key.replace(".wav", ".WAV") for key in one.split(name).keys] == list(other.split(name).keys)
            np.testing.assert_array_equal(one.split(name).frames, other.split(name).frames)


def test_gsc_lists_in_other_spellings_and_names_that_are_no_file(gsc_folder):
    speakers = sorted(path.name.split("_")[0] for path in (gsc_folder / "yes").iterdir())

    def write(spelling, extra=()):
        for file_name, chosen in (("validation_list.txt", speakers[:2]), ("testing_list.txt", speakers[2:7])):
            names = [f"{word}/{speaker}_nohash_0.wav" for word in ("yes", "no", "wow") for speaker in chosen]
            (gsc_folder / file_name).write_text("".join(map(spelling, [*names, *extra])), encoding="utf-8-sig")

    for spelling in (
        lambda name: f"./{name}\n",
        lambda name: f"{name.upper()[:-4].lower()}.WAV\r\n",
        lambda name: name.replace("/", "\\") + " \n\n",
    ):
        write(spelling, ["zebra/00000000_nohash_0.wav"])  # a word that this folder leaves out
        dataset = open_dataset(f"gsc:{gsc_folder}")
        assert [speakers_of(dataset.split(name)) for name in ("validation", "test")] == [
            set(speakers[:2]),
            set(speakers[2:7]),
        ]
    write(lambda name: f"{name}\n", ["yes/ffffffff_nohash_0.wav"])
    with pytest.raises(
        DataError, match=r"validation_list.txt: 1 of 7 names are no file of .*yes/ffffffff_nohash_0.wav"
    ):
        open_dataset(f"gsc:{gsc_folder}")
    write(lambda name: f"/data/speech/{name}\n")
    with pytest.raises(DataError, match=r"validation_list.txt: 6 of 6 names are no file of .* delete both lists"):
        open_dataset(f"gsc:{gsc_folder}")


def test_wrong_folders(tmp_path, gsc_folder, fsdd_folder):
    empty = tmp_path / "empty"
    empty.mkdir()
    for text, said in (
        (f"gsc:{tmp_path / 'nowhere'}", "no such folder"),
        (f"gsc:{empty}", "recordings of 0 words"),
        (f"gsc:{tmp_path}", "give the folder that holds the word folders"),
        (f"fsdd:{tmp_path / 'nowhere'}", "no such folder"),
        (f"fsdd:{empty}", "no .wav file"),
    ):
        with pytest.raises(DataError, match=said):
            open_dataset(text)
    write_wav(gsc_folder / "yes" / "mine.wav", noise(0, 800), 16_000)
    with pytest.raises(DataError, match=r"mine.wav: not a name of this data set"):
        open_dataset(f"gsc:{gsc_folder}")
    write_wav(fsdd_folder / "recordings" / "mine.wav", noise(0, 800), 8_000)
    with pytest.raises(DataError, match=r"mine.wav: not a name of this data set"):
        open_dataset(f"fsdd:{fsdd_folder}")


@pytest.mark.slow
def test_the_real_sample_divides_by_speaker():
    path = os.environ.get("NEUROTARGET_GSC")
    if not path:
        pytest.skip("NEUROTARGET_GSC does not name a folder of Speech Commands")
    dataset = open_dataset(f"gsc:{path}?words=10")
    splits = [dataset.split(name) for name in SPLITS]
    assert dataset.classes == gsc.TEN_WORDS
    assert not speakers_of(splits[0]) & speakers_of(splits[1])
    assert not speakers_of(splits[0]) & speakers_of(splits[2])
    assert not speakers_of(splits[1]) & speakers_of(splits[2])
    assert all(split.frames.shape[1] == 100 and np.isfinite(split.frames).all() for split in splits)
    assert len(splits[0].keys) > len(splits[2].keys) > 0
