# SPDX-License-Identifier: BSD-3-Clause
"""What Python hands over, turned into what C can take: functions, arguments, positions, sizes.

Everything here either succeeds or raises before any work starts, with a message that names the value.
"""

from __future__ import annotations

import ctypes
import inspect
import operator
from collections.abc import Callable
from types import FunctionType
from typing import Any, NamedTuple, NoReturn

from ktask._core import ffi, lib

VOID_P = ffi.typeof("void *")
ADDRESSES = 1 << (8 * ffi.sizeof("void *"))


def size_of(value: object, what: str, *, least: int = 0) -> int:
    """Returns ``value`` as a number of units from ``least`` up to ktask's largest size."""
    try:
        n = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"{what} must be an int, not {type(value).__name__}: {value!r}") from None
    if n < least:
        raise ValueError(f"{what} must be at least {least}, not {n}")
    if n > lib.KTASK_MAX_SIZE:
        raise OverflowError(f"{what} must be at most {lib.KTASK_MAX_SIZE}, not {n}")
    return n


def address_of(value: object, what: str) -> tuple[int, object]:
    """Returns where ``value`` is in memory, as C wants it, and what has to stay alive for as long.

    None is NULL; an int is an address (or a number that the function knows what to do with); pointers and arrays of
    cffi and ctypes, and writable contiguous buffers (NumPy arrays, bytearray, array.array, mmap) are where their
    data are.
    """
    if value is None:
        return 0, None
    if isinstance(value, ffi.CData):
        kind = ffi.typeof(value).kind
        if kind in ("pointer", "array"):
            return int(ffi.cast("uintptr_t", value)), value
        raise TypeError(f"{what} must be a cffi pointer or array, not {value!r}; pass ffi.addressof(it)")
    if isinstance(value, ctypes.c_void_p):
        return value.value or 0, value
    if isinstance(value, (ctypes._Pointer, ctypes.c_char_p)):
        return ctypes.cast(value, ctypes.c_void_p).value or 0, value
    if isinstance(value, (ctypes.Structure, ctypes.Union, ctypes.Array, ctypes._SimpleCData)):
        return ctypes.addressof(value), value
    view = _writable_view(value)
    if view is not None:  # first, since a NumPy array without dimensions could pass for an int as well
        return _address_of_buffer(value, view, what)
    try:
        n = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        return _refuse_address(value, what)
    if not -ADDRESSES // 2 <= n < ADDRESSES:
        raise OverflowError(f"{what} does not fit into a pointer: {n}")
    return n % ADDRESSES, None


def _writable_view(value: object) -> memoryview | None:
    try:
        view = memoryview(value)  # type: ignore[arg-type]
    except TypeError:
        return None
    return None if view.readonly else view


def _refuse_address(value: object, what: str) -> NoReturn:
    try:
        memoryview(value)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(
            f"{what} must be None, an address, a buffer or a cffi or ctypes pointer for a C function, "
            f"not {type(value).__name__}: {value!r}"
        ) from None
    else:
        raise BufferError(
            f"{what} is a read-only {type(value).__name__}, and a C function could write to it; "
            "pass a writable one or, if the function only reads, its address as an int"
        )


def _address_of_buffer(value: object, view: memoryview, what: str) -> tuple[int, object]:
    if not view.c_contiguous and not view.f_contiguous:
        raise BufferError(
            f"{what} is a {type(value).__name__} that is not contiguous (shape {view.shape}, "
            f"strides {view.strides}); pass a contiguous copy"
        )
    if view.nbytes == 0:
        return 0, value
    data = ffi.from_buffer(value, require_writable=True) if view.c_contiguous else ffi.from_buffer(view.cast("B"))
    return int(ffi.cast("uintptr_t", data)), data


class Function(NamedTuple):
    """A thread, undo or iterator function, ready to be called: from C by its address, or as a Python callable."""

    address: int  # 0: Python's
    python: Callable[..., Any] | None
    keep: object  # alive for as long as the address is used
    takes_arg: bool = True  # a Python thread function's third argument
    any_result: bool = False  # a Python thread function may return anything; what is no int is no failure

    @property
    def identity(self) -> int:
        """A number for the kind of work, by which its cost is remembered."""
        return self.address or id(getattr(self.python, "__code__", self.python))


class Role:
    """What a function is for, and so what it must look like."""

    def __init__(self, name: str, parameters: tuple[str, ...], c_type: str) -> None:
        """``parameters`` are the names that a Python callable's may be remembered by."""
        self.name = name
        self.parameters = parameters
        self.c_type = c_type

    def __str__(self) -> str:
        return f"{self.name}({', '.join(self.parameters)})"


THREAD = Role("thread function", ("start", "end", "arg"), "int(void *start, void *end, void *arg)")
UNDO = Role("undo function", ("start", "end", "arg"), "void(void *start, void *end, void *arg)")
ITER = Role("iterator", ("position", "size"), "void *(void *position, size_t size)")


def function_of(value: object, role: Role) -> Function:
    """Turns anything that can play ``role`` into a Function, or raises TypeError."""
    if isinstance(value, Function):
        return value
    if isinstance(value, ffi.CData):
        return _from_cffi(value, role)
    if isinstance(value, ctypes._CFuncPtr):  # type: ignore[attr-defined]
        return _from_ctypes(value, role)
    if isinstance(value, int) and not isinstance(value, bool):
        return _from_address(value, role)
    if hasattr(value, "native_name") and isinstance(getattr(value, "address", None), int):
        return _from_numba(value, role)
    if callable(value):
        _check_arity(value, role)
        return Function(0, value, value)
    if value is None:
        raise TypeError(f"the {role.name} is None; pass a callable, a C function pointer or an address")
    raise TypeError(
        f"the {role.name} must be a callable, a cffi or ctypes function, a numba cfunc or an address, "
        f"not {type(value).__name__}: {value!r}"
    )


