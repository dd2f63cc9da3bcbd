"""Which rules a layer's framework has, how its neurons are reset, and how its networks usually take their time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from functools import cache
from importlib import import_module

from neurotarget.conversion.export.draft import UnsupportedModule
from neurotarget.conversion.export.layers import LAYERS, Rule, one_axis
from torch import nn
from torch.nn.utils.parametrize import is_parametrized


@dataclass(frozen=True)
class Framework:
    """A framework of spiking neurons.

    Attributes:
        rules: of exactly these classes: a subclass may compute something else.
        neurons: base class of its neurons; one without a rule is refused by name instead of looked into.
        supported: its neurons that can be converted, as its users call them.
        reset: puts the states of all neurons of a network back to their start.
        followed_in: the context in which a copy of a network is followed.
    """

    rules: Mapping[type, Rule]
    neurons: tuple[type, ...]
    supported: str
    reset: Callable[[nn.Module], None]
    followed_in: Callable[[nn.Module], AbstractContextManager[None]] = lambda network: nullcontext()


# Package -> module that holds its `FRAMEWORK`; it is imported when a layer of the package is met.
MODULES = {"neurotarget": "own", "spikingjelly": "neurons", "snntorch": "snntorch", "norse": "norse"}


@cache
def framework(package: str) -> Framework | None:
    if package not in MODULES:
        return None
    found: Framework = import_module(f"neurotarget.conversion.export.{MODULES[package]}").FRAMEWORK
    return found


def packages_of(module: nn.Module) -> list[str]:
    """Packages that the classes of a module come from, its own first."""
    return list(dict.fromkeys(cls.__module__.partition(".")[0] for cls in type(module).__mro__))


def rule_of(module: nn.Module) -> Rule | None:
    """The rule of a layer; None for a module that is looked into.

    Raises:
        UnsupportedModule: a neuron of a known framework that has no rule, or a layer of another kind of network.
    """
    # torch.nn.utils.parametrize puts a class of its own over a layer, whose weight is then what it computes.
    kind = type(module).__bases__[0] if is_parametrized(module) else type(module)
    if kind in LAYERS:
        return LAYERS[kind]
    if isinstance(module, (nn.RNNBase, nn.RNNCellBase, nn.MultiheadAttention)):
        raise UnsupportedModule(f"{type(module).__name__} is no spiking layer; use neurons, in a loop or a container")
    for package in packages_of(module):
        if (found := framework(package)) is None:
            continue
        if type(module) in found.rules:
            return found.rules[type(module)]
        if isinstance(module, found.neurons):
            raise UnsupportedModule(
                f"{type(module).__name__} is a neuron of {package} that cannot be converted; "
                f"use one of {found.supported}"
            )
    return None


def mixed_steps(network: nn.Module) -> str:
    """What is wrong where some layers of SpikingJelly's take all steps at once and others one; else nothing."""
    modes = {name: module.step_mode for name, module in network.named_modules() if hasattr(module, "step_mode")}
    if "m" not in modes.values():
        return ""
    for name, module in network.named_modules():
        rule = LAYERS.get(type(module))
        if rule is not None and rule.takes is one_axis and name not in modes:
            kind = type(module).__name__
            return (
                f"layer {name} ({kind}) of torch takes one step at a time, among layers that take all at once; "
                f"use spikingjelly.activation_based.layer.{kind}"
            )
    single = [name for name, mode in modes.items() if mode == "s"]
    if single:
        return f"layer {single[0]} is in step_mode 's' among layers in 'm'; functional.set_step_mode(network, 'm')"
    return ""


def _used(network: nn.Module) -> list[Framework]:
    packages = dict.fromkeys(package for module in network.modules() for package in packages_of(module))
    return [found for package in packages if (found := framework(package)) is not None]


def reset(network: nn.Module) -> None:
    """Resets the neurons of every framework that the network uses."""
    for used in _used(network):
        used.reset(network)


@contextmanager
def followed_in(network: nn.Module) -> Iterator[None]:
    """The context in which a copy of a network is followed: what its frameworks need for that."""
    with ExitStack() as stack:
        for used in _used(network):
            stack.enter_context(used.followed_in(network))
        yield
