"""Progressive time-scaled curriculum distillation (PTCD): `python -m model.distill CONFIG.toml --out RUN`.

Wang et al. 2025 (arXiv 2412.12858). One network goes through a chain of stages with fewer and fewer steps per second.
Each stage's student starts from the whole state of the one before, which is its teacher, and learns

    label_weight * CE(s, label) + teacher_weight * T^2 * KL(softmax(t / T) || softmax(s / T)),
    s = sum over the student's steps of softmax(its logits), augmented input,
    t = sum over the teacher's steps of softmax(its logits), the same utterance at the teacher's finer time scale,

with weights 1 and 0.5 and temperature T = 1 in the paper. Ours, and off where nothing is said, are two more terms
(training/divergence.py): the same divergence step by step, `step_weight`, and how far what the student's blocks hand on
is from its teacher's, `feature_weight`.

The teacher is in evaluation mode and its input is not augmented, so its scores and steps are constants of a stage: they
are computed once and kept in memory. That is exact, and saves the teacher's pass in every step of training; features
are too large to keep, and it answers again.

The run's folder gets a folder per stage with what model/train.py leaves there, `metrics.json` and `accuracy.png`.
"""

from __future__ import annotations

import sys

from neurotarget.model.commands import distill as main

if __name__ == "__main__":  # before the imports that take long: --help needs none of them
    sys.exit(main())

import argparse
import contextlib
import dataclasses
import hashlib
import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from neurotarget.model.train import Task, train
from neurotarget.model.training import checkpoint, inheritance, parallel, settings, stages
from neurotarget.model.training.checkpoint import Checkpoint
from neurotarget.model.training.divergence import distillation_loss
from neurotarget.model.training.evaluation import best_device, evaluate
from neurotarget.model.training.run_folder import Start, TrainingError, check_start
from neurotarget.model.training.settings import fitted
from neurotarget.model.training.stages import Stage
from neurotarget.model.training.targets import Targets

from neurotarget.cli import Result
from neurotarget.data import Dataset, open_dataset, spec
from neurotarget.figures import NONE
from neurotarget.files import check_folder, only_writer, write_picture, write_text
from neurotarget.terminal import results

# fields of a network that change nothing in what it computes once trained
TRAINING_ONLY = ("dropout", "dropout_sites", "alpha")


class DistillationError(TrainingError):
    """A teacher that does not fit its student: the message names both and what differs."""


# ---- the teacher -----------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, eq=False)
class Teacher:
    """A trained network, the file it is from, and the utterances at its time scale."""

    path: Path
    checkpoint: Checkpoint
    dataset: Dataset

    @property
    def steps(self) -> int:
        """Steps a second."""
        return round(1 / self.checkpoint.step_seconds)


def check_teacher(teacher: Teacher, stage: Stage, dataset: Dataset) -> None:
    """A teacher has its student's shape, classes, utterances, and features made the same way.

    `stage` and `dataset` are the student's.

    Raises:
        DistillationError: it has not.
    """
    student, network = stage.settings, teacher.checkpoint
    where = f"{teacher.path}: as a teacher for {student.data}"
    if source_of(network.data) != source_of(
        student.data
    ):  # another fmax, or utterances that are in the test split here
        raise DistillationError(f"{where}: it was trained on {network.data}; only the folder and steps may differ")
    if network.classes != dataset.classes:
        raise DistillationError(f"{where}: its classes are {_list(network.classes)}, not {_list(dataset.classes)}")
    ours, theirs = (dataclasses.asdict(config) for config in (fitted(student, dataset).model, network.config))
    free = (*TRAINING_ONLY, "tau") if stage.distillation.leak_in_seconds else TRAINING_ONLY
    for name, value in ours.items():
        if name not in free and theirs[name] != value:
            raise DistillationError(f"{where}: {name} is {theirs[name]}, the student's is {value}")
    check_pairs(teacher.dataset, dataset)


def check_pairs(teacher: Dataset, student: Dataset) -> None:
    """The same utterances with the same labels in the same order in every split.

    Raises:
        DistillationError: with the first difference.
    """
    for name, ours in student.splits.items():
        theirs = teacher.split(name)
        where = f"{name} split of {teacher.spec} and {student.spec}"
        if len(theirs.keys) != len(ours.keys):
            raise DistillationError(f"{where}: {len(theirs.keys)} and {len(ours.keys)} utterances cannot be paired")
        for row, (one, other) in enumerate(zip(theirs.keys, ours.keys, strict=True)):
            if one != other:
                raise DistillationError(f"{where}: utterance {row} is {one} in the one and {other} in the other")
        for row in np.flatnonzero(theirs.labels != ours.labels)[:1]:
            raise DistillationError(
                f"{where}: {ours.keys[row]} has the labels {theirs.labels[row]}, {ours.labels[row]}"
            )


