"""What does the curriculum bring? `python -m model.ablation CONFIG.toml --out RUN --seeds 3`.

From one chain of stages (model/training/stages.py) and for each seed:

    teacher         the first stage, many steps
    scratch         the last stage's steps, random weights, labels only, the first stage's schedule
    scratch_long    the same with as many epochs as the whole chain has
    fine_tuned      the chain with teacher_weight 0: only the weights are handed on
    at_once         first stage to last without the ones between, which give it their epochs; for three stages or more
    ptcd            the chain
    in_seconds      the chain; what is handed on keeps its meaning in seconds (training/inheritance.py). On request only
    scratch_stages  every stage's steps, each from random weights, as scratch. On request only
    twin_stages     the same without spikes (networks/twin.py). On request only

All arms of a seed share its teacher, see the same utterances and are selected on validation. `metrics.json` holds a row
per arm with mean and spread over seeds, and one per stage of each arm that has several: accuracy against steps. At the
end hardware/ablation.py counts and prices the networks.
"""

from __future__ import annotations

import sys

from neurotarget.model.commands import ablation as main

if __name__ == "__main__":  # before the imports that take long: --help needs none of them
    sys.exit(main())

import argparse
import dataclasses
import json
import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from neurotarget.model.commands import ARMS, BY_STAGE, ON_REQUEST
from neurotarget.model.distill import distill, row_of, summary_of
from neurotarget.model.train import train
from neurotarget.model.training import checkpoint, parallel, stages
from neurotarget.model.training.bootstrap import bootstrapped
from neurotarget.model.training.evaluation import best_device, in_evaluation, split_scores
from neurotarget.model.training.run_folder import Start, check_start
from neurotarget.model.training.settings import SettingsError
from neurotarget.model.training.stages import IN_SECONDS, Stage

from neurotarget.cli import UsageError, run_verb
from neurotarget.data import Split, open_dataset
from neurotarget.files import check_folder, write_text


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Test accuracy of `better` minus that of `worse`, and the least and the most that the paper's claim allows."""

    name: str
    better: str
    worse: str
    more_than: float = -math.inf
    at_most: float = math.inf


COMPARISONS = (
    Comparison("ptcd_below_teacher", "teacher", "ptcd", at_most=0.015),
    Comparison("ptcd_above_scratch", "ptcd", "scratch", more_than=0.0),
    Comparison("ptcd_above_scratch_long", "ptcd", "scratch_long", more_than=0.0),
    Comparison("ptcd_above_at_once", "ptcd", "at_once", more_than=0.0),
    Comparison("in_seconds_above_ptcd", "in_seconds", "ptcd", more_than=0.0),
)


def _with_training(stage: Stage, **changes: Any) -> Stage:
    training = dataclasses.replace(stage.settings.training, **changes)
    return dataclasses.replace(stage, settings=dataclasses.replace(stage.settings, training=training))


def scratch(chain: Sequence[Stage], epochs: int) -> Stage:
    """The last stage's data and augmentation with the first one's schedule, that of a network that starts anew."""
    first, last = chain[0].settings, chain[-1].settings
    settings = dataclasses.replace(last, training=dataclasses.replace(first.training, epochs=epochs))
    return dataclasses.replace(chain[-1], settings=settings)


def fine_tuned(chain: Sequence[Stage]) -> tuple[Stage, ...]:
    """The chain without the teachers' words."""
    words: dict[str, Any] = dict.fromkeys(("teacher_weight", "step_weight", "feature_weight"), 0.0)
    deaf = [dataclasses.replace(stage.distillation, **words) for stage in chain]
    return tuple(dataclasses.replace(stage, distillation=how) for stage, how in zip(chain, deaf, strict=True))


def at_once(chain: Sequence[Stage]) -> tuple[Stage, ...]:
    """First and last stage; the last one has the epochs of all that learn from a teacher."""
    epochs = sum(stage.settings.training.epochs for stage in chain[1:])
    return chain[0], _with_training(chain[-1], epochs=epochs)


