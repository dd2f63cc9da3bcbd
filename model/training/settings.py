"""Training configuration: a TOML file, checked key by key, with `--set table.key=value` on top."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from neurotarget.model.training import registry

from neurotarget import kinds, tables
from neurotarget.data import DataError, Dataset
from neurotarget.data.spec import expanded
from neurotarget.errors import UserError
from neurotarget.tables import number

SCHEDULES = ("cosine", "warm_restarts", "periodic")
INITIALISATIONS = ("torch", "xavier_uniform")
BATCHES = ("padded", "cut", "sorted")
AVERAGES = ("none", "equal", "exponential")
WIDTHS = ("uniform", "fixed")
COUNTS_FORMS = ("published", "normal")
ROWS = ("feature_mask", "time_jitter", "feature_jitter", "event_drop")  # of features, a frame being one row
OF_SOUND, OF_COUNTS = ("speed", "vocal_tract", "level", "background"), ("added_counts",)
PRECISIONS = ("float32", "tf32", "bfloat16")


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
        schedule: one of `SCHEDULES`: the cosine falls once until the last epoch; or in `restart_epochs` and starts
            again at its peak (Loshchilov and Hutter 2017); or in as many, and rises again in as many, as PyTorch's
            CosineAnnealingLR does beyond its T_max.
        restart_epochs: in which the cosine falls from its peak to zero, where it does so more than once.
        clip: largest norm of the gradient; 0 for no limit.
        delay_learning_rate: of learnt delays, in steps; a cosine from it to zero. Of no effect without delays.
        seed: of weights, order, dropout and augmentation.
        initialisation: one of `INITIALISATIONS`: PyTorch's own for each layer, or xavier_uniform for every matrix.
        select_by: whether the checkpoint is the epoch with the best validation accuracy or the least validation loss.
        batches: one of `BATCHES`: padded to the longest utterance of the data set; cut to the longest of the batch; or
            cut, and of utterances of similar length. Batch normalisation learns from padding, so each is a training of
            its own; what a trained network computes does not depend on padding.
        average: one of `AVERAGES`, of the weights over the last epochs (averaging.py); the average is what is validated
            and kept.
        average_epochs: how many of the last; all where there are fewer.
        average_decay: of the exponential average, per step.
        label_smoothing: share of each label that is spread over all classes alike.
        accumulate: parts in which a batch is computed, one after the other; their gradients are added. The step is that
            of the whole batch but for batch normalisation, which sees a part.
        checkpointing: whether blocks are computed again in the backward pass rather than kept (recomputation.py).
        precision: one of `PRECISIONS`, of matrix products (precision.py).
    """

    epochs: int = number(40, at_least=1)
    batch: int = number(64, at_least=1)
    learning_rate: float = number(0.005, above=0)
    weight_decay: float = number(0.01, at_least=0)
    warmup_epochs: int = number(3, at_least=0)
    schedule: str = tables.text("cosine", one_of=SCHEDULES)
    restart_epochs: int = number(40, at_least=1)
    clip: float = number(1.0, at_least=0)
    delay_learning_rate: float = number(0.1, at_least=0)
    seed: int = number(0, at_least=0)
    initialisation: str = tables.text("torch", one_of=INITIALISATIONS)
    select_by: str = tables.text("accuracy", one_of=("accuracy", "loss"))
    batches: str = tables.text("padded", one_of=BATCHES)
    average: str = tables.text("none", one_of=AVERAGES)
    average_epochs: int = number(10, at_least=1)
    average_decay: float = number(0.99, at_least=0, at_most=0.9999)
    label_smoothing: float = number(0.0, at_least=0, at_most=0.99)
    accumulate: int = number(1, at_least=1)
    checkpointing: bool = False
    precision: str = tables.text("float32", one_of=PRECISIONS)


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """What happens to training samples, each with its probability per sample.

    Attributes:
        time_mask: largest share of the steps that is silenced in one stretch.
        time_mask_width: of the stretch, uniform from zero up to that share, or always that share.
        feature_mask: largest number of neighbouring features silenced in one band.
        probability: of each of the two masks.
        shift: largest shift in time, in steps, either way.
        speed: largest change of speed, as a share, either way; of log-mel frames.
        vocal_tract: largest change of all frequencies, as a share, either way: other speakers; of log-mel frames.
        level: largest change of level, in standard deviations of a feature, either way; of log-mel frames.
        background: probability that noise is mixed into a sample; of log-mel frames.
        background_from_db, background_to_db: signal over noise, drawn uniformly between them.
        time_jitter: probability that each feature of a sample moves in time by up to `jitter` steps.
        feature_jitter: probability that each step of a sample moves by up to `jitter` features.
        jitter: see there.
        event_drop: largest number of cells of a sample that are silenced.
        added_counts: probability that counts are added to a sample's; of counts.
        added_counts_form: which ones, one of `COUNTS_FORMS`: those of SpikeSCR's public code, or magnitudes of normal
            numbers of `added_counts_deviation`, rounded.
        cut_mix: probability that a stretch of a sample is another one's, and its label in part.
        cut_mix_share: largest share of the steps that is mixed in.
        cut_mix_width: of the stretch, uniform from zero up to that share, or always that share.
    """

    time_mask: float = number(0.0, at_least=0, at_most=1)
    time_mask_width: str = tables.text("uniform", one_of=WIDTHS)
    feature_mask: int = number(0, at_least=0)
    probability: float = number(0.5, at_least=0, at_most=1)
    shift: int = number(0, at_least=0)
    speed: float = number(0.0, at_least=0, at_most=0.5)
    vocal_tract: float = number(0.0, at_least=0, at_most=0.5)
    level: float = number(0.0, at_least=0)
    background: float = number(0.0, at_least=0, at_most=1)
    background_from_db: float = number(5.0, at_least=-100, at_most=100)
    background_to_db: float = number(20.0, at_least=-100, at_most=100)
    time_jitter: float = number(0.0, at_least=0, at_most=1)
    feature_jitter: float = number(0.0, at_least=0, at_most=1)
    jitter: int = number(1, at_least=1)
    event_drop: int = number(0, at_least=0)
    added_counts: float = number(0.0, at_least=0, at_most=1)
    added_counts_form: str = tables.text("published", one_of=COUNTS_FORMS)
    added_counts_deviation: float = number(0.75, above=0)
    cut_mix: float = number(0.0, at_least=0, at_most=1)
    cut_mix_share: float = number(1.0, at_least=0, at_most=1)
    cut_mix_width: str = tables.text("uniform", one_of=WIDTHS)


