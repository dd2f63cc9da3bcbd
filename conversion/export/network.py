"""A network of anybody's, followed through its forward pass, as a draft: layers, wiring, loops.

How a network takes its time is found by trying: one step after the other, or a whole utterance with the steps first or
the samples first, or one frame that its own loop shows again and again.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from neurotarget.conversion.export.axes import BOTH, FEATURE, SAMPLES, STEPS
from neurotarget.conversion.export.draft import Draft, Layer, UnsupportedModule, WrongAxes
from neurotarget.conversion.export.follow import OUTPUT, Follower, Leaf, Term, Value, tensors
from neurotarget.conversion.export.frameworks import followed_in, mixed_steps, reset, rule_of
from neurotarget.conversion.export.functions import FUNCTIONS, stacked
from torch import Tensor, nn

from neurotarget.errors import UserError

INPUT = "input"
STEP_BY_STEP, STEPS_FIRST, SAMPLES_FIRST, ONE_FRAME = "step by step", "steps first", "samples first", "one frame"
WAYS = (STEP_BY_STEP, STEPS_FIRST, SAMPLES_FIRST, ONE_FRAME)


@dataclass
class Followed:
    """One run of a network.

    Attributes:
        way: how the frames were handed over, one of the four above.
        leaves: every layer that was called, by name.
        output: what the forward pass returned.
        tensor: its values; [steps, samples, ...], or [samples, ...] where the steps were summed.
        steps: those of the frames; where the network shows one frame, those that it makes of the first.
        notes: sentences for the user.
    """

    way: str
    leaves: Mapping[str, Leaf]
    output: Value
    tensor: Tensor
    steps: int
    notes: list[str] = field(default_factory=list)


def follow(
    network: nn.Module,
    frames: np.ndarray,
    ways: tuple[str, ...] = WAYS,
    precision: torch.dtype = torch.float64,
) -> Followed:
    """Runs a copy of a network in evaluation mode, on the CPU.

    Args:
        frames: [samples, steps, ...], at least two of each.
        ways: to hand over frames, tried in this order.
        precision: of the copy and of the frames.

    Raises:
        UnsupportedModule: a layer or the wiring has no conversion, or no way worked.
    """
    for name, module in network.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            raise UnsupportedModule(
                f"layer {name or 'network'}: a compiled TorchScript module hides its layers; give the module that it "
                "was made from"
            )
        for attribute, value in vars(module).items():
            if isinstance(value, (list, tuple)) and any(isinstance(x, nn.Module) for x in value):
                raise UnsupportedModule(
                    f"layer {name or 'network'}: {attribute} is a {type(value).__name__} of modules, whose parameters "
                    "PyTorch neither trains nor saves; make it an nn.ModuleList"
                )
    if rule_of(network) is not None:  # one layer, whose node needs a name
        network = _Alone(network) if _takes_state(network) else nn.Sequential(network)
    original = copy_of(network).to(precision)
    failures: list[tuple[str, UnsupportedModule]] = []
    for way in ways:
        try:
            return _follow(copy.deepcopy(original), torch.from_numpy(np.array(frames, np.float64)).to(precision), way)
        except UnsupportedModule as error:
            failures.append((way, error))
    # What was refused although the axes fit is what is wrong with the network; the rest was a wrong guess of ours.
    refused = [error for _, error in failures if not isinstance(error, WrongAxes)]
    if refused:
        raise refused[0]
    if mixed := mixed_steps(network):
        raise UnsupportedModule(mixed)
    by_words: dict[str, list[str]] = {}
    for way, failure in failures:
        by_words.setdefault(str(failure), []).append(way)
    tried = "; ".join(f"{' or '.join(ways)}: {words}" for words, ways in by_words.items())
    shape = list(frames.shape)
    raise UnsupportedModule(
        f"the network does not take frames {shape} [samples, steps, ...]: give each step of a sample, here "
        f"{shape[2:]}, the shape that its first layer takes; tried {tried}"
    )


def copy_of(network: nn.Module) -> nn.Module:
    """A copy on the CPU, in evaluation mode, its neurons in their first state."""
    # States of the last run are no leaves of the graph of gradients, which cannot be copied as they are.
    states = [x for module in network.modules() for x in tensors(vars(module)) if not x.is_leaf]
    copied = copy.deepcopy(network, {id(x): x.detach().clone() for x in states}).cpu().eval()
    reset(copied)
    return copied


def _follow(network: nn.Module, x: Tensor, way: str) -> Followed:
    follower = Follower(rule_of, FUNCTIONS)
    list(follower.attach(network))
    try:
        with following(network, x.dtype), torch.no_grad(), follower:
            tensor, value, notes = (
                _step_by_step(follower, network, x)
                if way == STEP_BY_STEP
                else (_returned(follower, network(_given(follower, x, way))))
            )
    except (UserError, MemoryError):
        raise
    except Exception as error:  # of the user's own code, whatever it is
        raise follower.failed(error) from error
    finally:
        follower.detach()
    if value.unknown:
        kind = WrongAxes if value.wrong_axes else UnsupportedModule
        raise kind(f"the output comes from {value.unknown}")
    steps = max(len(leaf.calls) for leaf in follower.leaves.values()) if way == ONE_FRAME else x.shape[1]
    if way == ONE_FRAME and steps == 1:
        raise WrongAxes("it computes one step")
    tensor, value = _steps_in_front(tensor, value, steps)
    return Followed(way, follower.leaves, value, tensor, steps, notes)


@contextmanager
def following(network: nn.Module, precision: torch.dtype) -> Iterator[None]:
    """A copy of a network runs in that precision, and so do the tensors that its forward pass makes."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(precision)
    try:
        with followed_in(network):
            yield
    finally:
        torch.set_default_dtype(before)


