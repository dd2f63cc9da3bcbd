"""What quantisation refuses unless it is told to accept it: slow constants, lost currents, rates that leave their band.

The bounds are those of the rates. A time constant that is off by 10 % changes the interval of a neuron under constant
current by as much at most, because its steady state is kept (dynamics.py): half of what the band allows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from neurotarget.conversion.fixed.choice import Choice
from neurotarget.conversion.fixed.merit import HIGHEST_RATE, LOWEST_RATE, MANY
from neurotarget.sim.activity import Fired
from neurotarget.sim.graph.node import GraphError

LARGEST_DECAY_ERROR = 0.1
LARGEST_LOSS = 0.5  # of a current, root mean square
ACCEPT = "--accept writes the file all the same"


def refuse_slow_constants(errors: Mapping[str, float]) -> None:
    """Refuses neurons whose time constants 12 bits cannot hold.

    Args:
        errors: by node, from `dynamics.decay_errors`.

    Raises:
        GraphError: the worst node, its error and the bound.
    """
    name = max(errors, key=lambda node: errors[node], default=None)
    if name is not None and errors[name] > LARGEST_DECAY_ERROR:
        raise GraphError(
            f"node {name}: what it forgets each step, dt / tau, is rounded to a multiple of 1/4096, which is "
            f"{errors[name]:.0%} off, more than {LARGEST_DECAY_ERROR:.0%}; take a shorter time constant or a longer "
            f"step, or {ACCEPT}"
        )


def refuse_lost_currents(choices: Iterable[Choice]) -> None:
    """Refuses synapses whose current the steps of its layer do not resolve.

    Raises:
        GraphError: the synapse, its layer, its loss and the bound.
    """
    for choice in choices:
        for name, lost in choice.lost.items():
            if lost > LARGEST_LOSS:
                raise GraphError(
                    f"node {name}: {lost:.0%} of its current is lost in the steps of {choice.scale:.3g} that the "
                    f"other currents of layer {choice.group.name} need, more than {LARGEST_LOSS:.0%}; scale it up or "
                    f"leave it out, or {ACCEPT}"
                )


def rate_faults(before: Fired, after: Fired) -> list[str]:
    """A sentence for each layer that fell silent, or whose rate left the band; `before` is the float run.

    Where nothing fires in float, one that says so: nothing was calibrated, and equality proves nothing.
    """
    if before.spikes and not any(before.spikes.values()):
        return ["nothing fired in float, so that nothing was calibrated or tested"]
    faults = []
    for name, real in before.spikes.items():
        whole = after.spikes[name]
        if real and not whole:
            faults.append(f"layer {name} fell silent: {real} spikes in float, none in integers")
        elif real > MANY and not LOWEST_RATE <= whole / real <= HIGHEST_RATE:
            faults.append(
                f"layer {name} fires {whole / real:.2f} times as often as in float ({whole} and {real} spikes), "
                f"outside {LOWEST_RATE} to {HIGHEST_RATE}"
            )
    return faults
