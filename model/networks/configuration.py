"""Shape and neuron of a network: checked fields, and presets by name."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, ClassVar, Self


class Configuration:
    """What the frozen dataclasses of all networks have in common; each has its own fields in its own order.

    Attributes:
        PRESETS: fields by the name of a preset.
        COUNTS: fields that must be at least one.
        CHOICES: what fields that name something may be.
    """

    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[Any]]]
    PRESETS: ClassVar[Mapping[str, Mapping[str, Any]]]
    COUNTS: ClassVar[tuple[str, ...]]
    CHOICES: ClassVar[Mapping[str, tuple[str, ...]]]

    width: int
    tau: float
    threshold: float
    alpha: float
    dropout: float
    twin: bool
    readout: str
    neuron: str

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):  # a TOML or a checkpoint may hold anything
            value, wanted = getattr(self, field.name), type(field.default)
            if type(value) is not wanted and not (wanted is float and type(value) is int):
                raise ValueError(f"{field.name} = {value!r}; a {wanted.__name__} is expected")
        for name in self.COUNTS:
            if getattr(self, name) < 1:
                raise ValueError(f"{name} = {getattr(self, name)}; it must be at least 1")
        for name, known in self.CHOICES.items():
            if getattr(self, name) not in known:
                raise ValueError(f"{name} = {getattr(self, name)!r}; known are {', '.join(known)}")
        self._check_shape()
        for name, least, unit in (("tau", 1, " step"), ("threshold", 0, ""), ("alpha", 0, "")):
            if not least < getattr(self, name) < math.inf:
                raise ValueError(f"{name} = {getattr(self, name)}; it must exceed {least}{unit} and be finite")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout = {self.dropout}; it must lie in [0, 1)")

    def _check_shape(self) -> None:
        """Raises ValueError where fields do not fit each other."""

    @classmethod
    def preset(cls, name: str, **changes: object) -> Self:
        """A named configuration, one of `PRESETS`, with changed fields.

        Raises:
            ValueError: unknown name or field, or a value that the network cannot have.
        """
        if name not in cls.PRESETS:
            raise ValueError(f"preset {name!r}; known are {', '.join(cls.PRESETS)}")
        fields = {field.name for field in dataclasses.fields(cls)}
        if unknown := set(changes) - fields:
            raise ValueError(f"unknown field {', '.join(sorted(unknown))}; known are {', '.join(sorted(fields))}")
        return cls(**{**cls.PRESETS[name], **changes})


BITS = range(2, 9)  # of an activation, where a twin is quantised
ATTENTIONS = ("spikescr", "spikformer", "spikformer_tim", "sdsa", "qk_token", "qk_channel")
DROPOUT_SITES = ("every_unit", "published")
READOUTS = ("softmax_sum", "mean", "max", "spike_count")
NEURONS = ("lif", "plif")
BLOCK_TYPES = ("spikescr", "spikformer")
BATCH_NORMALISATIONS = ("everywhere", "without_embedding_and_gate", "none")
BASELINE = {"block_type": "spikformer", "attention": "spikformer", "dropout_sites": "published"}


@dataclasses.dataclass(frozen=True)
class SpikeSCRConfig(Configuration):
    """Shape and neuron of a SpikeSCR network.

    Attributes:
        features: channels of the input per step.
        width: channels of the residual stream (d).
        heads: attention heads; `width / heads` must be even for the rotary position.
        hidden: channels inside an MLP (h).
        blocks: transformer blocks (L).
        classes: outputs.
        kernel: taps of the depthwise convolution over time.
        tau: membrane time constant in steps; of PLIF, that of the first step of training.
        threshold: firing threshold.
        alpha: slope of the ATan surrogate gradient.
        dropout: share of channels dropped after a LIF, in training only.
        dropout_sites: one of `DROPOUT_SITES`: after every LIF that follows a batch normalisation; or where the public
            code has it, after the attention product and before the head too, but not after query, key, value and gate.
        causal: attention over past keys only, and convolutions that do not look ahead.
        attention: one of `ATTENTIONS`: the paper's own, or one that it compares with (docs/backbones.md).
        twin: the same architecture without spikes (networks/twin.py).
        readout: one of `READOUTS`, how the logits of the steps become the scores of the classes (parts.py).
        neuron: one of `NEURONS`: LIF, or PLIF, whose time constant each layer learns (networks/neuron.py).
        block_type: one of `BLOCK_TYPES`: attention, MLP, gated convolution and MLP; or attention and MLP alone, the
            block of Spiking-Transformer-Speech-baseline.
        batch_normalisation: one of `BATCH_NORMALISATIONS`: after each layer with weights; not after the embedding and
            the gate's second map, which the public code's `use_bn = False` leaves out; or nowhere.
        layer_normalisation: each branch of a block begins with it (networks/normalisation.py); not exportable.
        final_lif: a neuron between the blocks and the head.
    """

    features: int = 140
    width: int = 128
    heads: int = 8
    hidden: int = 128
    blocks: int = 1
    classes: int = 20
    kernel: int = 31
    tau: float = 2.0
    threshold: float = 1.0
    alpha: float = 5.0
    dropout: float = 0.1
    causal: bool = False
    attention: str = "spikescr"
    twin: bool = False
    dropout_sites: str = "every_unit"
    readout: str = "softmax_sum"
    neuron: str = "lif"
    block_type: str = "spikescr"
    batch_normalisation: str = "everywhere"
    layer_normalisation: bool = False
    final_lif: bool = False

    COUNTS = ("features", "width", "heads", "hidden", "blocks", "classes", "kernel")
    CHOICES = {  # noqa: RUF012
        "attention": ATTENTIONS,
        "dropout_sites": DROPOUT_SITES,
        "readout": READOUTS,
        "neuron": NEURONS,
        "block_type": BLOCK_TYPES,
        "batch_normalisation": BATCH_NORMALISATIONS,
    }
    PRESETS = {  # noqa: RUF012
        # Wang et al. 2025, table of configurations.
        "shd": {"width": 128, "heads": 8, "hidden": 128, "classes": 20},
        "ssc": {"width": 256, "heads": 16, "hidden": 1024, "classes": 35},
        "gsc": {"width": 256, "heads": 16, "hidden": 1024, "classes": 35},
        "tiny": {"features": 12, "width": 16, "heads": 2, "hidden": 24, "classes": 4, "kernel": 5},  # for tests
        # Spiking-Transformer-Speech-baseline, best_config_*_former.py
        "baseline_shd": {**BASELINE, "width": 128, "heads": 8, "hidden": 128, "classes": 20},
        "baseline_ssc": {**BASELINE, "width": 256, "heads": 16, "hidden": 1024, "classes": 35},
        "baseline_gsc": {**BASELINE, "width": 256, "heads": 16, "hidden": 1024, "classes": 35, "blocks": 2},
    }

    def _check_shape(self) -> None:
        if self.width % self.heads or (self.width // self.heads) % 2:
            raise ValueError(f"width {self.width} does not divide into {self.heads} heads of an even size")
        if self.kernel % 2 == 0:
            raise ValueError(f"kernel = {self.kernel}; it must be odd")
        if self.twin and self.layer_normalisation:
            raise ValueError("twin with layer_normalisation: its operations would not be counted; leave one out")
