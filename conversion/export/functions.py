"""What PyTorch's functions mean between layers: a table from a function's name to what its result is known as.

A handler takes the follower, the result, the arguments and the keyword arguments. It gives a `Value`, None where the
result is a constant, a list where there are several results, or `UNKNOWN`. A name that is not in the table is unknown.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import torch
from neurotarget.conversion.export.axes import FEATURE, SAMPLES, STEPS, AxesError, leading, reshaped
from neurotarget.conversion.export.follow import UNKNOWN, Follower, Term, Value, tensors
from torch import Tensor, nn


class Scale(nn.Module):
    """Times a constant, a number or one per feature."""

    def __init__(self, factor: Tensor) -> None:
        super().__init__()
        self.factor = factor

    def extra_repr(self) -> str:
        return str(self.factor.tolist())


class Shift(Scale):
    """Plus a constant, a number or one per feature."""


class Product(nn.Module):
    """The elements of two tensors, one of them spikes, multiplied."""


class Part(nn.Module):
    """One of the tensors that are put side by side along the first feature: it fills places `start` onwards."""

    def __init__(self, start: int, total: int) -> None:
        super().__init__()
        self.start, self.total = start, total

    def extra_repr(self) -> str:
        return f"{self.start} of {self.total}"


Handler = Callable[[Follower, Any, Sequence[Any], dict[str, Any]], Any]


def _same(follower: Follower, result: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    return follower.value(args[0])


def _cast(follower: Follower, result: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    return follower.value(args[0]) if result.is_floating_point() else UNKNOWN


def _constant(follower: Follower, result: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    return [None] * len(list(tensors(result)))


def _dropout(follower: Follower, result: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    training = kwargs.get("training", args[2] if len(args) > 2 else True)
    return UNKNOWN if training else follower.value(args[0])


# ---- sums and products -----------------------------------------------------------------------------------------------


def _add(follower: Follower, result: Tensor, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    first, second = args[:2]
    if kwargs.get("alpha", 1) != 1:
        return UNKNOWN
    return _sum(follower, result, [_term(follower, result, x) for x in (first, second)])


def _subtract(follower: Follower, result: Tensor, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    if kwargs.get("alpha", 1) != 1:
        return UNKNOWN
    return _difference(follower, result, args[0], args[1])


def _subtract_from(follower: Follower, result: Tensor, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    return _difference(follower, result, args[1], args[0])


def _difference(follower: Follower, result: Tensor, first: Any, second: Any) -> Any:
    minus = torch.tensor(-1.0, dtype=torch.float64)
    value = follower.value(second)
    if value is None:
        return _sum(follower, result, [_term(follower, result, first), -torch.as_tensor(second, dtype=torch.float64)])
    return _sum(
        follower,
        result,
        [_term(follower, result, first), follower.applied("minus", Scale(minus), second, value.axes, x=value)],
    )


def _term(follower: Follower, result: Tensor, x: Any) -> Value | Tensor:
    value = follower.value(x)
    return torch.as_tensor(x, dtype=torch.float64) if value is None else value


def _sum(follower: Follower, result: Tensor, parts: Sequence[Value | Tensor]) -> Any:
    """Terms side by side: their reader sums them. One that comes more than once is scaled; a constant is a shift."""
    values = [part for part in parts if isinstance(part, Value)]
    constants = [part for part in parts if isinstance(part, Tensor) and bool(part.any())]
    if len({(value.axes, value.over_steps) for value in values}) != 1:
        return UNKNOWN
    axes, over = values[0].axes, values[0].over_steps
    times = Counter(term for value in values for term in value.terms)
    terms = [term for term in times if times[term] == 1]
    for many in sorted({*times.values()} - {1}):
        repeated = Value(tuple(term for term in times if times[term] == many), axes, over)
        factor = torch.tensor(float(many), dtype=torch.float64)
        terms += follower.applied("times", Scale(factor), result, axes, x=repeated).terms
    total = Value(tuple(terms), axes, over)
    for constant in constants:
        total = follower.applied("shift", Shift(constant), result, axes, x=total)
    return total


def _multiply(follower: Follower, result: Tensor, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    first, second = args[:2]
    known = [follower.value(x) for x in (first, second)]
    if known[0] is not None and known[1] is not None:
        if known[0].axes != known[1].axes or known[0].over_steps or known[1].over_steps:
            return UNKNOWN
        return follower.applied("product", Product(), result, known[0].axes, first=known[0], second=known[1])
    value, factor = (known[0], second) if known[0] is not None else (known[1], first)
    return _scaled(follower, result, value, torch.as_tensor(factor, dtype=torch.float64))


def _divide(follower: Follower, result: Tensor, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    first, second = args[:2]
    if follower.value(second) is not None or kwargs.get("rounding_mode"):
        return UNKNOWN
    return _scaled(follower, result, follower.value(first), 1 / torch.as_tensor(second, dtype=torch.float64))


def _negative(follower: Follower, result: Tensor, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    return _scaled(follower, result, follower.value(args[0]), torch.tensor(-1.0, dtype=torch.float64))


def _scaled(follower: Follower, result: Tensor, value: Value | None, factor: Tensor) -> Any:
    if value is None or (
        factor.dim() and factor.numel() > 1 and factor.dim() > result.dim() - len(leading(value.axes))
    ):
        return UNKNOWN
    if bool((factor == 1).all()):
        return value
    return follower.applied("scale", Scale(factor), result, value.axes, x=value)


# ---- shapes ----------------------------------------------------------------------------------------------------------


def _reshape(follower: Follower, result: Tensor, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    x, value = args[0], follower.value(args[0])
    if value is None:
        return UNKNOWN
    axes = reshaped(value.axes, x.shape, result.shape)
    old, new = (tuple(s.shape[len(leading(a)) :]) for s, a in ((x, value.axes), (result, axes)))
    if old == new:
        return Value(value.terms, axes, value.over_steps)
    if len(new) == 1:
        return follower.applied("flatten", nn.Flatten(), result, axes, x=value)
    return UNKNOWN


def _permute(follower: Follower, result: Tensor, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    x, value = args[0], follower.value(args[0])
    dims = args[1] if len(args) == 2 and not isinstance(args[1], int) else args[1:]
    return _moved(value, [int(d) % x.dim() for d in (kwargs.get("dims") or dims)])


def _transpose(follower: Follower, result: Tensor, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    x, value = args[0], follower.value(args[0])
    one = int(kwargs.get("dim0", args[1] if len(args) > 1 else 0)) % x.dim()
    other = int(kwargs.get("dim1", args[2] if len(args) > 2 else 1)) % x.dim()
    order = list(range(x.dim()))
    order[one], order[other] = other, one
    return _moved(value, order)


def _moved(value: Value | None, order: Sequence[int]) -> Any:
    """Steps and samples may move; the features must keep their order."""
    if value is None:
        return UNKNOWN
    kept = [i for i in order if value.axes[i] == FEATURE]
    if kept != sorted(kept):
        return UNKNOWN
    return Value(value.terms, tuple(value.axes[i] for i in order), value.over_steps)


# ---- steps -----------------------------------------------------------------------------------------------------------


def _take(follower: Follower, result: Tensor, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """x[step], x[:, step], x[..., :]: one step of all; anything else that selects is unknown."""
    x, index = args[0], args[1]
    value = follower.value(x)
    if value is None:
        return None
    index = index if isinstance(index, tuple) else (index,)
    if Ellipsis in index:
        at = index.index(Ellipsis)
        index = (*index[:at], *[slice(None)] * (x.dim() - len(index) + 1), *index[at + 1 :])
    chosen = [(axis, i) for axis, i in enumerate(index) if i != slice(None)]
    if not chosen:
        return value
    if len(chosen) != 1 or not isinstance(chosen[0][1], int):
        return UNKNOWN
    return _step(value, x, *chosen[0])


def _select(follower: Follower, result: Tensor, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    x = args[0]
    value = follower.value(x)
    axis, index = kwargs.get("dim", args[1] if len(args) > 1 else 0), kwargs.get("index", args[-1])
    return UNKNOWN if value is None else _step(value, x, int(axis) % x.dim(), int(index))


def _unbind(follower: Follower, result: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    x = args[0]
    value, axis = follower.value(x), int(kwargs.get("dim", args[1] if len(args) > 1 else 0)) % x.dim()
    return UNKNOWN if value is None else [_step(value, x, axis, i) for i in range(len(result))]


def _step(value: Value, x: Tensor, axis: int, index: int) -> Any:
    kind = value.axes[axis]
    if kind == SAMPLES:
        raise AxesError("an element of the axis of samples was taken; is it meant to be the axis of steps?")
    if kind != STEPS or value.over_steps:
        return UNKNOWN
    index %= x.shape[axis]
    terms = tuple(Term(term.layer, index, term.part) if term.step is None else term for term in value.terms)
    return Value(terms, value.axes[:axis] + value.axes[axis + 1 :])


def _stack(follower: Follower, result: Tensor, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """One value per step, from the first to the last, is the value of all steps."""
    parts = [follower.value(x) for x in args[0]]
    axis = int(kwargs.get("dim", args[1] if len(args) > 1 else 0)) % result.dim()
    return stacked(parts, axis)


def stacked(parts: Sequence[Value | None], axis: int) -> Any:
    """The value of steps 0, 1, ... put together along a new axis."""
    first = parts[-1]
    if first is None or first.axes[:1] != (SAMPLES,) or STEPS in first.axes:
        return UNKNOWN
    names = [(term.layer, term.part) for term in first.terms]
    for step, part in enumerate(parts):
        if part is None or part.unknown or [(t.layer, t.part) for t in part.terms] != names:
            return UNKNOWN
        if any(term.step != step for term in part.terms):
            return UNKNOWN
    terms = tuple(Term(layer, None, part) for layer, part in names)
    return Value(terms, (*first.axes[:axis], STEPS, *first.axes[axis:]))


def _assign(follower: Follower, result: None, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """x[step] = y or x[:, step] = y, for every step in turn: x is then the steps put together."""
    x, index, y = args[0], args[1], follower.value(args[2])
    index = index if isinstance(index, tuple) else (index,)
    chosen = [(axis, i) for axis, i in enumerate(index) if i != slice(None)]
    if y is None or len(chosen) != 1 or not isinstance(chosen[0][1], int):
        return UNKNOWN
    axis, step = chosen[0]
    before = follower.assigned.setdefault(x, [])
    before.append(y)
    if len(before) != step % len(x.movedim(axis, 0)) + 1:
        return UNKNOWN
    return stacked(before, axis)


def _concatenate(follower: Follower, result: Tensor, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    parts = [(x, follower.value(x)) for x in args[0]]
    axis = int(kwargs.get("dim", args[1] if len(args) > 1 else 0)) % result.dim()
    values = [value for _, value in parts if value is not None]
    axes = values[0].axes
    if any(value.axes != axes or value.over_steps for value in values):
        return UNKNOWN
    if axes[axis] == STEPS:  # pieces of one step each
        single = [Value(v.terms, axes[:axis] + axes[axis + 1 :]) for v in values]
        return stacked(single, axis) if all(x.shape[axis] == 1 for x, _ in parts) else UNKNOWN
    if axis != len(leading(axes)):
        return UNKNOWN
    total, start, terms = result.shape[axis], 0, []
    for x, value in parts:
        if value is not None:
            terms.append(follower.applied("part", Part(start, total), result, axes, x=value))
        elif bool(x.any()):  # zeros, such as a state before its first step, add nothing
            return UNKNOWN
        start += x.shape[axis]
    return _sum(follower, result, terms)


def _over_steps(how: str) -> Handler:
    """The mean or the sum over the steps: a read-out, at the end."""

    def handler(follower: Follower, result: Tensor, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        x = args[0]
        value = follower.value(x)
        dim = kwargs.get("dim", args[1] if len(args) > 1 else None)
        dims = [dim] if isinstance(dim, int) else list(dim or ())
        if value is None or len(dims) != 1 or value.axes[dims[0]] != STEPS or result.dim() == x.dim():
            return UNKNOWN
        axis = dims[0] % x.dim()
        return Value(value.terms, value.axes[:axis] + value.axes[axis + 1 :], how)

    return handler


# ---- functions that are layers ---------------------------------------------------------------------------------------


def _as_layer(name: str, make: Callable[..., nn.Module]) -> Handler:
    def handler(follower: Follower, result: Tensor, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        value = follower.value(args[0])
        if value is None or value.over_steps or len(leading(value.axes)) != 1 or leading(value.axes)[0] == STEPS:
            return UNKNOWN
        axes = (*leading(value.axes), *[FEATURE] * (result.dim() - 1))
        module = make(*args[1:], **{k: v for k, v in kwargs.items() if k != "input"})
        return follower.applied(name, module, result, axes, x=value)

    return handler


def _names(names: str, handler: Handler) -> dict[str, Handler]:
    return dict.fromkeys(names.split(), handler)


FUNCTIONS: dict[str, Handler] = {
    **_names("detach detach_ clone contiguous cpu cuda requires_grad_", _same),
    **_names("float double half bfloat16 to type type_as", _cast),
    **_names("alias positive __pos__ as_subclass", _same),
    "attribute data": _same,
    **_names("zeros_like ones_like full_like empty_like rand_like randn_like new_zeros new_ones new_full", _constant),
    **_names("new_empty new_tensor", _constant),
    **_names("dropout feature_dropout dropout1d dropout2d dropout3d alpha_dropout", _dropout),
    **_names("add add_ __add__ __radd__ __iadd__", _add),
    **_names("sub sub_ subtract __sub__ __isub__", _subtract),
    **_names("rsub __rsub__", _subtract_from),
    **_names("mul mul_ multiply __mul__ __rmul__ __imul__", _multiply),
    **_names("div div_ divide true_divide __truediv__ __itruediv__", _divide),
    **_names("neg negative __neg__", _negative),
    **_names("reshape view flatten squeeze unsqueeze unflatten view_as reshape_as", _reshape),
    **_names("permute", _permute),
    **_names("transpose swapaxes swapdims", _transpose),
    **_names("__getitem__", _take),
    "__setitem__": _assign,
    **_names("select", _select),
    **_names("unbind", _unbind),
    **_names("stack", _stack),
    **_names("cat concat concatenate", _concatenate),
    **_names("mean", _over_steps("mean")),
    **_names("sum", _over_steps("sum")),
    **_names("avg_pool2d", _as_layer("avg_pool", nn.AvgPool2d)),
    **_names("max_pool2d boolean_dispatch max_pool2d_with_indices", _as_layer("max_pool", nn.MaxPool2d)),
    **_names("adaptive_avg_pool2d", _as_layer("adaptive_avg_pool", nn.AdaptiveAvgPool2d)),
}