def _step_by_step(follower: Follower, network: nn.Module, x: Tensor) -> tuple[Tensor, Value, list[str]]:
    """One call per step; what the calls return is put together."""

    def known() -> Iterator[Tensor]:
        for step in range(x.shape[1]):
            frame = x[:, step].clone()
            follower.know(frame, Value((Term(INPUT, step),), (SAMPLES,) + (FEATURE,) * (x.dim() - 2)))
            yield frame

    outputs = [_returned(follower, output) for output in stepped(network, known())]
    tensors_, values, notes = zip(*outputs, strict=True)
    value = stacked(values, 0)
    if not isinstance(value, Value):
        unknown = next((v.unknown for v in values if v.unknown), "layers that differ from step to step")
        value = Value((), (STEPS, SAMPLES), unknown=unknown)
    return torch.stack(tensors_), value, notes[-1]


def stepped(network: nn.Module, frames: Iterable[Tensor]) -> Iterator[Any]:
    """What a network returns for each step; a returned state is handed to the next."""
    states: dict[str, Any] = {}
    for frame in frames:
        output = network(frame, **states)
        if _takes_state(network) and isinstance(output, tuple) and len(output) == 2:
            states = {"state": output[1]}
        yield output


def _takes_state(network: nn.Module) -> bool:
    """As Norse's modules do."""
    return "state" in inspect.signature(network.forward).parameters


class _Alone(nn.Module):
    """A layer that is handed its state, as part of a network."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor, state: Any = None) -> Any:
        return self.layer(x, state)


def in_one_call(x: Tensor, way: str) -> Tensor:
    """The frames [samples, steps, ...] as a network takes them in one call."""
    return {STEPS_FIRST: x.transpose(0, 1), SAMPLES_FIRST: x, ONE_FRAME: x[:, 0]}[way].contiguous().clone()


def _given(follower: Follower, x: Tensor, way: str) -> Tensor:
    axes = {STEPS_FIRST: (STEPS, SAMPLES), SAMPLES_FIRST: (SAMPLES, STEPS), ONE_FRAME: (SAMPLES,)}[way]
    given = in_one_call(x, way)
    follower.know(given, Value((Term(INPUT, None),), (*axes, *(FEATURE,) * (x.dim() - 2))))
    return given


def _returned(follower: Follower, output: Any) -> tuple[Tensor, Value, list[str]]:
    """The tensor that stands for the output: the first of several that is a layer's output and not a state."""
    known = [(x, value) for x in tensors(output) if (value := follower.value(x)) is not None]
    if not known:
        raise UnsupportedModule("what forward returns does not come from its input; return the last layer's output")
    of_layers = [(x, v) for x, v in known if all(term.part == OUTPUT for term in v.terms)] or known
    if isinstance(output, list) and len(of_layers) == len(output) > 1:  # one tensor per step
        value = stacked([v for _, v in of_layers], 0)
        if isinstance(value, Value):
            return torch.stack([x for x, _ in of_layers]), value, []
    others = [v for x, v in known if x is not of_layers[0][0] and STEPS in v.axes]
    notes = [f"forward returns {1 + len(others)} tensors; the first that is a layer's output is taken"]
    return (*of_layers[0], notes if others else [])


def _steps_in_front(tensor: Tensor, value: Value, steps: int) -> tuple[Tensor, Value]:
    """[steps, samples, ...], unless the steps were summed."""
    kinds = [axis for axis in value.axes if axis != FEATURE]
    shown = len(tensor) if kinds[:1] == [STEPS] else steps
    if shown != steps:
        raise UnsupportedModule(
            f"the output is that of {shown} of {steps} steps; return all steps, or their sum or mean"
        )
    if kinds == [SAMPLES, STEPS]:
        at = value.axes.index(STEPS)
        tensor = tensor.movedim(at, 0)
    elif kinds == [BOTH]:
        tensor = tensor.unflatten(0, (steps, -1))
    elif kinds == [SAMPLES] and not value.over_steps:
        value = _added_up(value, steps)
    return tensor, value


def _added_up(value: Value, steps: int) -> Value:
    """The sum over the steps, where a loop added the output of each step to those before."""
    by_step = [replace(value, terms=tuple(term for term in value.terms if term.step == step)) for step in range(steps)]
    whole = stacked(by_step, 0)
    if isinstance(whole, Value) and len(value.terms) == steps * len(whole.terms):
        return replace(value, terms=whole.terms, over_steps="sum")
    term = value.terms[0]
    of = "" if term.part == OUTPUT else f"{term.part} of "
    at = "" if term.step is None else f" at step {term.step}"
    found = len({term.step for term in value.terms})
    what = f"that of one step ({of}{term.layer}{at}) only"
    what = what if found == 1 else f"the sum over {found} of {steps} steps ({of}{term.layer})"
    raise UnsupportedModule(f"the output is {what}; return all steps, torch.stack(outputs), or their sum or mean")


