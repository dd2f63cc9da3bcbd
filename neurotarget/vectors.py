"""Vectors in compiled loops: what numba intrinsics are built from.

LLVM cuts a vector of any length into those of the machine.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

INDEX = ir.IntType(32)


def array_of(context: Any, builder: Any, kind: Any, value: Any) -> Any:
    """The array that an argument of an intrinsic is."""
    return context.make_array(kind)(context, builder, value)


def vector_of(context: Any, dtype: Any, width: Any) -> Any:
    """As many numbers as fill so many bytes (a literal), at least one."""
    element = context.get_data_type(dtype)
    return ir.VectorType(element, max(1, width.literal_value // context.get_abi_sizeof(element)))


def vector_at(builder: Any, array: Any, index: Any, vector: Any) -> Any:
    """Address of the vector that starts at a place of a flat array."""
    return builder.bitcast(builder.gep(array.data, [index]), vector.as_pointer())


def spread(builder: Any, number: Any, lanes: int) -> Any:
    """A vector that holds one number in each place."""
    undefined = ir.Constant(ir.VectorType(number.type, lanes), ir.Undefined)
    one = builder.insert_element(undefined, number, INDEX(0))
    return builder.shuffle_vector(one, undefined, ir.Constant(ir.VectorType(INDEX, lanes), None))


@intrinsic
def not_zero(typing_context, x, at):
    """Bit i of 64 says whether `x[at + i]` of a flat array is not zero."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = array_of(context, builder, x, arguments[0])
        element = context.get_data_type(x.dtype)
        vector = ir.VectorType(element, 64)
        first = vector_at(builder, array, arguments[1], vector)
        values, zero = builder.load(first, align=context.get_abi_sizeof(element)), ir.Constant(vector, None)
        floating = isinstance(x.dtype, types.Float)
        found = builder.fcmp_unordered("!=", values, zero) if floating else builder.icmp_unsigned("!=", values, zero)
        return builder.bitcast(found, ir.IntType(64))

    return types.uint64(x, types.intp), generate
