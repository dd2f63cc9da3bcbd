"""Vector instructions that a compiled loop over numbers would not become: numba intrinsics.

Nothing here is reordered or fused: each product is rounded before it is added (no fast-math flag is set).
"""

from __future__ import annotations

from typing import Any

import numba
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from neurotarget.vectors import INDEX, array_of, not_zero, spread, vector_at, vector_of

STATE_LIMIT = 2**23  # Lava's u lies in -(2^23 - 1) .. 2^23, v in -(2^23 - 1) .. 2^23 - 1
DECAY_BITS = 12
ALIGN_BITS = 6  # input and threshold are shifted left by this much
NOTED = 8


def _accumulate(builder: Any, dtype: Any, total: Any, factor: Any, weight: Any) -> None:
    floating = isinstance(dtype, types.Float)
    multiply, add = (builder.fmul, builder.fadd) if floating else (builder.mul, builder.add)
    builder.store(add(builder.load(total), multiply(factor, weight)), total)


@intrinsic(prefer_literal=True)
def weigh(typing_context, width, weight, start, columns, places, values, noted_at, count, out, at):
    """`out[at + n] = sum over e of values[e] * weight[start + places[e] * columns + n]`, in the order of e.

    Args:
        width: bytes of the columns that are summed at once, a literal; their sums stay in registers.
        weight: flat, rows of so many columns.
        places: int32, and values, in the type of the weights: of the events, `count` of them from `noted_at` on.
        out: flat, in the type of the weights; or int32, of weights in float32 whose sums are integers.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _, matrix, first, stride, rows, factors, noted_first, events, sums, place = arguments
        matrix, rows, factors, sums = (
            array_of(context, builder, kind, value)
            for kind, value in ((weight, matrix), (places, rows), (values, factors), (out, sums))
        )
        vector = vector_of(context, weight.dtype, width)
        size = context.get_abi_sizeof(vector.element)
        total = cgutils.alloca_once_value(builder, ir.Constant(vector, None))
        with cgutils.for_range(builder, events) as loop:
            event = builder.add(noted_first, loop.index)
            row = builder.sext(builder.load(builder.gep(rows.data, [event])), stride.type)
            address = vector_at(builder, matrix, builder.add(first, builder.mul(row, stride)), vector)
            factor = spread(builder, builder.load(builder.gep(factors.data, [event])), vector.count)
            _accumulate(builder, weight.dtype, total, factor, builder.load(address, align=size))
        last = builder.load(total)
        if out.dtype != weight.dtype:
            vector = ir.VectorType(context.get_data_type(out.dtype), vector.count)
            last = builder.fptosi(last, vector)
        builder.store(last, vector_at(builder, sums, place, vector), align=size)
        return context.get_dummy_value()

    if not isinstance(width, types.IntegerLiteral):
        return None
    index = types.intp
    return types.void(width, weight, index, index, places, values, index, index, out, index), generate


@intrinsic(prefer_literal=True)
def weigh_alone(typing_context, width, weight, start, x, first, columns, count, out, at):
    """`out[at + n] += sum over i < count of weight[start + i * columns + n] * x[first + i * columns + n]`, in order.

    Args:
        width: as of `weigh`.
        weight, x, out: flat, of one type; rows of so many columns.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _, matrix, row, numbers, number, stride, taps, sums, place = arguments
        matrix, numbers, sums = (
            array_of(context, builder, kind, value) for kind, value in ((weight, matrix), (x, numbers), (out, sums))
        )
        vector = vector_of(context, weight.dtype, width)
        size = context.get_abi_sizeof(vector.element)
        target = vector_at(builder, sums, place, vector)
        total = cgutils.alloca_once_value(builder, builder.load(target, align=size))
        with cgutils.for_range(builder, taps) as loop:
            offset = builder.mul(loop.index, stride)
            factor, own = (
                builder.load(vector_at(builder, array, builder.add(origin, offset), vector), align=size)
                for array, origin in ((numbers, number), (matrix, row))
            )
            _accumulate(builder, weight.dtype, total, factor, own)
        builder.store(builder.load(total), target, align=size)
        return context.get_dummy_value()

    if not isinstance(width, types.IntegerLiteral):
        return None
    index = types.intp
    return types.void(width, weight, index, x, index, index, index, out, index), generate


