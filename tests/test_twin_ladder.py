"""The ladder of a spiking network and its twin: equal accuracy by hand, and the whole command on tiny data."""

import json

import pytest

from benchmarks import twin
from benchmarks.twin import SPIKING, TWIN, Point
from tests.recordings import write_words


def ladder(side, form, table, *points, seed=0):
    return [Point(side, form, width, seed, accuracy, table, uj) for width, (uj, accuracy) in enumerate(points, start=1)]


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        (0.5, (1.0, False)),  # a network has just that
        (0.4, (1.0, True)),  # none is so small
        (0.6, (2.0, False)),  # half way
        (0.7, (3.0, False)),
        (0.9, (13.0, False)),  # past one that takes more and is worse
    ],
)
def test_energy_at_an_accuracy_is_on_the_line_between_two_networks(level, expected):
    found = twin.energy_at(level, [(1.0, 0.5), (3.0, 0.7), (8.0, 0.5), (18.0, 1.3)])
    assert found == pytest.approx(expected)


def test_no_network_reaches_the_accuracy():
    with pytest.raises(ValueError, match=r"no network reaches 0\.8"):
        twin.energy_at(0.8, [(1.0, 0.7)])


def test_both_sides_at_the_accuracy_that_both_reach_by_hand():
    points = [
        *ladder(SPIKING, "float", "45nm-fp32", (1.0, 0.5), (2.0, 0.8)),
        *ladder(TWIN, "fp32", "45nm-fp32", (2.0, 0.6), (6.0, 0.7)),
        *ladder(SPIKING, "float", "45nm-fp32", (1.0, 0.5), (2.0, 0.8), seed=1),
        *ladder(TWIN, "fp32", "45nm-fp32", (2.0, 0.9), (6.0, 0.95), seed=1),
        *ladder(TWIN, "int8", "45nm-int8", (0.1, 0.9)),  # another table
        *ladder(TWIN, "fp32, zeros skipped", "45nm-fp32", (0.1, 0.9)),  # another form
        *ladder(TWIN, "fp32", "45nm-fp32", (0.1, 0.9), seed=2),  # one side only
    ]
    found = twin.at_equal_accuracy(points, "45nm-fp32", "float", "fp32")
    first, second = found["seeds"]
    assert (first["accuracy"], first["twin_uj"]) == (0.7, 6.0)
    assert first["spiking_uj"] == pytest.approx(1 + 2 / 3)
    assert (second["accuracy"], second["spiking_uj"], second["twin_uj"]) == (0.8, 2.0, 2.0)
    assert [(row["at_most"], row["at_least"]) for row in found["seeds"]] == [(False, False), (True, False)]
    assert found["ratio"] == pytest.approx((6 / (5 / 3) + 1) / 2)
    assert found["ratio_std"] == pytest.approx(2.6 / 2**0.5)
    text = twin.words(points, [found])
    assert "| 45nm-fp32 | fp32 | 75.0 ± 7.1 | 1.83 ± 0.24 | 4.00 ± 2.83 | at most 2.30 ± 1.84 |" in text
    assert "| 45nm-fp32 | spiking, float | 2 | 2 | 80.0 ± 0.0 | 2.00 ± 0.00 |" in text


@pytest.mark.parametrize(
    ("seeds", "word"),
    [([(True, True)], "open, near "), ([(False, True), (False, False)], "at least "), ([(False, False)], "")],
)
def test_a_bound_is_called_one(seeds, word):
    assert twin.bound([{"at_most": most, "at_least": least} for most, least in seeds]) == word


@pytest.mark.slow
def test_the_command_on_tiny_data(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("NEUROTARGET_CACHE", str(tmp_path / "cache"))
    write_words(tmp_path / "shd_train.h5", 1, [1] * 32 + [2] * 12)
    write_words(tmp_path / "shd_test.h5", 2, [3] * 12)
    config = tmp_path / "tiny.toml"
    config.write_text(
        f'[data]\nspec = "shd:{tmp_path}?steps=40"\n[model]\npreset = "tiny"\n'
        "[training]\nepochs = 6\nbatch = 8\nlearning_rate = 0.02\nwarmup_epochs = 1\n"
    )
    argv = [str(config), "--out", str(tmp_path / "out"), "--widths", "8", "16", "--seeds", "1", "--samples", "6"]
    assert twin.main([*argv, "--set", "model.heads=2", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found == json.loads((tmp_path / "out" / "twin.json").read_text())
    assert (tmp_path / "out" / "twin.png").exists()
    sides = {(point["side"], point["width"]) for point in found["points"]}
    assert sides == {(side, width) for side in (SPIKING, TWIN) for width in (8, 16)}
    assert {row["table"] for row in found["equal_accuracy"]} == {table for table, _, _ in twin.COMPARED}
    kept = [tmp_path / "out" / side / "width8" / "seed0" / "points.json" for side in (SPIKING, TWIN)]
    before = [path.stat().st_mtime_ns for path in kept]
    assert twin.main([*argv, "--set", "model.heads=2"]) == 0  # a second time nothing is measured again
    assert [path.stat().st_mtime_ns for path in kept] == before


def test_a_width_that_no_network_has_is_refused_before_anything_is_trained(tmp_path, capsys):
    arguments = ["configs/demo.toml", "--out", str(tmp_path / "run"), "--widths", "32", "--twin-widths", "7"]
    assert twin.main(arguments) == 2
    assert "twin of width 7: width 7" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