# ---- from calls to layers --------------------------------------------------------------------------------------------


def draft_followed(followed: Followed, input_shape: tuple[int, ...]) -> Draft:
    """Layers in an order in which they can run, with edges that reach back one step where the network's do.

    Raises:
        UnsupportedModule: the wiring differs from step to step, or reaches back where no neuron closes a loop.
    """
    reads = {name: _wiring(name, leaf) for name, leaf in followed.leaves.items()}
    reads[INPUT] = []
    ends = [(term.layer, 0) for term in followed.output.terms]
    order = _order(reads, [name for name, _ in ends])
    draft = Draft()
    draft.potentials = {term.layer: term.part for term in followed.output.terms if term.part != OUTPUT}
    for name in draft.potentials:
        if readers := [reader for reader, found in reads.items() if name in [source for source, _ in found]]:
            raise UnsupportedModule(
                f"layer {name}: its state is the output, and {readers[0]} reads its spikes; a node has one output"
            )
    stands: dict[str, tuple[str, ...]] = {INPUT: draft.add(Layer(INPUT, "input", (), input_shape))}
    for name in order:
        if name == INPUT:
            continue
        leaf = followed.leaves[name]
        sources = _sources(draft, name, reads[name], stands, reads)
        draft.roles = {role: _only(name, role, terms, stands) for role, terms in leaf.calls[-1].roles}
        rule = rule_of(leaf.module)
        assert rule is not None
        stands[name] = rule.draft(draft, name, leaf.module, sources)
    for old, new in stands.items():
        if new != (old,):
            draft.rename_source(old, new)
    last = _sources(draft, "output", ends, stands, reads)
    draft.add(Layer("output", "output", last, draft.shape(last)))
    return draft


def _wiring(name: str, leaf: Leaf) -> list[tuple[str, int]]:
    """What a layer reads: (layer, how many steps ago); the same at every step once the loops are under way."""
    found = []
    for call in leaf.calls:
        ago = [(term.layer, 0 if None in (call.step, term.step) else call.step - term.step) for term in call.terms]  # type: ignore[operator]
        found.append(list(dict.fromkeys(ago)))
    settled = found[2:] or found[-1:]
    if any(one != settled[0] for one in settled):
        raise UnsupportedModule(
            f"layer {name}: what it reads differs from step to step; a converted network is the same at every step"
        )
    if any(steps < 0 for _, steps in settled[0]):
        raise UnsupportedModule(f"layer {name}: it reads a later step; only the present and past can be read")
    return settled[0]


def _order(reads: Mapping[str, list[tuple[str, int]]], ends: list[str]) -> list[str]:
    """All layers that the output needs, each after what it reads in the same step."""
    order: list[str] = []
    needed: list[str] = []
    pending = list(ends)
    while pending:
        name = pending.pop()
        if name not in needed:
            needed.append(name)
            pending += [source for source, _ in reads[name]]
    left = [name for name in reads if name in needed]
    while left:
        ready = [n for n in left if all(source in order for source, ago in reads[n] if not ago)]
        if not ready:
            raise UnsupportedModule(f"layers {', '.join(left)} read each other in the same step")
        order.append(ready[0])
        left.remove(ready[0])
    return order


def _sources(
    draft: Draft,
    name: str,
    reads: list[tuple[str, int]],
    stands: Mapping[str, tuple[str, ...]],
    wiring: Mapping[str, list[tuple[str, int]]],
) -> tuple[str, ...]:
    """Where a layer's input comes from. An edge of a loop carries the step before by itself; others get a Delay."""
    present = [source for layer, ago in reads if not ago for source in stands[layer]]
    for layer, ago in sorted(reads, key=lambda pair: pair[1]):
        if not ago:
            continue
        late = ago - 1 if _reaches(wiring, layer, name) else ago
        source = stands.get(layer, (layer,))
        if late:
            if layer not in stands:
                raise UnsupportedModule(f"layer {name}: its loop through {layer} takes {ago} steps; one is supported")
            delayed = Layer(f"{name}.after_{layer}", "delay", source, draft.shape(source), {"steps": late})
            source = draft.add(delayed)
        present += source
    return tuple(dict.fromkeys(present))


def _reaches(wiring: Mapping[str, list[tuple[str, int]]], layer: str, target: str) -> bool:
    """Whether `layer` reads, directly or through others, `target`."""
    seen: set[str] = set()
    pending = [layer]
    while pending:
        current = pending.pop()
        if current == target:
            return True
        if current not in seen:
            seen.add(current)
            pending += [source for source, _ in wiring.get(current, ())]
    return False


def _only(name: str, role: str, terms: tuple[Term, ...], stands: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(source for term in terms for source in stands[term.layer])
