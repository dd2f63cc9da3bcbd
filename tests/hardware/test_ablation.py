"""Costs of the arms: from tiny networks with known weights, against the counts of a report and sums by hand."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from neurotarget.hardware import ablation
from neurotarget.hardware.energy.prices import load_tables
from neurotarget.hardware.report import main as report
from neurotarget.model.training import checkpoint, registry
from neurotarget.sim.parity import DIFFERS, NOT_TESTED

from neurotarget.data import open_dataset
from neurotarget.files import write_text
from tests.recordings import write_words

ARMS = {"teacher": ("ptcd/stage1_steps50", 50), "scratch": ("scratch", 25), "ptcd": ("ptcd/stage2_steps25", 25)}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """What an ablation of two seeds leaves, with networks that were never trained."""
    root = tmp_path_factory.mktemp("ablation")
    write_words(root / "words/shd_train.h5", 1, [1] * 4 + [2] * 4)
    write_words(root / "words/shd_test.h5", 2, [3] * 6)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NEUROTARGET_CACHE", str(root / "cache"))
        for seed in (0, 1):
            for number, (folder, steps) in enumerate(ARMS.values()):
                path = root / f"run/seed{seed}" / folder / "ckpt.pt"
                path.parent.mkdir(parents=True)
                save(path, f"shd:{root}/words?steps={steps}", 10 * seed + number)
            summary = {"checkpoint": "stage2_steps25/ckpt.pt"}
            write_text(root / f"run/seed{seed}/ptcd/metrics.json", json.dumps(summary))
        rows = [
            {
                "arm": arm,
                "steps_per_second": steps,
                "test_accuracy": 0.875,
                "test_accuracy_standard_deviation": 0.177,
                "test_accuracy_by_seed": [0.75, 1.0],
            }
            for arm, (_, steps) in ARMS.items()
        ]
        summary = {"data": "shd:words", "seeds": [0, 1], "test_samples": 6, "arms": rows}
        write_text(root / "run/metrics.json", json.dumps(summary))
        yield root / "run"


def save(path, spec, seed):
    dataset = open_dataset(spec)
    config = registry.preset("tiny", features=dataset.features)
    torch.manual_seed(seed)
    network = registry.build(config)
    for module in network.modules():  # as untrained statistics are, hardly anything would fire
        if isinstance(module, torch.nn.BatchNorm1d):
            module.weight.data.fill_(2.0)
    content = checkpoint.Checkpoint(
        config=config,
        state=dict(network.state_dict()),
        metrics={},
        data=spec,
        classes=dataset.classes,
        step_seconds=dataset.step_seconds,
        versions=checkpoint.versions(),
    )
    checkpoint.save(path, content)


def test_costs_are_a_reports_and_ratios_those_of_each_seed(run, tmp_path, capsys):
    assert ablation.main([str(run), "--samples", "4", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    costs = json.loads((run / "ablation_cost.json").read_text())
    assert printed["cost"] == costs
    assert [(row["seed"], row["arm"]) for row in costs["rows"]] == [(seed, arm) for seed in (0, 1) for arm in ARMS]
    row = costs["rows"][5]  # PTCD of the second seed, by the other command, in double precision
    model, spec = run / row["checkpoint"], checkpoint.load(run / row["checkpoint"]).data
    options = ["--input", spec, "--samples", "4", "--lava-samples", "0", "--out", str(tmp_path / "report")]
    assert report([str(model.with_suffix(".nir")), *options]) == 0
    other = json.loads((tmp_path / "report/report.json").read_text())
    assert row["synops"] > 0 and {key: other["totals"][key] for key in ablation.COUNTS} == {
        key: row[key] for key in ablation.COUNTS
    }
    assert {(e["table"], e["boundary"]): e["snn_uj"] for e in row["energy"]} == {
        (e["table"], e["boundary"]): e["snn_uj"] for e in other["energy"] if e["snn_uj"] is not None
    }
    tables = [table.name for table in load_tables() if table.prices_spiking]
    for arm, summed in zip(ARMS, costs["arms"], strict=True):
        assert [figure["table"] for figure in summed["energy"]] == tables
        for place, figure in enumerate(summed["energy"]):
            mine, teachers = (
                np.array([row["energy"][place]["snn_uj"] for row in costs["rows"] if row["arm"] == name])
                for name in (arm, "teacher")
            )
            assert figure["ratio"]["by_seed"] == pytest.approx(list(mine / teachers))
            assert figure["ratio"]["mean"] == pytest.approx(np.mean(mine / teachers))
            assert figure["snn_uj"]["standard_deviation"] == pytest.approx(np.std(mine, ddof=1))


def test_the_table_shows_every_arm_and_what_follows(run):
    assert ablation.main([str(run), "--samples", "4"]) == 0
    lines = (run / "ablation.md").read_text().splitlines()
    costs = json.loads((run / "ablation_cost.json").read_text())
    assert [line.split(" | ")[0] for line in lines[4:7]] == [f"| {arm}" for arm in ARMS]
    ptcd = costs["arms"][2]
    operations = [e["ratio"]["mean"] for e in ptcd["energy"] if e["boundary"] == "operations"]
    memory = [e["ratio"]["mean"] for e in ptcd["energy"] if e["boundary"] == "memory"]
    assert f"| 25 | 0.8750 ± 0.1770 | {ptcd['synops']['mean'] / 1e6:.3f} ± " in lines[6]
    assert (
        len(memory) == 3
        and (
            f"| {min(operations):.3f} to {max(operations):.3f} ({len(operations)} tables) "
            f"| {min(memory):.3f} to {max(memory):.3f} (3 tables) |"
        )
        in lines[6]
    )
    assert "| 1.000 (" in lines[4]
    assert lines[8] == "- ptcd below teacher: 0.00 ± 0.00 points (test utterances: ± 19.09); holds"
    assert lines[9].endswith("does not hold")
    assert (run / "ablation.png").read_bytes().startswith(b"\x89PNG")


def test_only_what_changed_is_priced_again(run, monkeypatch):
    first = ablation.cost(run, samples=4)
    priced = []
    some = {key: first["rows"][0][key] for key in ("samples", "energy", *ablation.COUNTS)}
    monkeypatch.setattr(ablation, "priced", lambda path, *_: priced.append(path) or some)
    assert ablation.cost(run, samples=4) == first
    assert priced == []
    changed = run / "seed1/scratch/ckpt.pt"
    before = changed.read_bytes()
    save(changed, checkpoint.load(changed).data, seed=99)
    ablation.cost(run, samples=4)
    assert priced == [changed]
    changed.write_bytes(before)


def test_other_prices_are_counted_again_and_an_interrupted_call_loses_nothing(run, monkeypatch, capsys):
    def stopped(*_):
        raise KeyboardInterrupt

    first = ablation.cost(run, samples=4)
    monkeypatch.setattr(ablation, "priced", stopped)
    assert ablation.cost(run, samples=4) == first
    monkeypatch.setattr(ablation, "load_tables", lambda: load_tables()[1:])
    assert ablation.main([str(run), "--samples", "4"]) == 130
    assert "the networks counted so far are kept" in capsys.readouterr().err
    assert json.loads((run / "ablation_cost.json").read_text()) == first


def test_a_damaged_file_of_an_earlier_call_is_refused(run, capsys):
    path = run / "ablation_cost.json"
    whole = path.read_text() if path.exists() else None
    path.write_text('{"rows": [1')
    assert ablation.main([str(run)]) == 2
    assert "ablation_cost.json: damaged" in capsys.readouterr().err
    path.unlink() if whole is None else path.write_text(whole)


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        (DIFFERS, "PyTorch and the reference differ on random input: step 3 of blocks.0"),
        (NOT_TESTED, "nothing fired on random input: silence proves nothing"),
    ],
)
def test_a_network_that_converts_wrongly_or_never_fires_is_not_priced(outcome, words, run, monkeypatch, capsys):
    parity = SimpleNamespace(outcome=outcome, untested="nothing fired", first_divergence="step 3 of blocks.0")
    monkeypatch.setattr(ablation, "convert_checkpoint", lambda *_: [("random input", parity)])
    assert ablation.main([str(run), "--samples", "3"]) == 1
    assert words in capsys.readouterr().err


def test_other_folders_are_refused_in_one_sentence(tmp_path, capsys):
    assert ablation.main([str(tmp_path)]) == 2
    assert "metrics.json: not the summary of an ablation" in capsys.readouterr().err
    (tmp_path / "metrics.json").write_text(json.dumps({"seeds": [0], "arms": [{"arm": "scratch"}], "test_samples": 1}))
    assert ablation.main([str(tmp_path)]) == 2
    assert "seed0: holds no trained scratch" in capsys.readouterr().err
