"""What the benchmarks compute from their runs, by hand."""

import numpy as np

from benchmarks import quantisation
from neurotarget.data import Split


def row(network, exact, calibrated, fine_tuned):
    return {
        "network": network,
        "test_samples": 200,
        "moves": [-1, 0],
        "float": exact,
        "calibrated": calibrated,
        "fine_tuned": fine_tuned,
    }


def test_the_first_draw_is_evenly_spaced_and_the_others_are_repeatable():
    assert quantisation.calibration_rows(127, 0).tolist() == list(range(0, 127, 2))
    one, again, other = (quantisation.calibration_rows(1000, draw) for draw in (1, 1, 2))
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)
    assert len(set(one.tolist())) == quantisation.CALIBRATION_SAMPLES
    assert np.all(np.diff(one) > 0)
    for draw in (0, 1):  # a split of fewer samples than are wanted
        assert quantisation.calibration_rows(5, draw).tolist() == [0, 1, 2, 3, 4]


def test_mean_and_standard_error_by_hand():
    assert quantisation.mean_and_error([1.0, 3.0, 5.0]) == "+3.00 points, standard error 1.15 over 3 networks"
    assert quantisation.mean_and_error([-1.0]) == "-1.00 points, one network"


def test_moved_utterances_by_hand():
    frames = np.arange(1, 5).reshape(1, 4, 1)
    split = Split(frames=frames, lengths=np.array([3]), labels=np.array([0]), keys=("a",))
    expected = {0: ([1, 2, 3, 4], 3), 1: ([0, 1, 2, 3], 4), 2: ([0, 0, 1, 2], 4), -1: ([2, 3, 4, 0], 2)}
    for steps, (values, length) in expected.items():
        found, lengths = quantisation.moved(split, steps)
        assert found[0, :, 0].tolist() == values
        assert lengths.tolist() == [length]


def test_the_table_gives_points_by_network_and_over_networks():
    rows = [
        row("a.nir", [0.8, 0.9], [0.8, 0.88], [0.8, 0.9]),
        row("a.nir", [0.8, 0.9], [0.8, 0.9], [0.8, 0.91]),
        row("b.nir", [0.8, 0.8], [0.81, 0.77], [0.8, 0.8]),
        row("b.nir", [0.8, 0.8], [0.81, 0.77], [0.8, 0.79]),
    ]
    text = quantisation.table(rows)
    assert "200 test samples" in text
    assert "| a.nir | 90.0 | calibrated | -2.0, +0.0 | -1.00 | -0.50 |" in text
    assert "| b.nir | 80.0 | calibrated | -3.0, -3.0 | -3.00 | -1.00 |" in text
    assert "| b.nir | 80.0 | fine_tuned | +0.0, -1.0 | -0.50 | -0.25 |" in text
    assert "calibrated, utterances as they are: -2.00 points, standard error 1.00 over 2 networks" in text
    assert "calibrated, utterances moved: -0.75 points, standard error 0.25 over 2 networks" in text
    assert "fine_tuned, utterances as they are: +0.00 points, standard error 0.50 over 2 networks" in text


def test_a_result_of_other_settings_is_not_taken_for_this_one(tmp_path, capsys):
    network, config = tmp_path / "net.nir", tmp_path / "config.toml"
    network.write_bytes(b"a network")
    config.write_text('[data]\nspec = "synth"\n[model]\npreset = "shd"\n')
    folder = tmp_path / "out" / str(network).replace("/", "_").removesuffix(".nir").strip("._") / "draw0"
    folder.mkdir(parents=True)
    (folder / "drop.json").write_text('{"network": "another"}')
    arguments = [str(config), str(network), "--out", str(tmp_path / "out"), "--draws", "1"]
    assert quantisation.main(arguments) == 2
    assert "another network or of other settings; choose another --out" in capsys.readouterr().err
    assert quantisation.main([*arguments[:-1], "0"]) == 2
    assert capsys.readouterr().err == "error: --draws 0: at least 1 is needed\n"
    assert quantisation.main([str(config), "missing.nir", "--out", str(tmp_path / "out")]) == 2
    assert "missing.nir" in capsys.readouterr().err
