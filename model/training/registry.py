"""The networks that training, checkpoints and conversion know, each with the class of its configuration.

A checkpoint names its network by the class's name. A preset's name belongs to one network only.
"""

from __future__ import annotations

from neurotarget.model.networks.delays import DelaysConfig, DelaysNetwork
from neurotarget.model.spikescr import SpikeSCR, SpikeSCRConfig
from torch import nn

Config = SpikeSCRConfig | DelaysConfig
Network = SpikeSCR | DelaysNetwork

# name in a checkpoint -> configuration
CONFIGS: dict[str, type[Config]] = {"SpikeSCR": SpikeSCRConfig, "DelaysNetwork": DelaysConfig}


def build(config: Config) -> Network:
    """A network of this shape with random weights."""
    return DelaysNetwork(config) if isinstance(config, DelaysConfig) else SpikeSCR(config)


def blocks_of(network: Network) -> nn.ModuleList:
    """Its blocks from input to output; of DCLS-Delays the hidden layers."""
    return network.hidden if isinstance(network, DelaysNetwork) else network.blocks


def name_of(config: Config) -> str:
    """What a checkpoint calls the network of this configuration."""
    return next(name for name, kind in CONFIGS.items() if type(config) is kind)


def preset(name: str, **changes: object) -> Config:
    """A named configuration of any network, with changed fields.

    Raises:
        ValueError: unknown name or field, or a value that the network cannot have.
    """
    for kind in CONFIGS.values():
        if name in kind.PRESETS:
            return kind.preset(name, **changes)
    known = [preset for kind in CONFIGS.values() for preset in kind.PRESETS]
    raise ValueError(f"preset {name!r}; known are {', '.join(known)}")
