"""The NIR primitives that we run: NIR class -> node, and the shape that each node gives.

One function a primitive, two tables (`CONVERTERS`, `SHAPES`). Shapes leave out samples and steps, as NIR's do. NIR's
own inference of convolution shapes is not used: it is wrong for groups and for kernels that are not square.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import nir
import numpy as np
from neurotarget.sim.graph import dialect
from neurotarget.sim.graph.kinds import EXTENSIONS, KINDS, RESETTING
from neurotarget.sim.graph.node import GraphError, Node
from neurotarget.sim.graph.resets import initial_potential, reset_word

LARGEST_WHOLE = 2**53  # up to here float64 holds every whole number
LARGEST_LAYER = 2**27  # values that one node may hold a step, padding and delay lines included: 1 GiB in float64

# NIR class -> kind of neuron, whose `parameters` are the arrays of the class.
NEURONS = {getattr(nir, name): kind for kind in KINDS.values() if kind.neuron for name in kind.nir}


def convert_node(name: str, raw: nir.NIRNode, sources: tuple[str, ...], dt: float, prefix: str = "") -> Node:
    """One NIR node as a node that runs; `prefix` stands before the names of the nodes beside it.

    Raises:
        GraphError: it is none that is supported, or what it holds cannot be run.
    """
    metadata, neuron = raw.metadata or {}, NEURONS.get(type(raw))
    reset = reset_word(f"node {name}", metadata, neuron is not None and neuron.name in RESETTING)
    if isinstance(raw, nir.NIRGraph):
        return _extension(name, raw, sources, prefix)
    if neuron is not None:
        arrays = {key: np.asarray(getattr(raw, key), dtype=np.float64) for key in neuron.parameters}
        shape = np.broadcast_shapes(*(array.shape for array in arrays.values()))
        arrays |= initial_potential(name, metadata, neuron, shape)
        parameters: dict[str, Any] = {key: np.broadcast_to(array, shape) for key, array in arrays.items()}
        for key in neuron.parameters:
            _require_finite(name, key, parameters[key])
            if key.startswith("tau") and parameters[key].min(initial=np.inf) < dt:
                raise GraphError(
                    f"node {name}: {key} = {parameters[key].min():g} s is shorter than one step of {dt:g} s; "
                    "pass the time step that the file was made for with --dt"
                )
        return Node(name, neuron.name, sources, parameters, input_shape=shape, output_shape=shape, reset=reset)
    if type(raw) not in CONVERTERS:
        supported = sorted(cls.__name__ for cls in {*CONVERTERS, *NEURONS})
        raise GraphError(f"node {name}: {type(raw).__name__} is not supported; supported are {', '.join(supported)}")
    kind, parameters = CONVERTERS[type(raw)](name, raw, dt)
    for key, value in parameters.items():
        if isinstance(value, np.ndarray):
            _require_finite(name, key, value)
    return Node(name, kind, sources, parameters, layer=str(metadata.get(dialect.KEY_LAYER, "")))


def _require_finite(name: str, key: str, array: np.ndarray) -> None:
    bad = int(np.count_nonzero(~np.isfinite(array)))
    if bad:
        raise GraphError(f"node {name}: {bad} of {array.size} values of {key} are NaN or infinite")


def _extension(name: str, raw: nir.NIRGraph, sources: tuple[str, ...], prefix: str) -> Node:
    op = str(raw.metadata["op"])
    if op not in EXTENSIONS:
        raise GraphError(f"node {name}: operation {op!r} is not one of {sorted(EXTENSIONS)}")
    role_names, parameter_names = KINDS[op].roles, KINDS[op].parameters
    missing = {*role_names, *parameter_names} - set(raw.metadata)
    if missing:
        raise GraphError(f"node {name}: {op} lacks {sorted(missing)} in its metadata")
    roles = {role: (prefix + str(raw.metadata[role]),) for role in role_names}
    if roles and set(sources) != {source for names in roles.values() for source in names}:
        raise GraphError(f"node {name}: its edges come from {list(sources)}, its roles name {dict(roles)}")
    parameters = {key: _operation_parameter(name, key, raw.metadata[key]) for key in parameter_names}
    if roles:
        sources = tuple(source for names in roles.values() for source in names)
    declared = raw.output_type.get("output")
    shape = () if declared is None else tuple(int(size) for size in np.atleast_1d(declared))
    if not shape or (op != "gate" and len(shape) != 1):
        raise GraphError(f"node {name}: {op} works on a vector of neurons, found shape {declared}")
    if op == "look_ahead" and parameters["steps"] * shape[0] > LARGEST_LAYER:
        raise GraphError(f"node {name}: a look-ahead of {parameters['steps']} steps needs too much memory")
    if op == "attention" and (parameters["heads"] < 1 or shape[0] % parameters["heads"]):
        raise GraphError(f"node {name}: {shape[0]} neurons do not divide into {parameters['heads']} heads")
    if op == "rotary" and parameters["angle"].shape != (shape[0] // 2,):
        raise GraphError(
            f"node {name}: {shape[0]} neurons need {shape[0] // 2} angles, found {parameters['angle'].shape}"
        )
    return Node(name, op, sources, parameters, roles, shape, shape)


def _operation_parameter(name: str, key: str, value: Any) -> Any:
    """`angle` is an array of finite numbers, `scale` a finite number, the rest whole numbers that are not negative."""
    array = np.asarray(value)
    if array.dtype.kind not in "biuf" or not np.isfinite(array).all() or (array.ndim and key != "angle"):
        raise GraphError(f"node {name}: {key} = {value!r} is not finite or of the wrong kind")
    if key == "angle":
        return np.atleast_1d(array).astype(np.float64)
    if key != "scale" and (array < 0 or array != np.rint(array)):
        raise GraphError(f"node {name}: {key} = {value!r}; a whole number that is not negative is expected")
    return float(array) if key == "scale" else array.item() if array.dtype.kind == "b" else int(array)


# ---- one function a NIR class: (kind, parameters) --------------------------------------------------------------------


def _affine(name: str, raw: Any, dt: float) -> tuple[str, dict[str, Any]]:
    weight = np.asarray(raw.weight, np.float64)
    if weight.ndim != 2:
        raise GraphError(f"node {name}: weight has shape {weight.shape}; [outputs, inputs] is supported")
    bias = getattr(raw, "bias", None)
    return "affine", {"weight": weight, "bias": None if bias is None else np.asarray(bias, np.float64)}


def _scale(name: str, raw: Any, dt: float) -> tuple[str, dict[str, Any]]:
    return "scale", {"weight": np.asarray(raw.scale, np.float64)}


def _conv(dimensions: int) -> Callable[[str, Any, float], tuple[str, dict[str, Any]]]:
    def convert(name: str, raw: Any, dt: float) -> tuple[str, dict[str, Any]]:
        weight = np.asarray(raw.weight, np.float64)
        if weight.ndim != 2 + dimensions:
            raise GraphError(f"node {name}: weight has shape {weight.shape}; {2 + dimensions} dimensions are expected")
        (groups,) = _wholes(name, "groups", raw.groups, 1)
        weight, groups = _compact(name, weight, groups, raw.metadata or {})
        parameters: dict[str, Any] = {"weight": weight, "groups": groups}
        parameters["bias"] = np.broadcast_to(np.asarray(raw.bias, np.float64), weight.shape[:1])
        for key in ("stride", "dilation"):
            parameters[key] = _wholes(name, key, getattr(raw, key), dimensions)
        padding = raw.padding
        if isinstance(padding, (str, bytes)) or (isinstance(padding, np.ndarray) and padding.dtype.kind in "SUO"):
            word = padding.decode() if isinstance(padding, bytes) else str(padding)
            if word not in ("valid", "same"):
                raise GraphError(f"node {name}: padding {word!r}; 'valid', 'same' or integers are supported")
            spans = [d * (k - 1) for d, k in zip(parameters["dilation"], weight.shape[2:], strict=True)]
            if word == "same" and any(span % 2 for span in spans):
                raise GraphError(f"node {name}: padding 'same' with an even kernel is not symmetric")
            parameters["padding"] = tuple(span // 2 if word == "same" else 0 for span in spans)
        else:
            parameters["padding"] = _wholes(name, "padding", padding, dimensions)
        _require_windows(name, weight.shape[2:], parameters, groups)
        return f"conv{dimensions}d", parameters

    return convert


def _require_windows(name: str, kernel: tuple[int, ...], p: Mapping[str, Any], groups: int = 1) -> None:
    at_least_one = {"kernel": kernel, "stride": p["stride"], "dilation": p.get("dilation", (1,)), "groups": (groups,)}
    for key, values in at_least_one.items():
        if min(values, default=0) < 1:
            raise GraphError(f"node {name}: {key} {values}; at least 1 is needed")
    if min(p["padding"]) < 0:
        raise GraphError(f"node {name}: padding {p['padding']} is negative")


def _compact(name: str, weight: np.ndarray, groups: int, metadata: Mapping[str, Any]) -> tuple[np.ndarray, int]:
    """Takes the zeros out of a block diagonal kernel whose metadata says that it is one."""
    if dialect.KEY_GROUPS not in metadata:
        return weight, groups
    (groups,) = _wholes(name, f"{dialect.KEY_GROUPS} in the metadata", metadata[dialect.KEY_GROUPS], 1)
    if groups < 1 or weight.shape[0] % groups or weight.shape[1] % groups:
        raise GraphError(f"node {name}: a kernel of shape {weight.shape} does not divide into {groups} groups")
    rows, columns = weight.shape[0] // groups, weight.shape[1] // groups
    blocks = [weight[g * rows : (g + 1) * rows, g * columns : (g + 1) * columns] for g in range(groups)]
    if sum(np.count_nonzero(block) for block in blocks) != np.count_nonzero(weight):
        raise GraphError(f"node {name}: its kernel has weights outside the {groups} groups that its metadata names")
    return np.concatenate(blocks), groups


def _wholes(name: str, key: str, value: Any, count: int) -> tuple[int, ...]:
    """`count` whole numbers, from as many or from one that holds for all."""
    array = np.asarray(value)
    whole = array.dtype.kind in "iuf" and bool(np.isfinite(array).all()) and np.array_equal(array, np.rint(array))
    if not whole or array.size not in (1, count) or np.abs(array.astype(np.float64)).max() > LARGEST_WHOLE:
        found = np.array2string(array, threshold=8)
        raise GraphError(f"node {name}: {key} = {found}; {count} whole number(s) up to {LARGEST_WHOLE} are expected")
    return tuple(int(v) for v in np.broadcast_to(array.reshape(-1), (count,)))


def _pool(kind: str) -> Callable[[str, Any, float], tuple[str, dict[str, Any]]]:
    def convert(name: str, raw: Any, dt: float) -> tuple[str, dict[str, Any]]:
        parameters = {key: _wholes(name, key, getattr(raw, key), 2) for key in ("kernel_size", "stride", "padding")}
        _require_windows(name, parameters["kernel_size"], parameters)
        return kind, parameters

    return convert


def _flat(name: str, raw: Any, dt: float) -> tuple[str, dict[str, Any]]:
    return "flatten", {key: _wholes(name, key, getattr(raw, key), 1)[0] for key in ("start_dim", "end_dim")}


def _delay(name: str, raw: Any, dt: float) -> tuple[str, dict[str, Any]]:
    exact = np.asarray(raw.delay, np.float64) / dt
    steps = np.rint(exact)
    if not np.all(np.isfinite(exact)) or exact.min(initial=0) < 0:
        raise GraphError(f"node {name}: delays must be finite and not negative")
    if np.abs(exact - steps).max(initial=0) > 1e-6 * np.maximum(1, steps.max(initial=0)):
        raise GraphError(f"node {name}: a delay is not a whole number of steps of {dt:g} s")
    if steps.max(initial=0) * steps.size > LARGEST_LAYER:
        raise GraphError(
            f"node {name}: {steps.size} delays of up to {steps.max():g} steps of {dt:g} s need too much memory"
        )
    return "delay", {"steps": steps.astype(np.int64)}


def _port(key: str) -> Callable[[str, Any, float], tuple[str, dict[str, Any]]]:
    def convert(name: str, raw: Any, dt: float) -> tuple[str, dict[str, Any]]:
        declared = getattr(raw, f"{key}_type")[key]
        if declared is None:
            return key, {"shape": None}
        sizes = np.atleast_1d(declared)
        if sizes.ndim != 1 or sizes.dtype.kind not in "iu" or not sizes.size or sizes.min() < 1:
            raise GraphError(f"node {name}: shape {declared}; a row of whole numbers from 1 on is expected")
        return key, {"shape": tuple(int(size) for size in sizes)}

    return convert


CONVERTERS: dict[type, Callable[[str, Any, float], tuple[str, dict[str, Any]]]] = {
    nir.Input: _port("input"),
    nir.Output: _port("output"),
    nir.Affine: _affine,
    nir.Linear: _affine,
    nir.Scale: _scale,
    nir.Conv1d: _conv(1),
    nir.Conv2d: _conv(2),
    nir.SumPool2d: _pool("sum_pool"),
    nir.AvgPool2d: _pool("avg_pool"),
    nir.Flatten: _flat,
    nir.Delay: _delay,
}


# ---- shapes ----------------------------------------------------------------------------------------------------------


def output_shape(node: Node, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Shape that `node` gives for inputs of `shape`.

    Raises:
        GraphError: the node cannot take that shape.
    """
    found = SHAPES.get(node.kind, _same_shape)(node, shape)
    if math.prod(found) > LARGEST_LAYER:
        raise GraphError(f"node {node.name} ({node.kind}): {found} are more than {LARGEST_LAYER} values a step")
    return found