def source_of(text: str) -> tuple[str, dict[str, str]]:
    """What decides a data set's features and splits: kind and options of its SPEC, but not its folder and steps."""
    parsed = spec.parse(text)
    return parsed.kind, {key: value for key, value in parsed.options.items() if key != "steps"}


def lesson(stage: Stage, teacher: Teacher, dataset: Dataset) -> Task:
    """What the student of a stage starts from and works towards; `stage` and `dataset` are the student's."""

    targets = Targets(
        teacher.checkpoint,
        teacher.dataset.split("train"),
        stage.settings.training.batch,
        inheritance.ratio_of(stage, teacher.checkpoint),
        dataset.split("train").frames.shape[1],
        stage.distillation.temperature,
    )

    def state() -> Mapping[str, torch.Tensor]:
        return inheritance.inherited(teacher.checkpoint, teacher.dataset, stage, dataset)

    described = {**dataclasses.asdict(stage.distillation), "teacher": fingerprint(teacher.checkpoint.state)}
    return Task(
        loss=distillation_loss(stage.distillation, targets),
        state=state,
        description={"distillation": {**described, "teacher_steps": teacher.steps}},
        defaults={"distillation": settings.defaults_of(stage.distillation)},
    )


def fingerprint(state: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 of a state: names, types, shapes and bytes."""
    digest = hashlib.sha256()
    for name in sorted(state):
        value = state[name].cpu().contiguous()
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.numpy().tobytes())
    return digest.hexdigest()


def _list(classes: Sequence[str]) -> str:
    shown = ", ".join(classes[:4])
    return f"{len(classes)} ({shown}{', ...' if len(classes) > 4 else ''})"


# ---- the chain -------------------------------------------------------------------------------------------------------


def distill(
    chain: Sequence[Stage], out: Path, teacher_path: Path | None = None, start: Start = Start.NEW
) -> dict[str, Any]:
    """Trains every stage of a chain and returns the summary that `metrics.json` holds.

    Args:
        chain: stages, from many steps per second to few.
        out: folder of the run, made when missing; a folder per stage inside.
        teacher_path: checkpoint that teaches the first stage. Where it has that stage's own time scale, it stands in
            its place and the chain goes on with the next. Without it the first stage learns from the labels alone.
        start: what becomes of a chain that is in `out`; it goes on stage by stage.

    Raises:
        DataError, CheckpointError, SettingsError: input that cannot be used.
        DistillationError: a teacher that does not fit, found before any stage trains where it can be.
        TrainingError, OutputError: see `model.train.train`.
    """
    if parallel.first():
        check_start(out, start, [f"{stage.folder}/{name}" for stage in chain for name in ("ckpt.pt", "last.pt")])
    datasets = [open_dataset(stage.settings.data) for stage in chain]
    for finer, coarser in itertools.pairwise(datasets):
        check_pairs(finer, coarser)
    rows: list[dict[str, Any]] = []
    teacher = None
    remaining = list(zip(chain, datasets, strict=True))
    if teacher_path is not None:
        teacher = _load_teacher(teacher_path, chain[0])
        if teacher.steps == chain[0].steps:
            remaining = remaining[1:]
        if not remaining:
            raise DistillationError(f"{teacher_path}: has {teacher.steps} steps per second already; no stage is left")
        check_teacher(teacher, remaining[0][0], remaining[0][1])
        rows.append(_measured(teacher))
    for stage, _ in remaining[teacher is None :]:
        if stage.settings.augmentation.cut_mix:
            raise DistillationError(
                f"stage {stage.number}: cut_mix {stage.settings.augmentation.cut_mix:g}: its teacher answers whole "
                "utterances, not mixed ones; leave it out where there is a teacher"
            )
    with only_writer(out) if parallel.first() else contextlib.nullcontext():
        if parallel.first():
            _prepare([stage for stage, _ in remaining], out, start)
        for stage, dataset in remaining:
            task = None
            if teacher is not None:
                check_teacher(teacher, stage, dataset)
                stage = inheritance.with_leak(stage, teacher.checkpoint)
                task = lesson(stage, teacher, dataset)
            rows.append(row_of(stage, dataset, train(stage.settings, out / stage.folder, start, task=task)))
            path = out / stage.folder / "ckpt.pt"
            teacher = Teacher(path, _load(path), dataset)
        summary = summary_of(rows, teacher_path)
        if parallel.first():
            write_text(out / "metrics.json", json.dumps(summary, indent=2))
            _plot(out / "accuracy.png", rows)
    return summary


def _prepare(chain: Sequence[Stage], out: Path, start: Start) -> None:
    """A later --resume must not find the states of an older chain; nor may a teacher go on that has taught already."""
    lasts = [out / stage.folder / "last.pt" for stage in chain]
    if start is not Start.RESUME:
        for last in lasts:
            last.unlink(missing_ok=True)
    for (stage, last), (later, taught) in itertools.pairwise(zip(chain, lasts, strict=True)):
        if last.exists() and taught.exists():
            done, epochs = len(checkpoint.load_content(last).get("history", ())), stage.settings.training.epochs
            if done < epochs:
                raise DistillationError(
                    f"{last}: would go on from {done} to {epochs} epochs, but stage {later.number} has learned from it "
                    f"as it is; give stage.{stage.number}.epochs={done}, or start over with --force"
                )


def _load(path: Path) -> Checkpoint:
    return parallel.from_first(lambda: checkpoint.load(path))


def _load_teacher(path: Path, first: Stage) -> Teacher:
    loaded = _load(path)
    steps = round(1 / loaded.step_seconds)
    if steps < first.steps:
        raise DistillationError(
            f"{path}: has {steps} steps per second, fewer than the first stage's {first.steps}; a teacher has no fewer"
        )
    base, _, _ = first.settings.data.rpartition("steps=")
    return Teacher(path, loaded, open_dataset(f"{base}steps={steps}", loaded.standardisation))


def _measured(teacher: Teacher) -> dict[str, Any]:
    """The row of a teacher that was trained elsewhere."""
    network = teacher.checkpoint.model().to(best_device())
    accuracies = {
        f"{name}_accuracy": evaluate(network, teacher.dataset.split(name))[1] for name in ("validation", "test")
    }
    test = teacher.dataset.split("test")
    return {
        "stage": 0,
        "steps_per_second": teacher.steps,
        "steps": test.frames.shape[1],
        "checkpoint": str(teacher.path),
        **accuracies,
        "test_samples": len(test.labels),
    }


def row_of(stage: Stage, dataset: Dataset, metrics: Mapping[str, Any]) -> dict[str, Any]:
    """What a summary says of a stage."""
    taken = ("validation_accuracy", "test_accuracy", "test_samples", "seconds")
    return {
        "stage": stage.number,
        "steps_per_second": stage.steps,
        "steps": dataset.split("test").frames.shape[1],
        "checkpoint": f"{stage.folder}/ckpt.pt",
        "epochs": stage.settings.training.epochs,
        **{name: metrics[name] for name in taken},
        **({"published": dataclasses.asdict(stage.published)} if stage.published else {}),
    }


def summary_of(rows: list[dict[str, Any]], teacher_path: Path | None = None) -> dict[str, Any]:
    """What `metrics.json` of a chain holds."""
    first, last = rows[0], rows[-1]
    return {
        "checkpoint": last["checkpoint"],
        "teacher": None if teacher_path is None else str(teacher_path),
        "steps_per_second": last["steps_per_second"],
        "validation_accuracy": last["validation_accuracy"],
        "test_accuracy": last["test_accuracy"],
        "test_samples": last["test_samples"],
        "test_accuracy_lost": first["test_accuracy"] - last["test_accuracy"],
        "steps_saved": 1 - last["steps_per_second"] / first["steps_per_second"],
        "seconds": sum(row.get("seconds", 0.0) for row in rows),
        "stages": rows,
    }


def _plot(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.5, 3.6), layout="constrained")
    axis = figure.subplots()
    steps = [row["steps_per_second"] for row in rows]
    for split in ("validation", "test"):
        axis.plot(steps, [row[f"{split}_accuracy"] for row in rows], marker="o", label=split)
    axis.set_xscale("log")
    axis.set_xticks(steps, [str(value) for value in steps])
    axis.set_xticks([], minor=True)
    axis.invert_xaxis()  # the chain runs from left to right
    axis.set_xlabel("steps per second")
    axis.set_ylabel("accuracy")
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False)
    write_picture(path, figure)


def work(arguments: argparse.Namespace) -> Result | None:
    check_folder(arguments.out)
    parallel.join()
    chain = stages.read(arguments.config, arguments.overrides)
    summary = distill(chain, arguments.out, arguments.teacher, arguments.start)
    header = ("steps per second", "validation accuracy", "test accuracy", "published", "test samples", "checkpoint")
    rows: list[tuple[str, ...]] = [header]
    for row in summary["stages"]:
        accuracies = [f"{row[f'{split}_accuracy']:.4f}" for split in ("validation", "test")]
        accuracies.append(f"{row['published']['accuracy']:.4f}" if "published" in row else NONE)
        rows.append((str(row["steps_per_second"]), *accuracies, str(row["test_samples"]), str(row["checkpoint"])))
    sources = dict.fromkeys(row["published"]["source"] for row in summary["stages"] if "published" in row)
    verdict = (
        f"{summary['checkpoint']}: written; {100 * summary['steps_saved']:.3g} % fewer steps than the teacher, "
        f"{100 * summary['test_accuracy_lost']:.2f} points of test accuracy lost"
    )
    published = [f"published: {source}" for source in sources]
    return parallel.spoken(Result(summary, results(rows, published, verdict, texts=0, last_is_text=True)))
