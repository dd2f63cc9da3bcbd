"""The stages of a curriculum distillation, from one TOML file.

`[data]`, `[model]`, `[training]`, `[augmentation]` are those of settings.py and hold for all stages, as does
`[distillation]`. Each `[[stage]]` names its `steps` a second and may change any key of the three latter tables:

    [distillation]
    teacher_weight = 0.5

    [[stage]]
    steps = 100
    epochs = 30

    [[stage]]
    steps = 40
    epochs = 20
    learning_rate = 0.002

What a paper has for a stage may stand beside it, to be shown beside ours: `published_accuracy` (test, 0 to 1) in the
stage, and where it is from in `[published]`, `source`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from neurotarget.model.training.settings import (
    Augmentation,
    Settings,
    SettingsError,
    Training,
    from_tables,
    load_tables,
)

from neurotarget import kinds
from neurotarget import tables as toml
from neurotarget.data import spec

DISTANCES = ("squared", "cosine")


@dataclasses.dataclass(frozen=True)
class Distillation:
    """The loss of a student: label_weight * CE + teacher_weight * KL and more, see model/distill.py.

    Attributes:
        label_weight: of the cross-entropy with the labels.
        teacher_weight: of the divergence from the teacher.
        temperature: divides the scores of both before their softmax; the divergence is multiplied by its square.
        entropy_weighted: weigh each sample's divergence with the student's entropy / log(classes).
        entropy_gradient: let the gradient through that weight, as the public code does.
        step_weight: of the divergence from the teacher step by step.
        feature_weight: of the distance from what the teacher's blocks hand on.
        feature_distance: one of `DISTANCES`, see training/divergence.py.
        reach_in_seconds, angles_in_seconds, leak_in_seconds, gain_matched, statistics_estimated: what the student takes
            over from its teacher with its meaning in seconds instead of steps, see training/inheritance.py.
    """

    label_weight: float = toml.number(1.0, at_least=0)
    teacher_weight: float = toml.number(0.5, at_least=0)
    temperature: float = toml.number(1.0, above=0)
    entropy_weighted: bool = False
    entropy_gradient: bool = False
    reach_in_seconds: bool = False
    angles_in_seconds: bool = False
    leak_in_seconds: bool = False
    gain_matched: bool = False
    statistics_estimated: bool = False
    step_weight: float = toml.number(0.0, at_least=0)
    feature_weight: float = toml.number(0.0, at_least=0)
    feature_distance: str = toml.text("squared", one_of=DISTANCES)


@dataclasses.dataclass(frozen=True)
class Published:
    """A paper's test accuracy, from 0 to 1, and where it stands."""

    source: str
    accuracy: float = toml.number(0.0, at_least=0, at_most=1)


@dataclasses.dataclass(frozen=True)
class Stage:
    """One network of the chain.

    Attributes:
        number: place in the chain, from 1.
        steps: steps per second.
        settings: of its training; the data SPEC holds `steps`.
        distillation: its loss, where it has a teacher.
        published: what a paper has for it, where one has.
    """

    number: int
    steps: int
    settings: Settings
    distillation: Distillation
    published: Published | None = None

    @property
    def folder(self) -> str:
        return f"stage{self.number}_steps{self.steps}"


# the options of time-aware inheritance
IN_SECONDS = ("reach_in_seconds", "angles_in_seconds", "leak_in_seconds", "gain_matched", "statistics_estimated")

TABLES: dict[str, Any] = {"training": Training, "augmentation": Augmentation, "distillation": Distillation}


def read(path: str | Path, overrides: Iterable[str] = ()) -> tuple[Stage, ...]:
    """Reads the stages of a chain, in order.

    Args:
        path: TOML file as above.
        overrides: texts `table.key=value`, or `stage.N.key=value` with N from 1.

    Raises:
        SettingsError: missing file, TOML that does not parse, unknown key, wrong value, no stage, or a stage that has
            more steps than the one before. As many are allowed: a network that learns from itself ("born again",
            Furlanello et al. 2018, arXiv 1805.04770; theirs starts from random weights, ours from its teacher's).
        DataError: the SPEC is not valid.
    """
    tables = load_tables(path, kinds.CHAIN, overrides)
    given = tables.pop("stage", None)
    if not isinstance(given, list) or not given or not all(isinstance(table, dict) for table in given):
        raise SettingsError(f"{path}: no stages; write [[stage]] with steps = N, once for each stage")
    stages: list[Stage] = []
    for number, table in enumerate(given, start=1):
        stage = _stage(path, number, table, tables)
        if stages and stage.steps > stages[-1].steps:
            raise SettingsError(
                f"{path}: stage {number} has {stage.steps} steps per second, the one before {stages[-1].steps}; a "
                "curriculum goes from many steps to few, or stays where it is"
            )
        stages.append(stage)
    return tuple(stages)


def _stage(path: str | Path, number: int, own: Mapping[str, Any], common: Mapping[str, Any]) -> Stage:
    table = dict(own)
    steps = table.pop("steps", None)
    if type(steps) is not int or steps < 1:
        raise SettingsError(
            f"{path}: stage {number}: steps = {toml.shown(steps)}; a whole number per second is expected"
        )
    tables = {name: dict(value) if isinstance(value, dict) else value for name, value in common.items()}
    published = _published(path, tables.pop("published", {}), table.pop("published_accuracy", None))
    for name, cls in TABLES.items():
        keys = {field.name for field in dataclasses.fields(cls)} & set(table)
        if keys:
            merged = tables.setdefault(name, {})
            merged.update({key: table.pop(key) for key in keys})
    if table:
        fields = [field.name for cls in TABLES.values() for field in dataclasses.fields(cls)]
        known = ", ".join(["steps", *fields, "published_accuracy"])
        raise SettingsError(f"{path}: stage {number} has no key {', '.join(sorted(table))}; known are {known}")
    distillation = toml.fill(Distillation, tables.pop("distillation", {}), f"{path}: [distillation]", SettingsError)
    settings = from_tables(path, tables)
    if distillation.leak_in_seconds and settings.model.neuron == "plif":
        raise SettingsError(
            f"{path}: stage {number}: leak_in_seconds sets one tau for all neurons, model.neuron = 'plif' learns each "
            "layer's; leave one of them out"
        )
    return Stage(
        number=number,
        steps=steps,
        settings=dataclasses.replace(settings, data=with_steps(settings.data, steps)),
        distillation=distillation,
        published=published,
    )


def _published(path: str | Path, table: Any, accuracy: Any) -> Published | None:
    if accuracy is None:
        return None
    content = {**table, "accuracy": accuracy} if isinstance(table, dict) else table
    return toml.fill(Published, content, f"{path}: [published]", SettingsError)


def with_steps(text: str, steps: int) -> str:
    """The SPEC of the same utterances at that many steps per second.

    Raises:
        SettingsError: the SPEC names its own steps.
        DataError: it is not valid.
    """
    if "steps" in spec.parse(text).options:
        raise SettingsError(f"data.spec = {text}: leave steps out; each stage has its own")
    return f"{text}{'&' if '?' in text else '?'}steps={steps}"