def _same_shape(node: Node, shape: tuple[int, ...]) -> tuple[int, ...]:
    if node.output_shape and node.output_shape != shape:
        raise _mismatch(node, shape, node.output_shape)
    return shape


def _mismatch(node: Node, found: tuple[int, ...], expected: Any) -> GraphError:
    return GraphError(f"node {node.name} ({node.kind}): gets shape {found}, expects {expected}")


def _port_shape(node: Node, shape: tuple[int, ...]) -> tuple[int, ...]:
    declared = node.parameters["shape"]
    if declared is not None and declared != shape:
        raise _mismatch(node, shape, declared)
    return shape


def _part_shape(node: Node, shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(node.parameters["shape"])


def _affine_shape(node: Node, shape: tuple[int, ...]) -> tuple[int, ...]:
    outputs, inputs = node.parameters["weight"].shape
    bias = node.parameters["bias"]
    if shape != (inputs,):
        raise _mismatch(node, shape, (inputs,))
    if bias is not None and bias.shape != (outputs,):
        raise GraphError(f"node {node.name}: {outputs} outputs, but a bias of shape {bias.shape}")
    return (outputs,)


def _scale_shape(node: Node, shape: tuple[int, ...]) -> tuple[int, ...]:
    weight = node.parameters["weight"]
    if weight.shape != shape:
        raise _mismatch(node, shape, weight.shape)
    return shape


def _delay_shape(node: Node, shape: tuple[int, ...]) -> tuple[int, ...]:
    if node.parameters["steps"].shape != shape:
        raise _mismatch(node, shape, node.parameters["steps"].shape)
    return shape


def _conv_shape(node: Node, shape: tuple[int, ...]) -> tuple[int, ...]:
    p = node.parameters
    outputs, inputs_per_group, *kernel = p["weight"].shape
    if len(shape) != 1 + len(kernel) or shape[0] != inputs_per_group * p["groups"]:
        raise _mismatch(node, shape, f"{inputs_per_group * p['groups']} channels and {len(kernel)} dimensions of space")
    if outputs % p["groups"]:
        raise GraphError(f"node {node.name}: {outputs} output channels do not divide into {p['groups']} groups")
    spans = [d * (k - 1) + 1 for d, k in zip(p["dilation"], kernel, strict=True)]
    return (outputs, *_windows(node, shape, spans, p["stride"], p["padding"]))


def _pool_shape(node: Node, shape: tuple[int, ...]) -> tuple[int, ...]:
    p = node.parameters
    if len(shape) != 3:
        raise _mismatch(node, shape, "channels, height and width")
    return (shape[0], *_windows(node, shape, p["kernel_size"], p["stride"], p["padding"]))


def _windows(node: Node, shape: tuple[int, ...], spans: Any, strides: Any, paddings: Any) -> tuple[int, ...]:
    sizes = shape[1:]
    padded = math.prod(size + 2 * padding for size, padding in zip(sizes, paddings, strict=True))
    if shape[0] * padded > LARGEST_LAYER:
        raise GraphError(f"node {node.name} ({node.kind}): padded by {tuple(paddings)}, its input is too large")
    counts = [
        (size + 2 * padding - span) // stride + 1
        for size, span, stride, padding in zip(sizes, spans, strides, paddings, strict=True)
    ]
    if min(counts) < 1:
        raise GraphError(
            f"node {node.name} ({node.kind}): its kernel of {tuple(spans)} is larger than its input {sizes}"
        )
    return tuple(counts)


def _flatten_shape(node: Node, shape: tuple[int, ...]) -> tuple[int, ...]:
    start, end = (i + len(shape) if i < 0 else i for i in (node.parameters["start_dim"], node.parameters["end_dim"]))
    if not 0 <= start <= end < len(shape):
        raise _mismatch(node, shape, f"dimensions {start} to {end}")
    return (*shape[:start], int(np.prod(shape[start : end + 1])), *shape[end + 1 :])


def _temporal_shape(node: Node, shape: tuple[int, ...]) -> tuple[int, ...]:
    weight = node.parameters["weight"]
    if shape != (weight.shape[1],):
        raise _mismatch(node, shape, weight.shape[1:2])
    return (weight.shape[0],)


def _depthwise_shape(node: Node, shape: tuple[int, ...]) -> tuple[int, ...]:
    if shape != node.parameters["weight"].shape[:1]:
        raise _mismatch(node, shape, node.parameters["weight"].shape[:1])
    return shape


SHAPES: dict[str, Callable[[Node, tuple[int, ...]], tuple[int, ...]]] = {
    "input": _port_shape,
    "input_part": _part_shape,
    "output": _port_shape,
    "affine": _affine_shape,
    "scale": _scale_shape,
    "delay": _delay_shape,
    "conv1d": _conv_shape,
    "conv2d": _conv_shape,
    "sum_pool": _pool_shape,
    "avg_pool": _pool_shape,
    "flatten": _flatten_shape,
    "temporal_conv": _temporal_shape,
    "depthwise_conv": _depthwise_shape,
}