@intrinsic(prefer_literal=True)
def integrate_and_fire(typing_context, width, current, columns, steps, constants, neurons, reset, v, spikes, potential):
    """All steps of the neurons of one vector, whose potentials stay in registers: kernels.py, `fire`.

    All arrays are flat and start with these neurons.

    Args:
        width: as of `weigh`.
        current: the next step is `columns` further.
        constants: six rows of `neurons`: decay, gain, offset, v_threshold, v_reset, theta.
        reset: place of the word in `RESETS`.
        v: read and written.
        spikes: of any type; the next step is `neurons` further.
        potential: as `spikes`, to keep v before the reset; of length 0 not to.

    Returns:
        Whether a current or, at the end, v is not finite.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _, arriving, stride, times, fixed, count, rule, state, fired, kept = arguments
        arriving, fixed, state, fired, kept = (
            array_of(context, builder, kind, value)
            for kind, value in (
                (current, arriving),
                (constants, fixed),
                (v, state),
                (spikes, fired),
                (potential, kept),
            )
        )
        vector = vector_of(context, current.dtype, width)
        size = context.get_abi_sizeof(vector.element)
        sent = ir.VectorType(context.get_data_type(spikes.dtype), vector.count)
        one_or_none = builder.uitofp if isinstance(spikes.dtype, types.Float) else builder.zext
        decay, gain, offset, threshold, v_reset, theta = (
            builder.load(vector_at(builder, fixed, builder.mul(count, count.type(row)), vector), align=size)
            for row in range(6)
        )
        late, zero = (builder.icmp_signed("==", rule, rule.type(number)) for number in (1, 0))
        record = builder.icmp_signed(">", builder.extract_value(kept.shape, 0), count.type(0))
        potentials = cgutils.alloca_once_value(
            builder, builder.load(vector_at(builder, state, count.type(0), vector), align=size)
        )
        wild = cgutils.alloca_once_value(builder, ir.Constant(vector, None))
        with cgutils.for_range(builder, times) as loop:
            place, arrived = builder.mul(loop.index, count), builder.mul(loop.index, stride)
            x, before = (
                builder.load(vector_at(builder, arriving, arrived, vector), align=size),
                builder.load(potentials),
            )
            builder.store(builder.fadd(builder.load(wild), builder.fsub(x, x)), wild)
            charged = builder.fadd(builder.fmul(before, decay), builder.fadd(builder.fmul(gain, x), offset))
            takes_off = builder.fcmp_ordered(">", before, threshold)  # theta, that was due at the step before
            later = builder.select(takes_off, builder.fsub(charged, theta), charged)
            charged = builder.select(late, later, charged)
            fires = builder.fcmp_ordered(">", charged, threshold)
            after = builder.select(zero, v_reset, builder.fsub(charged, theta))
            builder.store(builder.select(late, charged, builder.select(fires, after, charged)), potentials)
            builder.store(one_or_none(fires, sent), vector_at(builder, fired, place, sent), align=1)
            with builder.if_then(record):
                builder.store(charged, vector_at(builder, kept, place, vector), align=size)
        last = builder.load(potentials)
        builder.store(last, vector_at(builder, state, count.type(0), vector), align=size)
        unknown = builder.fadd(builder.load(wild), builder.fsub(last, last))  # not a number where one was not finite
        bits = builder.bitcast(builder.fcmp_unordered("uno", unknown, unknown), ir.IntType(vector.count))
        return builder.icmp_unsigned("!=", bits, bits.type(0))

    if not isinstance(width, types.IntegerLiteral):
        return None
    index = types.intp
    kinds = (width, current, index, index, constants, index, index, v, spikes, potential)
    return types.boolean(*kinds), generate


@intrinsic(prefer_literal=True)
def integrate_and_fire_integers(
    typing_context, width, current, start, neurons, steps, keep, bias, column, threshold, reset, v, at, spikes, peaks
):
    """As `integrate_and_fire`, of Lava's fixed-point neuron whose u keeps nothing: integer_kernels.py, `fast`.

    Args:
        current, bias, v: int32, flat.
        keep, threshold: int32.
        peaks: int32 of length 2; the largest |current| and |v| before it is clipped are raised in place.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _, arriving, first, stride, times, kept, added, lane, theta, rule, state, own, fired, largest = arguments
        arriving, added, state, fired, largest = (
            array_of(context, builder, kind, value)
            for kind, value in (
                (current, arriving),
                (bias, added),
                (v, state),
                (spikes, fired),
                (peaks, largest),
            )
        )
        vector = vector_of(context, types.int32, width)
        bytes_ = ir.VectorType(ir.IntType(8), vector.count)

        def number(value: int) -> Any:
            return ir.Constant(vector, [value] * vector.count)

        def magnitude(values: Any) -> Any:
            return builder.select(builder.icmp_signed("<", values, number(0)), builder.sub(number(0), values), values)

        def larger(one: Any, other: Any) -> Any:
            return builder.select(builder.icmp_signed(">", one, other), one, other)

        def smaller(one: Any, other: Any) -> Any:
            return builder.select(builder.icmp_signed("<", one, other), one, other)

        keeps, limit = spread(builder, kept, vector.count), spread(builder, theta, vector.count)
        offset = builder.load(vector_at(builder, added, lane, vector), align=4)
        late, zero = (builder.icmp_signed("==", rule, rule.type(value)) for value in (1, 0))
        potentials = cgutils.alloca_once_value(builder, builder.load(vector_at(builder, state, own, vector), align=4))
        peak_current, peak_v = (cgutils.alloca_once_value(builder, number(0)) for _ in range(2))
        with cgutils.for_range(builder, times) as loop:
            place = builder.add(first, builder.mul(loop.index, stride))
            x, before = builder.load(vector_at(builder, arriving, place, vector), align=4), builder.load(potentials)
            builder.store(larger(builder.load(peak_current), magnitude(x)), peak_current)
            size = magnitude(before)  # times keep in two halves of 12 bits, which stay within 32
            high = builder.mul(builder.lshr(size, number(DECAY_BITS)), keeps)
            low = builder.lshr(builder.mul(builder.and_(size, number(2**DECAY_BITS - 1)), keeps), number(DECAY_BITS))
            size = builder.add(high, low)
            negative = builder.icmp_signed("<", before, number(0))
            decayed = builder.select(negative, builder.sub(number(0), size), size)
            charged = builder.add(builder.add(decayed, builder.shl(x, number(ALIGN_BITS))), offset)
            due = builder.icmp_signed(">", before, limit)  # theta, that was due at the step before
            later = builder.select(due, builder.sub(charged, limit), charged)
            charged = builder.select(late, later, charged)
            builder.store(larger(builder.load(peak_v), magnitude(charged)), peak_v)
            charged = larger(smaller(charged, number(STATE_LIMIT - 1)), number(1 - STATE_LIMIT))
            fires = builder.icmp_signed(">", charged, limit)
            after = builder.select(zero, number(0), builder.sub(charged, limit))
            builder.store(builder.select(late, charged, builder.select(fires, after, charged)), potentials)
            builder.store(builder.zext(fires, bytes_), vector_at(builder, fired, place, bytes_), align=1)
        builder.store(builder.load(potentials), vector_at(builder, state, own, vector), align=4)
        for row, peak in enumerate((peak_current, peak_v)):
            target, values = builder.gep(largest.data, [INDEX(row)]), builder.load(peak)
            highest = builder.load(target)
            for n in range(vector.count):
                one = builder.extract_element(values, INDEX(n))
                highest = builder.select(builder.icmp_signed(">", one, highest), one, highest)
            builder.store(highest, target)
        return context.get_dummy_value()

    if not isinstance(width, types.IntegerLiteral):
        return None
    index, whole = types.intp, types.int32
    kinds = (width, current, index, index, index, whole, bias, index, whole, index, v, index, spikes, peaks)
    return types.void(*kinds), generate


@intrinsic
def _lowest(typing_context, bits):
    """Place of the lowest bit that is set; 64 where none is."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.IntType(1)(0))

    return types.int64(types.uint64), generate


@intrinsic
def _how_many(typing_context, bits):
    """Bits that are set."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return types.int64(types.uint64), generate


@numba.njit(inline="always")
def noted(x, start, length, places, values, first, shift):
    """Notes what is not zero in x[start : start + length] of a flat array.

    Args:
        places: int32; gets the place from `start` on, plus `shift`.
        values: gets the value; both from `first` on, and have room for `NOTED` events more than there can be.

    Returns:
        Behind the last event.
    """
    event, done = first, 0
    while done + 64 <= length:
        bits = not_zero(x, start + done)
        end = event + _how_many(bits)
        while event < end:  # so many at once, also where there are less: a loop that ends seldom is foreseen
            for n in range(NOTED):
                at = done + (_lowest(bits) & 63)
                places[event + n], values[event + n] = shift + at, x[start + at]
                bits &= bits - numba.uint64(1)
            event += NOTED
        event = end
        done += 64
    while done < length:
        places[event], values[event] = shift + done, x[start + done]
        event += x[start + done] != 0
        done += 1
    return event