@dataclasses.dataclass(frozen=True)
class Settings:
    """One training run: data SPEC, network, training, augmentation."""

    data: str
    model: registry.Config
    training: Training
    augmentation: Augmentation

    def as_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    def defaults(self) -> dict[str, dict[str, Any]]:
        """What each setting is where nothing is said, table by table as in `as_dict`."""
        named = {"model": self.model, "training": self.training, "augmentation": self.augmentation}
        return {name: defaults_of(table) for name, table in named.items()}


def defaults_of(table: Any) -> dict[str, Any]:
    """What each field of a dataclass is where nothing is said."""
    fields = dataclasses.fields(table)
    return {field.name: field.default for field in fields if field.default is not dataclasses.MISSING}


def read(path: str | Path, overrides: Iterable[str] = ()) -> Settings:
    """Reads a configuration.

    Args:
        path: TOML with `[data] spec`, `[model]` (a preset's name and changed fields), `[training]`, `[augmentation]`.
        overrides: texts `table.key=value`, values as in TOML (bare words are texts).

    Raises:
        SettingsError: missing file, TOML that does not parse, unknown table or key, wrong type or value.
    """
    return from_tables(path, load_tables(path, kinds.TRAINING, overrides))


def load_tables(path: str | Path, kind: kinds.Kind, overrides: Iterable[str] = ()) -> dict[str, Any]:
    """The tables of a TOML file with the overrides in place, not checked yet."""
    read = tables.read(path, kind, SettingsError)
    for text in overrides:
        tables.override(read, text, SettingsError)
    return read