def in_seconds(chain: Sequence[Stage]) -> tuple[Stage, ...]:
    """The chain with every option of time-aware inheritance."""
    kept: dict[str, Any] = dict.fromkeys(IN_SECONDS, True)
    aware = [dataclasses.replace(stage.distillation, **kept) for stage in chain]
    return tuple(dataclasses.replace(stage, distillation=how) for stage, how in zip(chain, aware, strict=True))


def chosen_arms(chain: Sequence[Stage], names: Sequence[str] | None) -> tuple[str, ...]:
    """The arms in the order of `ARMS`; all that this chain has but those `ON_REQUEST` when none are named.

    Raises:
        SettingsError: an unknown arm, one that the chain does not have, or a chain of one stage.
    """
    if len(chain) < 2:
        raise SettingsError("an ablation compares a first stage with a last one; the configuration has one stage")
    if names is None:
        names = [arm for arm in ARMS if arm not in ON_REQUEST and (arm != "at_once" or len(chain) > 2)]
    if unknown := [name for name in names if name not in ARMS]:
        raise SettingsError(f"unknown arm {', '.join(unknown)}; known are {', '.join(ARMS)}")
    if not set(names) - set(BY_STAGE):
        raise SettingsError(f"{', '.join(names)} stand beside the other arms; name one of those too, such as teacher")
    if "at_once" in names and len(chain) == 2:
        raise SettingsError("at_once leaves out the stages between; this chain of two stages has none: it is ptcd")
    return tuple(arm for arm in ARMS if arm in names)


# arm -> the chain that its students go through; they share the first stage, the teacher
LEARNERS = {"fine_tuned": fine_tuned, "at_once": at_once, "in_seconds": in_seconds}


