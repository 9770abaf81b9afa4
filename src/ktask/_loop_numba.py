# SPDX-License-Identifier: BSD-3-Clause
"""What ``@ktask.loop`` needs of numba: how compiled code calls ktask, and ktask compiled code, without Python.

A compiled loop is one numba function, so that numba's own dispatch finds it by the arguments' types and numba's own
cache keeps it. It leaves the arguments on its stack and calls into ktask, with a C function that was compiled along
with it: that one is called for each chunk, takes the arguments from there and runs the loop.

What it calls of ktask it knows by name, as it knows functions of numba's own: LLVM is told the addresses here.
"""

from __future__ import annotations

from typing import Any

import numba
from llvmlite import binding, ir
from numba.core import cgutils as untyped_cgutils
from numba.core import types as untyped_types
from numba.extending import intrinsic

from ktask._core import ffi, lib
from ktask._loop import BAD_ITERATION

cgutils: Any = untyped_cgutils
types: Any = untyped_types

for name in "py_run_loop", "ktask_thread", "ktask_max_threads":  # see _build.py
    binding.add_symbol(name, int(ffi.cast("uintptr_t", ffi.addressof(lib, name))))


@intrinsic
def ktask_run(_: Any, chunk: Any, n: Any, min_chunk: Any, max_threads: Any, arguments: Any) -> Any:
    """``ktask_run(chunk, n, ..., arguments) -> int32``: runs ``chunk(first, end, *arguments)`` over ``range(n)``.

    ``chunk`` is a numba function.
    """
    if not isinstance(arguments, types.BaseTuple):
        raise numba.TypingError("arguments must be a tuple")
    chunk_types = (types.intp, types.intp, *arguments.types)

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        call = chunk.get_call_type(context.typing_context, chunk_types, {})
        compiled = chunk.dispatcher.overloads[call.args]
        context.add_linking_libs([compiled.library])
        _, *sizes, tuple_ = values

        callback = _callback(context, builder.module, compiled, chunk_types, tuple_.type)
        kept = cgutils.alloca_once_value(builder, _borrowed(context, builder, arguments, tuple_))
        pointer = cgutils.voidptr_t
        run_type = ir.FunctionType(ir.IntType(32), [*(size.type for size in sizes), pointer, pointer])
        run = cgutils.get_or_insert_function(builder.module, run_type, "py_run_loop")
        return builder.call(run, [*sizes, builder.bitcast(callback, pointer), builder.bitcast(kept, pointer)])

    return types.int32(chunk, types.uintp, types.uintp, types.uintp, arguments), generate


def _borrowed(context: Any, builder: Any, arguments: Any, tuple_: Any) -> Any:
    """The arguments without their owners: threads that know of none cannot give them back."""
    for i, t in enumerate(arguments.types):
        if isinstance(t, types.Array):
            array = builder.extract_value(tuple_, i)
            for owner in ("meminfo", "parent"):
                at = context.data_model_manager[t].get_field_position(owner)
                null = ir.Constant(array.type.elements[at], None)
                array = builder.insert_value(array, null, at)
            tuple_ = builder.insert_value(tuple_, array, i)
    return tuple_


def _callback(context: Any, module: Any, compiled: Any, chunk_types: Any, tuple_type: Any) -> Any:
    """The C function ``int (void *start, void *end, void *arg)`` that calls ``compiled`` for a chunk."""
    pointer = cgutils.voidptr_t
    name = module.get_unique_name("ktask_chunk")
    function = ir.Function(module, ir.FunctionType(ir.IntType(32), [pointer] * 3), name)
    function.linkage = "internal"
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    start, end, arg = function.args
    intp = context.get_value_type(types.intp)
    tuple_ = builder.load(builder.bitcast(arg, tuple_type.as_pointer()))
    values = [builder.ptrtoint(start, intp), builder.ptrtoint(end, intp)]
    values += [builder.extract_value(tuple_, i) for i in range(len(chunk_types) - 2)]
    status, _ = context.call_conv.call_function(
        builder,
        context.declare_function(module, compiled.fndesc),
        compiled.signature.return_type,
        compiled.signature.args,
        values,
    )
    builder.ret(
        builder.select(status.is_error, ir.Constant(ir.IntType(32), BAD_ITERATION), ir.Constant(ir.IntType(32), 0))
    )
    return function


@intrinsic
def ktask_thread(_: Any) -> Any:
    """``ktask_thread() -> intp``: the number of the calling thread."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        function_type = ir.FunctionType(ir.IntType(32), [])
        function = cgutils.get_or_insert_function(builder.module, function_type, "ktask_thread")
        return builder.sext(builder.call(function, []), context.get_value_type(types.intp))

    return types.intp(), generate


@intrinsic
def ktask_max_threads(_: Any) -> Any:
    """``ktask_max_threads() -> intp``: all their numbers are less than this."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        function_type = ir.FunctionType(context.get_value_type(types.intp), [])
        function = cgutils.get_or_insert_function(builder.module, function_type, "ktask_max_threads")
        return builder.call(function, [])

    return types.intp(), generate


@intrinsic
def ktask_keeps_type(_: Any, parts: Any, value: Any) -> Any:
    """Refuses, while compiling, an accumulator whose parts could not hold what it has become."""
    if types.unliteral(value) != parts.dtype:
        raise numba.TypingError(
            f"an accumulator that begins with {parts.dtype} becomes {value}: begin it with a value of that type"
        )

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return context.get_dummy_value()

    return types.none(parts, value), generate
