"""Products with weights of what is mostly zero, forward and backward, compiled for the CPU: zeros cost nothing.

Spikes, and sums of a few spikes, are zero nine times out of ten. A product then reads the weights of the inputs that
are not, and the gradient of a weight the rows in which its input is not; the gradient of the input is a dense product.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numba
import numpy as np
import torch
from llvmlite import ir
from neurotarget.model.kernels.once import once
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from torch import Tensor

from neurotarget.compiled import compiled
from neurotarget.vectors import array_of, not_zero, spread, vector_at, vector_of

ROWS = 64  # of a block: one bit each
SLABS = 8  # of rows, whose gradients are summed apart: the same with any number of threads
WIDE, NARROW = 512, 32  # bytes of columns that are summed at once, in registers; rows consist of narrow ones
DENSEST = 0.5  # share of inputs that are not zero, above which a dense product is faster
SAMPLED = 17  # rows for each one that is looked at to tell


@contextlib.contextmanager
def _each(builder: Any, bits: Any) -> Iterator[Any]:
    """The code of a loop over the bits that are set; gives the place of each."""
    left, none = cgutils.alloca_once_value(builder, bits), bits.type(0)
    body, end = builder.append_basic_block("set"), builder.append_basic_block("none")
    builder.cbranch(builder.icmp_unsigned("!=", bits, none), body, end)
    builder.position_at_end(body)
    now = builder.load(left)
    yield builder.cttz(now, ir.IntType(1)(1))
    rest = builder.and_(now, builder.sub(now, bits.type(1)))
    builder.store(rest, left)
    builder.cbranch(builder.icmp_unsigned("!=", rest, none), body, end)
    builder.position_at_end(end)


@intrinsic(prefer_literal=True)
def _add(typing_context, width, matrix, start, columns, x, first, apart, bits, out, at):
    """`out[at + n] += sum over the bits i that are set of x[first + i * apart] * matrix[start + i * columns + n]`.

    Args:
        width: bytes of n, a literal; the sums stay in registers.
        matrix, x, out: flat, of one type; the rows of the matrix have so many columns.
        bits: uint64.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _, rows, row, stride, factors, factor, distance, chosen, sums, place = arguments
        rows, factors, sums = (
            array_of(context, builder, kind, value) for kind, value in ((matrix, rows), (x, factors), (out, sums))
        )
        vector = vector_of(context, matrix.dtype, width)
        size = context.get_abi_sizeof(vector.element)
        target = vector_at(builder, sums, place, vector)
        total = cgutils.alloca_once_value(builder, builder.load(target, align=size))
        with _each(builder, chosen) as bit:
            times = builder.load(builder.gep(factors.data, [builder.add(factor, builder.mul(bit, distance))]))
            own = vector_at(builder, rows, builder.add(row, builder.mul(bit, stride)), vector)
            # `contract` lets a product be added without being rounded before, in one instruction.
            product = builder.fmul(
                spread(builder, times, vector.count), builder.load(own, align=size), flags=("contract",)
            )
            builder.store(builder.fadd(builder.load(total), product, flags=("contract",)), total)
        builder.store(builder.load(total), target, align=size)
        return context.get_dummy_value()

    if not isinstance(width, types.IntegerLiteral):
        return None
    index = types.intp
    return types.void(width, matrix, index, index, x, index, index, types.uint64, out, index), generate


@numba.njit(inline="always")
def _bits(x, at, count):
    """Which of the numbers from a place on, 64 or those that are left, are not zero."""
    if count >= 64:
        return not_zero(x, at)
    bits = numba.uint64(0)
    for n in range(count):
        bits |= numba.uint64(x[at + n] != 0) << numba.uint64(n)
    return bits


@numba.njit(inline="always")
def _add_wide_or_narrow(wide, matrix, start, columns, x, first, apart, bits, out, at):
    if wide:
        _add(WIDE, matrix, start, columns, x, first, apart, bits, out, at)
    else:
        _add(NARROW, matrix, start, columns, x, first, apart, bits, out, at)


