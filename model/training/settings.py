"""Training configuration: a TOML file, checked key by key, with `--set table.key=value` on top."""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from neurotarget.model.training import registry

from neurotarget.data import DataError, Dataset
from neurotarget.data.spec import expanded
from neurotarget.errors import UserError

AT_LEAST_ONE = ("epochs", "batch")
SHARES = ("time_mask", "probability")
POSITIVE = ("learning_rate", "clip", "temperature")


class SettingsError(UserError):
    """A configuration that cannot be used: the message names the file, the key and what is allowed."""


@dataclasses.dataclass(frozen=True)
class Training:
    """How to train.

    Attributes:
        epochs: passes over the training split.
        batch: samples per step.
        learning_rate: peak of the schedule (AdamW).
        weight_decay: AdamW's.
        warmup_epochs: linear rise from zero; a cosine to zero follows.
        clip: largest norm of the gradient.
        delay_learning_rate: of learnt delays, in steps; a cosine from it to zero. Of no effect without delays.
        seed: of weights, order, dropout and augmentation.
    """

    epochs: int = 40
    batch: int = 64
    learning_rate: float = 0.005
    weight_decay: float = 0.01
    warmup_epochs: int = 3
    clip: float = 1.0
    delay_learning_rate: float = 0.1
    seed: int = 0


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """What happens to training samples, each with its probability per sample.

    Attributes:
        time_mask: largest share of the steps that is silenced in one stretch.
        feature_mask: largest number of neighbouring features silenced in one band.
        probability: of each of the two masks.
        shift: largest shift in time, in steps, either way.
    """

    time_mask: float = 0.0
    feature_mask: int = 0
    probability: float = 0.5
    shift: int = 0


@dataclasses.dataclass(frozen=True)
class Settings:
    """One training run: data SPEC, network, training, augmentation."""

    data: str
    model: registry.Config
    training: Training
    augmentation: Augmentation

    def as_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def read(path: str | Path, overrides: Iterable[str] = ()) -> Settings:
    """Reads a configuration.

    Args:
        path: TOML with `[data] spec`, `[model]` (a preset's name and changed fields), `[training]`, `[augmentation]`.
        overrides: texts `table.key=value`, values as in TOML (bare words are texts).

    Raises:
        SettingsError: missing file, TOML that does not parse, unknown table or key, wrong type or value.
    """
    return from_tables(path, load_tables(path, overrides))


def load_tables(path: str | Path, overrides: Iterable[str] = ()) -> dict[str, Any]:
    """The tables of a TOML file with the overrides in place, not checked yet."""
    try:
        tables = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: not TOML: {error}") from error
    for text in overrides:
        _override(tables, text)
    return tables


def from_tables(path: str | Path, tables: Mapping[str, Any]) -> Settings:
    """Checks tables and makes settings of them; `path` is for the messages."""
    known = ("data", "model", "training", "augmentation")
    if unknown := set(tables) - set(known):
        raise SettingsError(f"{path}: unknown table {', '.join(sorted(unknown))}; known are {', '.join(known)}")
    for name, table in tables.items():
        if not isinstance(table, dict):
            raise SettingsError(f"{path}: {name} = {table!r}; a table [{name}] is expected")
    data = dict(tables.get("data", {}))
    spec = data.pop("spec", None)
    if not isinstance(spec, str) or data:
        raise SettingsError(f"{path}: [data] takes one key, spec = 'SPEC'")
    network = dict(tables.get("model", {}))
    preset = network.pop("preset", "shd")
    if taken := {"features", "classes"} & set(network):
        raise SettingsError(f"{path}: [model] {', '.join(sorted(taken))}: the data set decides; leave it out")
    try:
        config = registry.preset(preset, **network)
    except (ValueError, TypeError) as error:
        raise SettingsError(f"{path}: [model] {error}") from error
    return Settings(
        data=_expanded(path, spec),
        model=config,
        training=typed_table(path, "training", Training, tables.get("training", {})),
        augmentation=typed_table(path, "augmentation", Augmentation, tables.get("augmentation", {})),
    )


def fitted(config: Settings, dataset: Dataset) -> Settings:
    """The settings with the data set's features and classes in the network's shape.

    Raises:
        SettingsError: an augmentation that is larger than the data set's frames.
    """
    how, steps = config.augmentation, dataset.split("train").frames.shape[1]
    if how.feature_mask > dataset.features or how.shift >= steps:
        raise SettingsError(
            f"augmentation: feature_mask {how.feature_mask} and shift {how.shift} do not fit {config.data}, whose "
            f"frames have {dataset.features} features and {steps} steps"
        )
    network = dataclasses.replace(config.model, features=dataset.features, classes=len(dataset.classes))
    return dataclasses.replace(config, model=network)


def _expanded(path: str | Path, spec: str) -> str:
    try:
        return expanded(spec)
    except DataError as error:
        raise SettingsError(f"{path}: {error}, or --set data.spec=") from error


def _override(tables: dict[str, Any], text: str) -> None:
    key, separator, value = text.partition("=")
    *path, name = key.split(".")
    table: Any = tables
    for part in path:
        if isinstance(table, dict):
            table = table.setdefault(part, {})
        elif isinstance(table, list) and part.isdecimal() and 0 < int(part) <= len(table):
            table = table[int(part) - 1]  # stages are counted from one
        else:
            table = None
    if not (separator and path and name and isinstance(table, dict)):
        raise SettingsError(f"--set {text}: expected table.key=value, for example training.epochs=5")
    try:
        parsed = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        parsed = value
    table[name] = parsed


def typed_table(path: str | Path, name: str, cls: Any, given: Mapping[str, Any]) -> Any:
    """An instance of the dataclass `cls` from a table of the file, every key and value checked."""
    defaults = {field.name: field.default for field in dataclasses.fields(cls)}
    for key, value in given.items():
        where = f"{path}: [{name}] {key} = {value!r}"
        if key not in defaults:
            raise SettingsError(f"{path}: [{name}] has no key {key}; known are {', '.join(defaults)}")
        wanted = type(defaults[key])
        fits = type(value) is wanted or (wanted is float and type(value) is int)
        if not fits or not 0 <= value < 2**63:
            raise SettingsError(f"{where}; a {wanted.__name__} of 0 or more is expected")
        if key in AT_LEAST_ONE and value < 1:
            raise SettingsError(f"{where}; it must be at least 1")
        if key in SHARES and value > 1:
            raise SettingsError(f"{where}; a share of 0 to 1 is expected")
        if key in POSITIVE and value == 0:
            raise SettingsError(f"{where}; it must be above 0")
    return cls(**given)