def run_seed(chain: Sequence[Stage], out: Path, start: Start, arms: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Trains the arms with the seed that the chain has; validation and test accuracy by arm."""
    first, results = chain[0], {}
    teacher = out / "ptcd" / first.folder / "ckpt.pt"
    if "ptcd" in arms:
        results["ptcd"] = distill(chain, out / "ptcd", start=start)
        results["teacher"] = results["ptcd"]["stages"][0]
    elif {"teacher", *LEARNERS} & set(arms):  # the chain's first stage, where the others find it later
        results["teacher"] = {**train(first.settings, teacher.parent, start), "steps_per_second": first.steps}
    for name in arms:
        if name in LEARNERS:
            results[name] = distill(LEARNERS[name](chain), out / name, teacher, start)
    total = sum(stage.settings.training.epochs for stage in chain)
    for name, epochs in (("scratch", first.settings.training.epochs), ("scratch_long", total)):
        if name in arms:
            metrics = train(scratch(chain, epochs).settings, out / name, start)
            results[name] = {**metrics, "steps_per_second": chain[-1].steps}
    for name in arms:
        if name in BY_STAGE:
            results[name] = each_from_scratch(chain, out / name, start, twin=name == "twin_stages")
    return {name: results[name] for name in arms}


def each_from_scratch(chain: Sequence[Stage], out: Path, start: Start, twin: bool) -> dict[str, Any]:
    """Trains a network at every stage's steps from random weights; the summary, as of a chain."""
    rows = []
    for stage in chain:
        settings = scratch([chain[0], stage], chain[0].settings.training.epochs).settings
        settings = dataclasses.replace(settings, model=dataclasses.replace(settings.model, twin=twin))
        metrics = train(settings, out / stage.folder, start)
        rows.append(row_of(stage, open_dataset(settings.data), metrics))
    summary = summary_of(rows)
    if parallel.first():
        write_text(out / "metrics.json", json.dumps(summary, indent=2))
    return summary


def stages_of(results: Sequence[Mapping[str, Mapping[str, Any]]], arms: Sequence[str]) -> list[dict[str, Any]]:
    """A row per stage of each arm that has several, over the seeds: accuracy against steps.

    Args:
        results: by seed, the summary of each arm.
    """
    rows = []
    for arm in arms:
        of_seeds = [result[arm].get("stages", ()) for result in results]
        for of_stage in zip(*of_seeds, strict=True):
            tests = [row["test_accuracy"] for row in of_stage]
            first = of_stage[0]
            rows.append(
                {
                    "arm": arm,
                    "stage": first["stage"],
                    "steps_per_second": first["steps_per_second"],
                    "test_accuracy": statistics.mean(tests),
                    "test_accuracy_standard_deviation": standard_deviation(tests),
                    "test_accuracy_by_seed": tests,
                    "validation_accuracy": statistics.mean(row["validation_accuracy"] for row in of_stage),
                }
            )
    return [row for row in rows if row["stage"]]  # stage 0 is a teacher from elsewhere


def stage_checkpoint(folder: Path, row: Mapping[str, Any]) -> Path:
    """The network of a row of `stages_of` in the folder of a seed."""
    return folder / row["arm"] / f"stage{row['stage']}_steps{row['steps_per_second']}" / "ckpt.pt"


def ablate(
    chain: Sequence[Stage], out: Path, seeds: Sequence[int], start: Start = Start.NEW, arms: Sequence[str] | None = None
) -> dict[str, Any]:
    """Trains the arms with every seed and returns the summary that `metrics.json` holds.

    Args:
        chain: two stages or more, from many steps per second to few.
        out: folder of the run; `seedN/ARM` inside.
        seeds: of weights, order, dropout and augmentation.
        start: what becomes of the networks that are in `out`.
        arms: some of `ARMS`; all that the chain has when left out.

    Raises:
        SettingsError: arms that this chain does not have. Otherwise as `model.distill.distill`.
    """
    arms = chosen_arms(chain, arms)
    for seed in seeds if parallel.first() else ():
        check_start(out / f"seed{seed}", start, ("*/last.pt", "*/*/last.pt"))
    results = [
        run_seed([_with_training(stage, seed=seed) for stage in chain], out / f"seed{seed}", start, arms)
        for seed in seeds
    ]
    by_stage = stages_of(results, arms)
    for row in by_stage:
        test = open_dataset(chain[row["stage"] - 1].settings.data).split("test")
        found = [_right(stage_checkpoint(out / f"seed{seed}", row), test) for seed in seeds]
        row["test_accuracy_bootstrap"] = bootstrapped(np.mean(found, axis=0), test)
    arms = [arm for arm in arms if arm not in BY_STAGE]
    samples = results[0][arms[0]]["test_samples"]
    fine, test = (open_dataset(stage.settings.data).split("test") for stage in (chain[0], chain[-1]))
    right = {
        arm: np.mean(
            [_right(checkpoint_of(out / f"seed{seed}", arm), fine if arm == "teacher" else test) for seed in seeds],
            axis=0,
        )
        for arm in arms
    }
    rows = []
    for arm in arms:
        tests = [result[arm]["test_accuracy"] for result in results]
        mean = statistics.mean(tests)
        rows.append(
            {
                "arm": arm,
                "steps_per_second": results[0][arm]["steps_per_second"],
                "test_accuracy": mean,
                "test_accuracy_standard_deviation": standard_deviation(tests),
                "test_accuracy_standard_error": standard_error(mean, samples),
                "test_accuracy_by_seed": tests,
                "test_accuracy_bootstrap": bootstrapped(right[arm], test),
                "validation_accuracy": statistics.mean(result[arm]["validation_accuracy"] for result in results),
            }
        )
    comparisons = compare(rows, samples)
    for row, claim in ((row, claim) for row in comparisons for claim in COMPARISONS if claim.name == row["name"]):
        row["bootstrap"] = bootstrapped(right[claim.better] - right[claim.worse], test)
    summary = {
        "data": chain[0].settings.data,
        "seeds": list(seeds),
        "test_samples": samples,
        **{row["name"]: row["difference"] for row in comparisons},
        "comparisons": comparisons,
        "arms": rows,
        "stages": by_stage,
    }
    if parallel.first():
        write_text(out / "metrics.json", json.dumps(summary, indent=2))
    return summary


def _right(path: Path, test: Split) -> np.ndarray:
    """Which test utterances, at its own time scale, a network has right: 0.0 or 1.0 [samples]."""
    loaded = parallel.from_first(lambda: checkpoint.load(path))
    scores = split_scores(in_evaluation(loaded.model().to(best_device())), test)
    return (scores.argmax(-1).cpu().numpy() == test.labels).astype(np.float64)


def standard_deviation(values: Sequence[float]) -> float | None:
    """Standard deviation over seeds, None of a single one."""
    return statistics.stdev(values) if len(values) > 1 else None


def standard_error(accuracy: float, samples: int) -> float:
    """Of an accuracy on so many independent utterances, the binomial's."""
    return math.sqrt(accuracy * (1 - accuracy) / samples)


def compare(arms: Sequence[Mapping[str, Any]], samples: int) -> list[dict[str, Any]]:
    """What the arms at hand say about each of `COMPARISONS`, seed by seed.

    `standard_error` is that of two independent draws of test utterances. The arms share theirs, and as far as they
    are right on the same ones, the error of the difference is smaller: `ablate` adds the paired one, `bootstrap`.
    """
    rows, found = {row["arm"]: row for row in arms}, []
    for claim in COMPARISONS:
        if claim.better not in rows or claim.worse not in rows:
            continue
        better, worse = rows[claim.better], rows[claim.worse]
        pairs = zip(better["test_accuracy_by_seed"], worse["test_accuracy_by_seed"], strict=True)
        differences = [one - other for one, other in pairs]
        mean = statistics.mean(differences)
        found.append(
            {
                "name": claim.name,
                "difference": mean,
                "standard_deviation": standard_deviation(differences),
                "standard_error": math.hypot(
                    *(standard_error(row["test_accuracy"], samples) for row in (better, worse))
                ),
                "by_seed": differences,
                # so many utterances out of so many: twelve digits tell them apart, not the last bit of a division
                "holds": claim.more_than < round(mean, 12) <= claim.at_most,
            }
        )
    return found


def checkpoint_of(folder: Path, arm: str) -> Path:
    """The network of an arm in the folder of a seed.

    Raises:
        SettingsError: it was not trained.
    """
    if arm in ("scratch", "scratch_long"):
        found = [folder / arm / "ckpt.pt"]
    elif arm == "teacher":
        found = list((folder / "ptcd").glob("stage1_steps*/ckpt.pt"))
    else:
        summary = folder / arm / "metrics.json"
        found = [folder / arm / json.loads(summary.read_text())["checkpoint"]] if summary.exists() else []
    if len(found) != 1 or not found[0].exists():
        raise SettingsError(f"{folder}: holds no trained {arm}; run model.ablation with --arms {arm} --resume first")
    return found[0]


def work(arguments: argparse.Namespace) -> int | None:
    if arguments.seeds < 1:
        raise UsageError(f"--seeds {arguments.seeds}: at least 1 is expected")
    check_folder(arguments.out)
    parallel.join()
    chain = stages.read(arguments.config, arguments.overrides)
    if getattr(chain[0].settings.model, "layer_normalisation", False):
        raise UsageError("model.layer_normalisation=true cannot be exported, and an ablation counts exported networks")
    first = chain[0].settings.training.seed
    arms = None if arguments.arms is None else arguments.arms.split(",")
    ablate(chain, arguments.out, range(first, first + arguments.seeds), arguments.start, arms)
    # What the networks cost is counted above this package, which must not need it.
    cost = [str(arguments.out), *(["--json"] if arguments.json else [])]
    return None if parallel.spoken(cost) is None else run_verb("ablation-cost", cost)