def from_tables(path: str | Path, read: Mapping[str, Any]) -> Settings:
    """Checks tables and makes settings of them; `path` is for the messages."""
    known = ("data", "model", "training", "augmentation")
    if unknown := set(read) - set(known):
        raise SettingsError(f"{path}: unknown table {', '.join(sorted(unknown))}; known are {', '.join(known)}")
    for name, table in read.items():
        if not isinstance(table, dict):
            raise SettingsError(f"{path}: {name} = {tables.shown(table)}; a table [{name}] is expected")
    data = dict(read.get("data", {}))
    spec = data.pop("spec", None)
    if not isinstance(spec, str) or data:
        raise SettingsError(f"{path}: [data] takes one key, spec = 'SPEC'")
    network = dict(read.get("model", {}))
    preset = network.pop("preset", "shd")
    if taken := {"features", "classes"} & set(network):
        raise SettingsError(f"{path}: [model] {', '.join(sorted(taken))}: the data set decides; leave it out")
    try:
        config = registry.preset(preset, **network)
    except (ValueError, TypeError, OverflowError) as error:
        raise SettingsError(f"{path}: [model] {error}") from error
    return Settings(
        data=_expanded(path, spec),
        model=config,
        training=tables.fill(Training, read.get("training", {}), f"{path}: [training]", SettingsError),
        augmentation=tables.fill(Augmentation, read.get("augmentation", {}), f"{path}: [augmentation]", SettingsError),
    )


def check_augmentation(config: Settings, dataset: Dataset) -> None:
    """Refuses what cannot be done to the data set's frames.

    Raises:
        SettingsError: an augmentation that is larger than they are, of graded frames for counts, or neighbouring
            features of images.
    """
    how, steps, features = config.augmentation, dataset.split("train").frames.shape[1], dataset.shape[0]
    counts = dataset.standardisation is None
    for names, wrong, reason in (
        (ROWS, len(dataset.shape) > 1, "are images, whose pixels are no row of features"),
        (OF_SOUND, counts, "are counts, and this is for log-mel frames"),
        (OF_COUNTS, not counts, "are log-mel, and this is for counts"),
    ):
        if wrong and (given := {name: getattr(how, name) for name in names if getattr(how, name)}):
            shown = ", ".join(f"{name} {value:g}" for name, value in given.items())
            raise SettingsError(f"augmentation: {shown}: frames of {config.data} {reason}; leave it out")
    if how.background_from_db > how.background_to_db:
        raise SettingsError(
            f"augmentation: background_from_db {how.background_from_db:g} is above background_to_db "
            f"{how.background_to_db:g}; give the lower one first"
        )
    jitter = how.jitter if how.time_jitter or how.feature_jitter else 0
    if how.feature_mask > features or max(how.shift, jitter) >= steps or jitter >= features:
        raise SettingsError(
            f"augmentation: feature_mask {how.feature_mask}, shift {how.shift} and jitter {jitter} do not fit "
            f"{config.data}, whose frames have {features} features and {steps} steps"
        )


def fitted(config: Settings, dataset: Dataset) -> Settings:
    """The settings with the data set's features and classes in the network's shape.

    Raises:
        SettingsError: see `check_augmentation`.
        DataError: its frames are images.
    """
    features = dataset.features  # first: of images nothing else matters
    check_augmentation(config, dataset)
    network = dataclasses.replace(config.model, features=features, classes=len(dataset.classes))
    return dataclasses.replace(config, model=network)


def _expanded(path: str | Path, spec: str) -> str:
    try:
        return expanded(spec)
    except DataError as error:
        raise SettingsError(f"{path}: {error}, or --set data.spec=") from error