def loop_body_of(value: object) -> Function:
    """Turns the function of a ``parallel_for`` into a Function: as a thread function, but less strict."""
    if type(value) is FunctionType and value.__code__.co_argcount == 3 and _accepts(value, 3):
        return Function(0, value, value, any_result=True)
    if callable(value) and not _accepts(value, 3) and _accepts(value, 2):
        return Function(0, value, value, takes_arg=False, any_result=True)
    return function_of(value, THREAD)._replace(any_result=True)


def _accepts(function: Callable[..., Any], nr: int) -> bool:
    """Can ``function`` be called with ``nr`` positional arguments? Yes where that cannot be known."""
    if type(function) is FunctionType:  # in a hundredth of the time that inspect takes
        code = function.__code__
        if not code.co_flags & inspect.CO_VARARGS and not function.__defaults__ and not code.co_kwonlyargcount:
            return code.co_argcount == nr
    try:
        inspect.signature(function).bind(*range(nr))
    except TypeError:
        return False
    except ValueError:  # no signature, as for some functions made in C
        pass
    return True


def _check_arity(function: Callable[..., Any], role: Role) -> None:
    """Raises TypeError if a Python callable cannot take the role's arguments."""
    if not _accepts(function, len(role.parameters)):
        raise TypeError(
            f"the {role} is called with {len(role.parameters)} arguments, which {function!r} does not take"
            f"{_signature(function)}"
        )


def _signature(function: Callable[..., Any]) -> str:
    try:
        return f": its signature is {inspect.signature(function)}"
    except (TypeError, ValueError):
        return ""


def _from_address(value: int, role: Role) -> Function:
    if not 0 < value < ADDRESSES:
        raise ValueError(f"the {role.name} must be the address of a C function, not {value}")
    return Function(value, None, None)


def _from_cffi(value: Any, role: Role) -> Function:
    c_type = ffi.typeof(value)
    if value == ffi.NULL:
        raise ValueError(f"the {role.name} is a NULL pointer: {value!r}")
    if c_type.kind == "function":
        problem = _c_type_problem(c_type, role)
        if problem:
            raise TypeError(f"the {role.name} must be a C function {role.c_type}, but {value!r} {problem}")
    elif c_type.kind != "pointer" or c_type.item.kind != "void":
        raise TypeError(f"the {role.name} must be a pointer to a C function {role.c_type}, not {value!r}")
    return Function(int(ffi.cast("uintptr_t", value)), None, value)


def _c_type_problem(c_type: Any, role: Role) -> str | None:
    """What makes this cffi function type unfit for the role. Any pointers will do, and integers as wide."""

    def as_wide_as_a_pointer(t: Any) -> bool:
        return t.kind == "pointer" or (t.kind in ("primitive", "enum") and ffi.sizeof(t) == ffi.sizeof(VOID_P))

    if len(c_type.args) != len(role.parameters):
        return f"takes {len(c_type.args)} arguments"
    for name, argument in zip(role.parameters, c_type.args, strict=True):
        if not as_wide_as_a_pointer(argument) or argument.cname in ("double", "float"):
            return f"takes a {argument.cname} as {name}"
    result = c_type.result
    wanted = {"int": result.cname in ("int", "int32_t"), "void": True, "void *": as_wide_as_a_pointer(result)}
    if not wanted[role.c_type[: role.c_type.index("(")].strip()]:
        return f"returns {result.cname}"
    return None


def _from_ctypes(value: Any, role: Role) -> Function:
    address = ctypes.cast(value, ctypes.c_void_p).value
    if not address:
        raise ValueError(f"the {role.name} is a NULL pointer: {value!r}")
    if value.argtypes is not None and len(value.argtypes) != len(role.parameters):
        raise TypeError(
            f"the {role.name} must be a C function {role.c_type}, but {value!r} takes {len(value.argtypes)} arguments"
        )
    for name, argument in zip(role.parameters, value.argtypes or (), strict=False):
        if ctypes.sizeof(argument) != ctypes.sizeof(ctypes.c_void_p) or argument in (ctypes.c_double,):
            raise TypeError(
                f"the {role.name} must be a C function {role.c_type}, but {value!r} takes a {argument.__name__} "
                f"as {name}"
            )
    if role is THREAD and (value.restype is None or ctypes.sizeof(value.restype) != ctypes.sizeof(ctypes.c_int)):
        raise TypeError(f"the {role.name} must return a c_int, but {value!r} returns {value.restype!r}")
    return Function(address, None, value)


def _from_numba(value: Any, role: Role) -> Function:
    signature = getattr(value, "_sig", None)
    arguments = getattr(signature, "args", None)
    problem = None
    if arguments is not None and len(arguments) != len(role.parameters):
        problem = f"takes {len(arguments)} arguments"
    elif arguments is not None:
        for name, argument in zip(role.parameters, arguments, strict=True):
            pointer = type(argument).__name__ in ("RawPointer", "CPointer", "Opaque")
            if not pointer and getattr(argument, "bitwidth", 0) != 8 * ffi.sizeof(VOID_P):
                problem = f"takes a {argument} as {name}"
        result = getattr(signature, "return_type", None)
        if role is THREAD and getattr(result, "bitwidth", 0) != 8 * ffi.sizeof("int"):
            problem = f"returns {result}"
    if problem:
        raise TypeError(
            f"the {role.name} must be a C function {role.c_type}, but {value!r} {problem}; "
            'decorate it with, say, @numba.cfunc("int32(int64, int64, voidptr)")'
        )
    return Function(value.address, None, value)
