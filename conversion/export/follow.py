"""Follows a forward pass: which layer reads which, at which step.

The network runs on real frames, once. A layer that has a conversion rule is a leaf: what happens inside it is its
rule's business. Between leaves every PyTorch function passes by here (`torch.overrides.TorchFunctionMode`), and each
tensor is known by the layers whose outputs it sums and by the meaning of its axes. So residual sums, loops over time,
containers and hand-written recurrences need no rule of their own. What depends on the data, and what has no meaning in
NIR, is refused where it reaches a layer or the output, by the place in the caller's code.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from neurotarget.conversion.export.axes import BOTH, SAMPLES, STEPS, Axes, AxesError, features, leading
from neurotarget.conversion.export.draft import UnsupportedModule, WrongAxes
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakIdKeyDictionary

if TYPE_CHECKING:
    from neurotarget.conversion.export.layers import Rule

OUTPUT = "output"


# Whose words say enough without the name of the class.
TORCHS_OWN = (RuntimeError, ValueError, IndexError, TypeError, AttributeError, AssertionError)


@dataclass(frozen=True)
class Term:
    """The output of a layer, or the state of that name; of one step, or of all steps at once (None)."""

    layer: str
    step: int | None
    part: str = OUTPUT


@dataclass(frozen=True)
class Value:
    """What is known of a tensor: it is the sum of `terms`.

    Attributes:
        over_steps: `sum` or `mean`, when it was taken over the steps.
        unknown: what was done to it that has no conversion; an error where it reaches a layer or the output.
        wrong_axes: steps, samples and features were mixed up by it.
    """

    terms: tuple[Term, ...]
    axes: Axes
    over_steps: str = ""
    unknown: str = ""
    wrong_axes: bool = False


@dataclass
class Call:
    """One call of a leaf: the step that it computes and what it read."""

    step: int | None
    terms: tuple[Term, ...]
    roles: tuple[tuple[str, tuple[Term, ...]], ...]


@dataclass
class Leaf:
    """A layer with a rule: the module, its calls, and what it sent where it is a neuron."""

    module: nn.Module
    calls: list[Call] = field(default_factory=list)
    sent: list[Tensor] = field(default_factory=list)
    kept: dict[str, Tensor] = field(default_factory=dict)  # the states that the module holds after its last call


class Follower(TorchFunctionMode):
    """Context in which a forward pass is followed.

    Args:
        rule_of: the conversion rule of a module, where it has one.
        functions: PyTorch's functions by name, each `(follower, result, args, kwargs) -> Value | None | list`.
    """

    def __init__(
        self,
        rule_of: Callable[[nn.Module], Rule | None],
        functions: dict[str, Callable[..., Any]],
    ) -> None:
        super().__init__()
        self.rule_of, self.functions = rule_of, functions
        self.values: WeakIdKeyDictionary = WeakIdKeyDictionary()
        self.leaves: dict[str, Leaf] = {}
        self.assigned: WeakIdKeyDictionary = WeakIdKeyDictionary()  # tensors filled step by step: what came where
        self.scope: list[str] = []
        self.inside = 0
        self._arguments: list[Any] = []
        self._names: dict[Any, str] = {}
        self._modules: set[str] = set()
        self._hooks: list[Any] = []

    # ---- values ------------------------------------------------------------------------------------------------------

    def value(self, x: Any) -> Value | None:
        """What is known of a tensor; None of a constant."""
        found: Value | None = self.values.get(x) if isinstance(x, Tensor) else None
        return found

    def know(self, x: Tensor, value: Value | None) -> None:
        if value is not None:
            self.values[x] = value

    def place(self) -> str:
        """Where the caller's code is, for messages."""
        scope = self.scope[-1] if self.scope else ""
        for frame in reversed(traceback.extract_stack()):
            if frame.filename.endswith("export/network.py"):
                break  # beyond it is who asked for the conversion
            if not any(
                part in frame.filename for part in ("/torch/", "/spikingjelly/", "/snntorch/", "conversion/export")
            ):
                return f"layer {scope or 'network'}, {frame.filename.rpartition('/')[2]} line {frame.lineno}"
        return f"layer {scope or 'network'}"

    def failed(self, error: Exception) -> UnsupportedModule:
        """An exception of PyTorch's or of the user's own code, with the layer that it came from."""
        layer = f"layer {self.scope[-1] or 'network'}: " if self.scope else ""
        words = str(error).partition("\n")[0]
        if not words or not isinstance(error, TORCHS_OWN):
            words = f"{type(error).__name__}: {words}".removesuffix(": ")
        if "device" in words or "NVIDIA" in words or "CUDA" in words:
            remedy = "a network is followed on the CPU: make tensors with device=x.device, and move none in forward"
            return UnsupportedModule(f"{layer}forward puts a tensor on a device of its own ({words}); {remedy}")
        return WrongAxes(layer + words)

    def refuse(self, what: str, kind: type[UnsupportedModule] = UnsupportedModule) -> UnsupportedModule:
        return kind(f"{self.place()}: {what}")

    # ---- functions ---------------------------------------------------------------------------------------------------

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if self.inside:
            return func(*args, **kwargs)
        known = [value for x in tensors((args, kwargs)) if (value := self.value(x)) is not None]
        if not known:
            return func(*args, **kwargs)
        name = getattr(func, "__name__", str(func))
        if name == "__get__":
            name = f"attribute {getattr(func.__self__, '__name__', '')}"
        if name in ASKS_FOR_NUMBERS:
            raise self.refuse(
                f"the forward pass reads the value of a tensor ({name}), so what it computes may depend on the data; a "
                "converted network is the same for all data: return tensors, and put the condition outside of forward"
            )
        if name in CASTS and self.value(args[0]) is not None and stays_real(args, kwargs):
            return args[0]  # everything is followed in double precision, on the CPU
        result = func(*args, **kwargs)
        found = [args[0]] if name == "__setitem__" else list(tensors(result))
        if not found:
            return result
        before = next((value for value in known if value.unknown), None)
        wrong_axes = False
        try:
            handler = self.functions.get(name)
            values = UNKNOWN if handler is None or before else handler(self, result, args, kwargs)
        except AxesError as error:
            values, name, wrong_axes = UNKNOWN, f"{name} ({error})", True
        if values is UNKNOWN:
            said = f"{name} at {self.place()}, which has no conversion{REMEDIES.get(name, '')}"
            values = before or Value((), (), unknown=said, wrong_axes=wrong_axes)
        for x, value in zip(found, values if isinstance(values, list) else [values] * len(found), strict=True):
            self.know(x, value)
        return result

    def applied(self, name: str, module: nn.Module, result: Tensor, axes: Axes, **inputs: Value) -> Value:
        """A function that stands for a layer: its call is recorded as one of `module`, under a name of its own.

        The same function on the same layers is the same layer at every step. `inputs` has one entry, or one a role.
        """
        key = (name, tuple(sorted((role, tuple(t.layer for t in v.terms)) for role, v in inputs.items())), repr(module))
        scope = self.scope[-1] if self.scope else ""
        if key not in self._names:
            base = f"{scope}.{name}" if scope else name
            taken = set(self._names.values()) | self._modules
            numbered = (f"{base}{n}" for n in range(2, 10**6))
            self._names[key] = base if base not in taken else next(n for n in numbered if n not in taken)
        return self._record(self._names[key], module, inputs, axes, result, function=True)

    # ---- leaves ------------------------------------------------------------------------------------------------------

    def attach(self, network: nn.Module) -> Iterator[str]:
        """Watches every leaf of a network, and gives their names."""
        self._modules = {name for name, _ in network.named_modules()}
        stack: list[tuple[str, nn.Module]] = [("", network)]
        while stack:
            name, module = stack.pop()
            try:
                leaf = self.rule_of(module) is not None
            except UnsupportedModule as error:
                raise UnsupportedModule(f"layer {name or 'network'}: {error}") from None
            before, after = (self._before_leaf, self._after_leaf) if leaf else (self._enter, self._leave)
            self._hooks += [
                module.register_forward_pre_hook(before(name), with_kwargs=True),
                module.register_forward_hook(after(name), with_kwargs=True),
            ]
            if leaf:
                yield name
            else:
                children = [(f"{name}.{child}" if name else child, m) for child, m in module._modules.items() if m]
                stack.extend(reversed(children))

    def detach(self) -> None:
        for hook in self._hooks:
            hook.remove()

    def _enter(self, name: str) -> Any:
        return lambda module, args, kwargs: self.scope.append(name)

    def _leave(self, name: str) -> Any:
        def left(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            self.scope.pop()

        return left

    def _before_leaf(self, name: str) -> Any:
        def entered(module: nn.Module, args: Any, kwargs: Any) -> None:
            self.scope.append(name)
            self._arguments.append([self.value(x) for x in tensors((args, kwargs))])
            self.inside += 1
            self._same_states(name, module)

        return entered

    def _after_leaf(self, name: str) -> Any:
        def finished(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            self.inside -= 1
            arguments = self._arguments.pop()
            found = list(tensors(output))
            rule = self.rule_of(module)
            assert rule is not None and found
            given = list(zip(tensors((args, kwargs)), arguments, strict=True))
            inputs = {r: v for r, v in zip(rule.roles, arguments, strict=False) if v is not None}
            (first, value), states = given[0], given[1:] if not rule.roles else []
            if value is None:  # a constant, such as the zeros before the first step
                value = Value((), (SAMPLES,) + ("feature",) * (first.dim() - 1))
            listed, decoded = isinstance(output, list), rule.decoded(module)
            try:
                features(value.axes, first.shape)
                size = found[0].dim() - len(leading(value.axes)) + (listed or bool(decoded))
                axes = (*leading(value.axes), *("feature",) * size)
            except AxesError as error:
                said = f"{type(module).__name__} reads a tensor whose axes cannot be told: {error}"
                raise self.refuse(said, WrongAxes) from None
            if not value.unknown and leading(value.axes) not in rule.takes(module):
                wanted = " or ".join(f"[{', '.join(one)}, ...]" for one in rule.takes(module))
                mode = f"in step_mode {module.step_mode!r}" if hasattr(module, "step_mode") else "takes no steps and"
                said = f"{type(module).__name__} {mode} gets [{', '.join(value.axes)}]; it takes {wanted}"
                raise self.refuse(said, WrongAxes)
            made = self._record(name, module, inputs or {"": value}, axes, found[0])
            self.know(found[0], Value(made.terms, axes[1:], decoded) if decoded else made)
            if listed:  # one tensor per step
                for at, x in enumerate(found):
                    self.know(x, Value((Term(name, at),), axes[1:]))
                found = found[:1]
            step = made.terms[0].step
            self._own_states(name, rule, states, step)
            returned = dict(zip(rule.states, found[1:], strict=False))
            held = {state: getattr(module, state, None) for state in rule.states}
            kept = {state: x for state, x in held.items() if isinstance(x, Tensor)}
            self.leaves[name].kept = kept
            for state, x in {**kept, **returned}.items():
                if x is found[0]:
                    continue  # the same tensor under two names is the output
                if step is None and x.dim() < found[0].dim():
                    self.know(x, Value((Term(name, None, f"{state} after the last step"),), axes[1:]))
                else:
                    self.know(x, Value((Term(name, step, state),), axes))
            self.scope.pop()

        return finished

    def _same_states(self, name: str, module: nn.Module) -> None:
        """A state that a module keeps must be there at its next call as its last one left it."""
        kept = self.leaves[name].kept if name in self.leaves else {}
        for state, before in kept.items():
            now = getattr(module, state, None)
            if now is not before and not (
                isinstance(now, Tensor) and now.shape == before.shape and bool((now == before).all())
            ):
                said = (
                    f"{type(module).__name__} is reset, or its {state} changed, between steps; reset it between samples"
                )
                raise self.refuse(said, WrongAxes)

    def _own_states(self, name: str, rule: Rule, given: list[tuple[Tensor, Value | None]], step: int | None) -> None:
        """States that are handed in must be the layer's own, of the step before; or zeros, at the first."""
        first = len(self.leaves[name].calls) == 1
        if rule.given and not given and not first and not self.leaves[name].kept:
            said = f"{name} gets no state after its first step; hand the state that it returned back to it"
            raise self.refuse(said, WrongAxes)
        for place, (x, known) in enumerate(given):
            if known is None:
                if bool(x.any()):
                    raise self.refuse(f"{name} starts from a state that is not zero; start it from zeros")
                if not first:
                    said = f"{name} starts from zeros again after its first step; hand its state back to it"
                    raise self.refuse(said, WrongAxes)
                continue
            own = Term(name, None if step is None else step - 1, rule.given[place] if place < len(rule.given) else "")
            if known.unknown or known.terms != (own,):
                raise self.refuse(
                    f"{name} is given something else than its own state of the step before; "
                    "hand each neuron's states back to it unchanged, in the order in which it returned them"
                )

    def _record(
        self,
        name: str,
        module: nn.Module,
        inputs: dict[str, Value],
        axes: Axes,
        result: Tensor,
        function: bool = False,
    ) -> Value:
        values = list(inputs.values())
        for value in values:
            if value.unknown:
                kind = WrongAxes if value.wrong_axes else UnsupportedModule
                raise kind(f"layer {name}: its input comes from {value.unknown}")
            for term in value.terms:
                if term.part != OUTPUT:
                    raise self.refuse(f"{name} reads {term.part} of {term.layer}; layers can read outputs only")
        leaf = self.leaves.setdefault(name, Leaf(module))
        terms = tuple(term for value in values for term in value.terms)
        whole = STEPS in axes or BOTH in axes
        steps = [term.step for term in terms if term.step is not None]
        # A constant is what a loop holds before its first step; one frame for all steps says nothing of the step.
        step = None if whole else max(steps) if steps else len(leaf.calls) if terms else len(leaf.calls) - 1
        if any(call.step == step for call in leaf.calls) and not function:
            raise self.refuse(
                f"the same {type(module).__name__} ({name}) is used twice in a step; a node has one place: make a "
                "layer for each, copy.deepcopy keeps its weights"
            )
        roles = tuple((role, value.terms) for role, value in inputs.items() if len(inputs) > 1)
        if not any(call.step == step for call in leaf.calls):
            leaf.calls.append(Call(step, terms, roles))
            if (rule := self.rule_of(module)) is not None and rule.neuron:
                leaf.sent.append(result.clone())  # the network may add to it in place
        over = {value.over_steps for value in values} - {""}
        return Value((Term(name, step),), axes, over.pop() if over else "")


# Asked of a tensor, the answer is a number of Python, and what follows is not followed.
ASKS_FOR_NUMBERS = {"__bool__", "__int__", "__float__", "__index__", "__complex__", "__contains__", "item", "tolist"}
ASKS_FOR_NUMBERS |= {"numpy", "__array__", "nonzero", "equal", "allclose", "is_nonzero", "unique", "masked_select"}
CASTS = {"float", "double", "half", "bfloat16", "cpu", "cuda", "to", "type", "type_as"}
UNKNOWN: list[Any] = []
# What to write instead of a function.
REMEDIES = {
    **dict.fromkeys(("relu", "sigmoid", "tanh", "gelu", "leaky_relu"), ": put a spiking neuron in its place"),
    **dict.fromkeys(("layer_norm", "group_norm", "instance_norm"), ": batch normalisation folds into weights"),
    **dict.fromkeys(("softmax", "log_softmax"), ": leave it to the loss, return what comes before"),
    **dict.fromkeys(
        ("gt", "ge", "__gt__", "__ge__", "heaviside", "sign"),
        ": use a neuron of SpikingJelly, snnTorch or Norse in place of a spike function of one's own",
    ),
    **dict.fromkeys(("dropout", "dropout2d"), " while it is active: pass training=self.training"),
    **dict.fromkeys(("interpolate", "conv_transpose2d"), ": NIR has no node that enlarges a map; convolve first"),
    **dict.fromkeys(("linear", "conv1d", "conv2d"), " as a function: make it a module of torch.nn"),
    "__setitem__": ": assign whole steps in order, or collect them in a list for torch.stack",
}


def stays_real(args: Any, kwargs: Any) -> bool:
    """Whether a cast of a real tensor names no other kind of number, such as whole ones."""
    named = [x if isinstance(x, torch.dtype) else getattr(x, "dtype", None) for x in (*args, *kwargs.values())]
    return not any(isinstance(x, str) and "Tensor" in x for x in args) and all(
        dtype is None or dtype.is_floating_point for dtype in named
    )


def tensors(x: Any) -> Iterator[Tensor]:
    """All tensors in nested tuples, lists and dictionaries, in order."""
    if isinstance(x, Tensor):
        yield x
    elif isinstance(x, dict):
        for item in x.values():
            yield from tensors(item)
    elif isinstance(x, (tuple, list)):
        for item in x:
            yield from tensors(item)