@compiled
def _multiply(x, weight, out):
    """`out += x @ weight`; x [rows, inputs], weight [inputs, outputs], out [rows, outputs]."""
    rows, inputs = x.shape
    outputs = weight.shape[1]
    numbers, matrix, sums = x.reshape(-1), weight.reshape(-1), out.reshape(-1)
    for block in numba.prange((rows + ROWS - 1) // ROWS):
        column = 0
        while column < outputs:
            wide = column + WIDE // weight.itemsize <= outputs
            for row in range(block * ROWS, min(rows, (block + 1) * ROWS)):
                for c in range(0, inputs, 64):
                    at, start, first = row * outputs + column, c * outputs + column, row * inputs + c
                    bits = _bits(numbers, first, inputs - c)
                    _add_wide_or_narrow(wide, matrix, start, outputs, numbers, first, 1, bits, sums, at)
            column += (WIDE if wide else NARROW) // weight.itemsize


@compiled
def _correlate(x, grad, partial):
    """`partial[slab] = x.T @ grad` of the rows of a slab; x [rows, inputs], grad [rows, outputs]."""
    rows, inputs = x.shape
    slabs, _, outputs = partial.shape
    numbers, matrix = x.reshape(-1), grad.reshape(-1)
    blocks = (rows + ROWS - 1) // ROWS
    for slab in numba.prange(slabs):
        sums = partial[slab].reshape(-1)
        sums[:] = 0
        bits = np.empty(inputs, np.uint64)
        for block in range(slab * blocks // slabs, (slab + 1) * blocks // slabs):
            first = block * ROWS
            bits[:] = 0
            for n in range(min(ROWS, rows - first)):
                row, bit = x[first + n], numba.uint64(1) << numba.uint64(n)
                for c in range(inputs):
                    bits[c] |= bit if row[c] != 0 else numba.uint64(0)
            column = 0
            while column < outputs:
                wide = column + WIDE // grad.itemsize <= outputs
                for c in range(inputs):
                    at, start, factor = c * outputs + column, first * outputs + column, first * inputs + c
                    _add_wide_or_narrow(wide, matrix, start, outputs, numbers, factor, inputs, bits[c], sums, at)
                column += (WIDE if wide else NARROW) // grad.itemsize


def _seen_and_served(tap: int, present: int, samples: int, rows: int) -> tuple[slice, slice]:
    """Of the rows [T * B] of an input and an output: those that a tap reads, and those that it reads them for."""
    later = (tap - present) * samples
    shared = max(0, rows - abs(later))
    return slice(max(0, later), max(0, later) + shared), slice(max(0, -later), max(0, -later) + shared)


class _Weigh(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, present: int):
        (steps, samples, inputs), (outputs, _, taps) = x.shape, weight.shape
        rows = x.detach().numpy().reshape(-1, inputs)
        out = np.zeros((len(rows), outputs), rows.dtype)
        if bias is not None:
            out += bias.detach().numpy()
        by_input = np.ascontiguousarray(weight.detach().numpy().transpose(2, 1, 0))
        for tap in range(taps):
            seen, served = _seen_and_served(tap, present, samples, len(rows))
            _multiply(rows[seen], by_input[tap], out[served])
        ctx.save_for_backward(x, weight)
        ctx.present = present
        return torch.from_numpy(out).view(steps, samples, outputs)

    @staticmethod
    @once
    def backward(ctx: Any, grad: Tensor):
        x, weight = ctx.saved_tensors
        (_, samples, inputs), (outputs, _, taps) = x.shape, weight.shape
        rows, gradients = x.detach().view(-1, inputs), grad.contiguous().view(-1, outputs)
        of_x = gradients @ weight.detach()[..., ctx.present] if ctx.needs_input_grad[0] else None
        of_weight = torch.empty(taps, inputs, outputs, dtype=x.dtype)
        of_slabs = torch.empty(SLABS, inputs, outputs, dtype=x.dtype)
        for tap in range(taps):
            seen, served = _seen_and_served(tap, ctx.present, samples, len(rows))
            _correlate(rows[seen].numpy(), gradients[served].numpy(), of_slabs.numpy())
            torch.sum(of_slabs, dim=0, out=of_weight[tap])
            if of_x is not None and tap != ctx.present:
                of_x[seen].addmm_(gradients[served], weight.detach()[..., tap])
        return (
            None if of_x is None else of_x.view_as(x),
            of_weight.permute(2, 1, 0),
            gradients.sum(dim=0) if ctx.needs_input_grad[2] else None,
            None,
        )


def pays(x: Tensor, weight: Tensor) -> bool:
    """Whether `weigh` is for these, and enough of x is zero for it to be faster than a dense product.

    Args:
        x: [T, B, inputs].
        weight: [outputs, inputs, ...].
    """
    if x.dim() != 3 or x.device.type != "cpu" or x.dtype != weight.dtype or torch.is_autocast_enabled("cpu"):
        return False
    if x.dtype not in (torch.float32, torch.float64) or len(weight) * x.itemsize % NARROW:
        return False
    sample = x.detach().flatten(0, 1)[::SAMPLED].numpy()
    return bool(np.count_nonzero(sample) <= DENSEST * sample.size)


def weigh(x: Tensor, weight: Tensor, bias: Tensor | None, look_ahead: int = 0) -> Tensor:
    """`out[t] = bias + sum over k of weight[..., k] x[t + k - (K - 1 - look_ahead)]`, zeros beyond the ends.

    Args:
        x: [T, B, inputs] on the CPU, float32 or float64.
        weight: [outputs, inputs, K], as nn.Conv1d holds it; of one tap, a linear map. The outputs fill 32 bytes or a
            multiple.
        bias: [outputs].
        look_ahead: taps that lie in the future; the other K - 1 - look_ahead in the past, one in the present.

    Returns:
        [T, B, outputs].
    """
    out: Tensor = _Weigh.apply(x.contiguous(), weight, bias, weight.shape[-1] - 1 - look_ahead)
    return out
