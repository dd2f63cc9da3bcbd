"""Training configuration: a TOML file, checked key by key, with `--set table.key=value` on top."""

from __future__ import annotations

import dataclasses
import os
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from model.spikescr import SpikeSCRConfig


class SettingsError(ValueError):
    """A configuration that cannot be used: the message names the file, the key and what is allowed."""


@dataclasses.dataclass(frozen=True)
class Training:
    """How to train.

    Attributes:
        epochs: passes over the training split.
        batch: samples a step.
        learning_rate: peak of the schedule (AdamW).
        weight_decay: AdamW's.
        warmup_epochs: linear rise from zero; a cosine to zero follows.
        clip: largest norm of the gradient.
        seed: of weights, order, dropout and augmentation.
    """

    epochs: int = 40
    batch: int = 64
    learning_rate: float = 0.005
    weight_decay: float = 0.01
    warmup_epochs: int = 3
    clip: float = 1.0
    seed: int = 0


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """What happens to training samples, each with its probability a sample.

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
    model: SpikeSCRConfig
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
    try:
        tables = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: not TOML: {error}") from error
    for text in overrides:
        _override(tables, text)
    if unknown := set(tables) - {"data", "model", "training", "augmentation"}:
        raise SettingsError(f"{path}: unknown table {', '.join(sorted(unknown))}")
    data = dict(tables.get("data", {}))
    spec = data.pop("spec", None)
    if not isinstance(spec, str) or data:
        raise SettingsError(f"{path}: [data] takes one key, spec = 'SPEC'")
    network = dict(tables.get("model", {}))
    preset = network.pop("preset", "shd")
    try:
        config = SpikeSCRConfig.preset(preset, **network)
    except (ValueError, TypeError) as error:
        raise SettingsError(f"{path}: [model] {error}") from error
    return Settings(
        data=os.path.expandvars(spec),
        model=config,
        training=_table(path, "training", Training, tables),
        augmentation=_table(path, "augmentation", Augmentation, tables),
    )


def _override(tables: dict[str, Any], text: str) -> None:
    key, separator, value = text.partition("=")
    table, dot, name = key.partition(".")
    if not separator or not dot or not isinstance(tables.setdefault(table, {}), dict):
        raise SettingsError(f"--set {text}: expected table.key=value, for example training.epochs=5")
    try:
        parsed = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        parsed = value
    tables[table][name] = parsed


def _table(path: str | Path, name: str, cls: Any, tables: Mapping[str, Any]) -> Any:
    given = tables.get(name, {})
    defaults = {field.name: field.default for field in dataclasses.fields(cls)}
    for key, value in given.items():
        if key not in defaults:
            raise SettingsError(f"{path}: [{name}] has no key {key}; known are {', '.join(defaults)}")
        wanted = type(defaults[key])
        fits = isinstance(value, (int, float) if wanted is float else wanted) and not isinstance(value, bool)
        if not fits or value < 0:
            raise SettingsError(f"{path}: [{name}] {key} = {value!r}; a {wanted.__name__} of 0 or more is expected")
    table = cls(**given)
    for key in ("epochs", "batch"):
        if getattr(table, key, 1) < 1:
            raise SettingsError(f"{path}: [{name}] {key} must be at least 1")
    return table
