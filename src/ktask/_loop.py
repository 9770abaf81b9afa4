# SPDX-License-Identifier: BSD-3-Clause
"""``@loop``: a plain Python loop body, compiled by numba, run in chunks without the GIL."""

from __future__ import annotations

import ast
import functools
import hashlib
import inspect
import linecache
import pickle
import textwrap
from collections.abc import Callable
from operator import itemgetter
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any, NoReturn

from ktask._call import failure_of
from ktask._convert import count_of, size_of
from ktask._core import ffi, lib

MAX_SIZE = lib.KTASK_MAX_SIZE
BAD_ITERATION = 1
"""Result of a chunk in which an iteration raised: what it raised does not leave compiled code."""

COMBINES = {ast.Add: "{} + {}", ast.Sub: "{} + {}", ast.Mult: "{} * {}"}
COMBINES |= {ast.BitAnd: "{} & {}", ast.BitOr: "{} | {}", ast.BitXor: "{} ^ {}"}
CALLS = {"min": "min({}, {})", "max": "max({}, {})"}
"""How an accumulator's parts are put together, by what the body does."""

NEUTRAL = {"{} * {}": 1, "{} & {}": -1}
"""What changes nothing, if it is neither 0 nor, as for min and max, what the loop begins with."""


class Accumulator:
    """A value that all iterations add to: a keyword-only parameter of the body.

    Each thread has a part of its own, a row of an array that the compiled loop makes; in the end it puts them together.
    """

    def __init__(self, name: str, init: Any, combine: str) -> None:
        """``init`` is what the loop begins with; ``combine`` says how two values become one."""
        import numpy as np

        self.name = name
        self.init = init
        self.combine = combine
        dtype = np.asarray(init).dtype
        if np.ndim(init) != 0 or dtype.kind not in "bifcu":
            raise TypeError(f"the accumulator {name} must begin with a number, not {init!r}")
        # Where all parts begin. The array is of its type.
        neutral = init if combine in CALLS.values() else NEUTRAL.get(combine, 0)
        self.neutral = np.asarray(neutral).astype(dtype)[()]


def loop(
    body: Callable[..., Any] | None = None,
    *,
    min_chunk: int = 1,
    max_threads: int | None = None,
    parallel: bool = True,
    **jit_options: Any,
) -> Any:
    """Makes a loop out of its body: ``@ktask.loop`` on ``def body(i, x, y): ...`` gives ``body(range(n), x, y)``.

    The body is compiled by numba when it is first called with arguments of new types, and kept in numba's cache on
    disk; its first parameter is the index, the others are arrays, numbers, or whatever numba takes. The loop runs in
    chunks on all free CPUs, without the GIL; an int n in place of the range means ``range(n)``.

    Keyword-only parameters are accumulators, and their defaults what they begin with: the body may add to one (``+=``,
    ``*=``, ``&=``, ``|=``, ``^=``, or ``a = min(a, ...)`` and ``max``), and must not use its value otherwise. The loop
    returns what they come to: one value, or a tuple in the order of the parameters.

    >>> import ktask
    >>> @ktask.loop
    ... def dot(i, x, y, *, total=0.0):
    ...     total += x[i] * y[i]
    >>> import numpy as np
    >>> dot(range(1000), np.ones(1000), np.full(1000, 2.0))
    2000.0

    ``return`` goes on to the next iteration. Iterations must not depend on each other: they run in any order.
    ``parallel=False`` runs the body as plain Python, for debugging; so does ``body.serial(range(n), x, y)``. Other
    options go to numba (``fastmath``, ``error_model``, ``boundscheck``, ``cache``). Values of the surrounding function
    and of globals are taken when the loop is compiled.

    Raises TypeError, when it is defined, for a body that cannot be made into a loop, and, when it is called, for
    arguments that numba cannot type; RuntimeError if an iteration raised.

    Thread-safe; may be called from inside other tasks.
    """
    if body is None:
        return functools.partial(loop, min_chunk=min_chunk, max_threads=max_threads, parallel=parallel, **jit_options)
    return Loop(body, min_chunk, max_threads, parallel, jit_options)


class Loop:
    """A loop made by ``@loop``."""

    # What each call looks at has a place of its own; what update_wrapper() copies is in a dict.
    __slots__ = ("__dict__", "__weakref__", "_ascending", "accumulators")

    def __init__(
        self,
        body: Callable[..., Any],
        min_chunk: int,
        max_threads: int | None,
        parallel: bool,
        jit_options: dict[str, Any],
    ) -> None:
        """See ``loop``."""
        if not isinstance(body, FunctionType):
            raise TypeError(f"@ktask.loop makes a loop of a Python function, not of {type(body).__name__}: {body!r}")
        functools.update_wrapper(self, body)
        self._parallel = parallel
        self._jit_options = jit_options
        self._source = Source(body)
        self.accumulators = [Accumulator(*a) for a in self._source.accumulators]
        self._min_chunk = count_of(min_chunk, "min_chunk", least=1)
        self._max_threads = 0 if max_threads is None else count_of(max_threads, "max_threads", least=1)
        self._ascending: Any = None
        self._other: Any = None

    def __repr__(self) -> str:
        """Shows the body's name."""
        return f"<ktask.loop {self._source.body.__qualname__}>"

    def __call__(self, n_or_range: int | range, *arguments: Any) -> Any:
        """Runs the loop over ``range(n)`` or a range."""
        n, run = n_or_range, self._ascending
        if type(n) is range and n.start == 0 and n.step == 1:
            n = len(n)
        if run is None or type(n) is not int or not 0 <= n <= MAX_SIZE:
            return self._call(n_or_range, arguments)
        try:  # as it mostly is
            error = run(n, 0, *arguments)
        except Exception as e:
            self._explain(e, arguments)
        value = None
        if self.accumulators:
            error, value = error
        if error:
            raise self._failure(error, range(n))
        return value

    def _call(self, n_or_range: Any, arguments: tuple[Any, ...]) -> Any:
        """Everything that may come."""
        if not self._parallel:
            return self.serial(n_or_range, *arguments)
        indexes = n_or_range if type(n_or_range) is range else range(size_of(n_or_range, "n_or_range"))
        n, start, step = len(indexes), indexes.start, indexes.step
        try:
            if step == 1 and start >= 0:
                result = (self._ascending or self._compile(True))(n, start, *arguments)
            else:
                result = (self._other or self._compile(False))(n, start, step, *arguments)
        except ImportError:
            raise
        except Exception as e:
            self._explain(e, arguments)
        error, value = result if self.accumulators else (result, None)
        if error:
            raise self._failure(error, indexes)
        return value

    def serial(self, n_or_range: int | range, *arguments: Any) -> Any:
        """Runs the loop as plain Python, one iteration after the other: for debuggers, and to see what it raises."""
        values = tuple(a.init for a in self.accumulators)
        body = self._source.function("body", self._source.namespace())
        for i in n_or_range if isinstance(n_or_range, range) else range(size_of(n_or_range, "n_or_range")):
            values = body(i, *arguments, *values)
        return None if not values else values[0] if len(values) == 1 else values

    def _compile(self, ascending: bool) -> Any:
        """The loop as one numba function (see _loop_numba), for ranges up from 0 or more by ones, or for all others."""
        try:
            import numba
            import numpy

            from ktask import _loop_numba
        except ImportError:
            raise ImportError("@ktask.loop needs numba: pip install 'ktask[numba]'") from None
        options = {"cache": True, "nogil": True, **self._jit_options}
        names = {**self._source.namespace(), "__full": numpy.full, "__min_chunk": self._min_chunk}
        names["__max_threads"] = self._max_threads
        for a in self.accumulators:
            names |= {f"__init_{a.name}": a.init, f"__neutral_{a.name}": a.neutral}
        for name in "ktask_run", "ktask_thread", "ktask_max_threads", "ktask_keeps_type":
            names[f"__{name}"] = getattr(_loop_numba, name)
        edition = self._edition(options)
        if edition is None:
            options["cache"], edition = False, ""
        inline = {k: v for k, v in options.items() if k not in ("cache", "nogil")}
        names["__body"] = numba.njit(inline="always", **inline)(self._source.function("body", names))
        for name in "chunk", "run":
            function = self._source.function(name, names, ascending)
            function.__qualname__ += edition
            try:
                names[f"__{name}"] = numba.njit(**options)(function)
            except RuntimeError:  # typed in, or in a file that is not there: no place for a cache
                options["cache"] = False
                names[f"__{name}"] = numba.njit(**options)(function)
        setattr(self, "_ascending" if ascending else "_other", names["__run"])
        return names["__run"]

    def _edition(self, options: dict[str, Any]) -> str | None:
        """A name for all that is compiled in, besides what numba's cache looks at itself: the body's file and types.

        None if the body uses values that have no bytes to go by: it is not for the cache.
        """
        values = [self._min_chunk, self._max_threads, sorted(options.items())]
        values += [(a.init, a.neutral) for a in self.accumulators]
        try:
            data = pickle.dumps([*values, *map(_identified, self._source.values())])
        except Exception:  # whatever their pickling raises
            return None
        return f"_{hashlib.sha256(_sources() + data).hexdigest()[:16]}"

    def _explain(self, error: Exception, arguments: tuple[Any, ...]) -> NoReturn:
        """Raises what a failure to compile comes down to."""
        from numba.core.errors import NumbaError

        wanted = self._source.parameters
        if len(arguments) != len(wanted):
            raise TypeError(
                f"{self!r} takes a range and {len(wanted)} arguments ({', '.join(wanted)}), not {len(arguments)}"
            ) from None
        if not isinstance(error, NumbaError):
            raise error
        types = ", ".join(f"{name}: {type(a).__name__}" for name, a in zip(wanted, arguments, strict=True))
        raise TypeError(
            f"numba cannot compile {self!r} for ({types}); with parallel=False it runs as plain Python. numba says:\n"
            f"{error}"
        ) from error

    def _failure(self, error: int, indexes: range) -> BaseException:
        report = lib.py_last_report()
        if error == BAD_ITERATION and report.kr_error_start != report.kr_error_end:
            start, end = (int(ffi.cast("uintptr_t", p)) for p in (report.kr_error_start, report.kr_error_end))
            chunk = range(indexes.start + indexes.step * start, indexes.start + indexes.step * end, indexes.step)
            return RuntimeError(
                f"an iteration of {self!r} in {chunk} raised; "
                f"{self._source.body.__name__}.serial({chunk}, ...) shows what and where"
            )
        return failure_of(error, [], lambda position: position)


class Source:
    """The body's source, turned into three functions: one iteration, a chunk of them, and the whole loop."""

    def __init__(self, body: FunctionType) -> None:
        """Raises TypeError for a body that cannot be made into a loop."""
        self.body = body
        self.tree = self._parse()
        parameters = inspect.signature(body).parameters.values()
        kinds = {p.name: p.kind for p in parameters}
        positional = [n for n, kind in kinds.items() if kind is not inspect.Parameter.KEYWORD_ONLY]
        if any(kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD) for kind in kinds.values()):
            self._refuse(self.tree, "it takes *args or **kwargs")
        if not positional:
            self._refuse(self.tree, "its first parameter must be the index")
        self.index, *self.parameters = positional
        self.accumulators = [self._accumulator(p) for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY]
        for node in ast.walk(self.tree):
            if isinstance(node, (ast.Yield, ast.YieldFrom, ast.Await, ast.Global, ast.Nonlocal)):
                self._refuse(node, "a body cannot yield, await, or write to variables of its surroundings")
            if isinstance(node, ast.Return) and node.value is not None:
                self._refuse(node, "a body returns nothing; what a loop adds up is declared as *, total=0.0")

    def namespace(self) -> dict[str, Any]:
        """The names that the body may use, with the values that they have now."""
        return {**self.body.__globals__, **inspect.getclosurevars(self.body).nonlocals}

    def values(self) -> list[tuple[str, Any]]:
        """What it does use of them."""
        used = inspect.getclosurevars(self.body)
        return sorted({**used.globals, **used.nonlocals}.items(), key=itemgetter(0))

    def function(self, name: str, namespace: dict[str, Any], ascending: bool = False) -> FunctionType:
        """One of the three, in a namespace. Its file and lines are the body's: for tracebacks and caches."""
        accumulators = [a[0] for a in self.accumulators]
        if name == "body":
            tree = self._body(accumulators)
        else:
            lines = (self._chunk if name == "chunk" else self._run)(accumulators, ascending)
            tree = ast.parse("\n".join(lines))
            for node in ast.walk(tree):
                if hasattr(node, "lineno"):
                    node.lineno = node.end_lineno = self.body.__code__.co_firstlineno  # type: ignore[attr-defined]
        exec(compile(tree, self.body.__code__.co_filename, "exec"), namespace)
        function: FunctionType = namespace.pop("__f")
        function.__name__ = self.body.__name__
        function.__qualname__ = f"{self.body.__qualname__}.{name}{ascending:d}"  # apart in numba's cache
        function.__module__ = self.body.__module__
        return function

    def _chunk(self, accumulators: list[str], ascending: bool) -> list[str]:
        """Iterations ``__first`` to ``__end``, for accumulators that begin with the thread's part of them."""
        given = self._given(accumulators, ascending)
        lines = [f"def __f({', '.join(['__first', '__end', *given])}):"]
        lines += ["    __t = __ktask_thread()"] if accumulators else []
        lines += [f"    {a} = __{a}[__t, 0]" for a in accumulators]
        result = f"{', '.join(accumulators)}, = " if accumulators else ""
        if ascending:  # said such that LLVM sees that no index is negative: it vectorises nothing that may wrap around
            lines += [
                "    __from = __start + __first",
                "    if __from >= 0:",
                "        for __k in range(__end - __first):",
            ]
            index = "__from + __k"
        else:
            lines += ["    if True:", "        for __k in range(__first, __end):"]
            index = "__start + __k * __step"
        lines += [f"            {result}__body({', '.join([index, *self.parameters, *accumulators])})"]
        for a in accumulators:
            lines += [f"    __ktask_keeps_type(__{a}, {a})", f"    __{a}[__t, 0] = {a}"]
        return lines

    def _run(self, accumulators: list[str], ascending: bool) -> list[str]:
        """All of it. Parts of accumulators are a cache line apart."""
        lines = [f"def __f({', '.join(['__n', *self._given([], ascending)])}):"]
        lines += ["    __threads = __ktask_max_threads()"] if accumulators else []
        lines += [f"    __{a} = __full((__threads, 8), __neutral_{a})" for a in accumulators]
        given = ", ".join(self._given(accumulators, ascending))
        lines += [f"    __error = __ktask_run(__chunk, __n, __min_chunk, __max_threads, ({given},))"]
        if not accumulators:
            return [*lines, "    return __error"]
        lines += [f"    {a} = __init_{a}" for a in accumulators]
        lines += ["    for __t in range(__threads):"]
        lines += [f"        {a} = {combine.format(a, f'__{a}[__t, 0]')}" for a, _, combine in self.accumulators]
        values = accumulators[0] if len(accumulators) == 1 else f"({', '.join(accumulators)})"
        return [*lines, f"    return __error, {values}"]

    def _given(self, accumulators: list[str], ascending: bool) -> list[str]:
        """What a chunk has to know, besides its ends."""
        return ["__start", *([] if ascending else ["__step"]), *self.parameters, *(f"__{a}" for a in accumulators)]

    def _parse(self) -> ast.FunctionDef:
        try:
            lines, first = inspect.getsourcelines(self.body)
            tree = ast.parse(textwrap.dedent("".join(lines)))
        except (OSError, SyntaxError, TypeError):
            raise TypeError(
                f"@ktask.loop reads the body's source, and that of {self.body.__qualname__} is not to be had; "
                "write it into a file"
            ) from None
        ast.increment_lineno(tree, first - 1)
        definition = tree.body[0]
        if not isinstance(definition, ast.FunctionDef):
            raise TypeError(f"@ktask.loop makes a loop of a def, not of {self.body!r}")
        return definition

    def _refuse(self, node: Any, why: str) -> NoReturn:
        code = self.body.__code__
        line = linecache.getline(code.co_filename, node.lineno).strip()
        raise TypeError(
            f"{code.co_qualname if hasattr(code, 'co_qualname') else code.co_name} cannot be made into a "
            f"loop: {why} ({code.co_filename}, line {node.lineno}: {line})"
        )

    def _accumulator(self, parameter: inspect.Parameter) -> tuple[str, Any, str]:
        """Its name, what it begins with, and how its parts are combined."""
        name = parameter.name
        if parameter.default is inspect.Parameter.empty:
            self._refuse(self.tree, f"the accumulator {name} needs a default, what it begins with: {name}=0.0")
        ways: set[str] = set()
        allowed: set[int] = set()  # the nodes that may name it
        for node in ast.walk(self.tree):
            if isinstance(node, ast.AugAssign) and _is(node.target, name):
                way = COMBINES.get(type(node.op))
                if way is None:
                    self._refuse(node, f"the parts of {name} could not be put together after this")
                ways.add(way)
                allowed.add(id(node.target))
            elif isinstance(node, ast.Assign) and len(node.targets) == 1 and _is(node.targets[0], name):
                call = node.value
                known = isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in CALLS
                if not known or len(call.args) < 2 or not _is(call.args[0], name):  # type: ignore[attr-defined]
                    self._refuse(node, f"the accumulator {name} may be set by {name} = min({name}, ...) or max only")
                ways.add(CALLS[call.func.id])  # type: ignore[attr-defined]
                allowed |= {id(node.targets[0]), id(call.args[0])}  # type: ignore[attr-defined]
        for node in ast.walk(self.tree):
            if _is(node, name) and id(node) not in allowed:
                self._refuse(node, f"the value of the accumulator {name} is used: it is only known when the loop ends")
        if len(ways) != 1:
            what = "in more than one way" if ways else "nowhere"
            self._refuse(self.tree, f"the accumulator {name} is added to {what}")
        return name, parameter.default, ways.pop()

    def _body(self, accumulators: list[str]) -> ast.Module:
        """The body itself, as a function that takes the accumulators' values and returns the new ones."""
        definition = ast.parse("def __f(): pass").body[0]
        assert isinstance(definition, ast.FunctionDef)
        names = [self.index, *self.parameters, *accumulators]
        definition.args.args = [ast.arg(arg=n) for n in names]
        returned = ast.Tuple(elts=[ast.Name(id=a, ctx=ast.Load()) for a in accumulators], ctx=ast.Load())
        end = ast.Return(value=returned)
        definition.body = [_Returns(end).visit(statement) for statement in self.tree.body] + [end]
        ast.copy_location(definition, self.tree)
        ast.copy_location(end, self.tree.body[-1])
        module = ast.Module(body=[definition], type_ignores=[])
        return ast.fix_missing_locations(module)


@functools.cache
def _sources() -> bytes:
    """What makes loops here: numba's cache outlives a version of ktask."""
    return b"".join(Path(__file__).with_name(name).read_bytes() for name in ("_loop.py", "_loop_numba.py"))


def _identified(named: tuple[str, Any]) -> Any:
    """A value, or, for functions, types and modules, what they are called: their sources are not looked at."""
    name, value = named
    if isinstance(value, ModuleType) or callable(value):
        return name, getattr(value, "__module__", ""), getattr(value, "__qualname__", getattr(value, "__name__", ""))
    return named


class _Returns(ast.NodeTransformer):
    def __init__(self, end: ast.Return) -> None:
        self.end = end

    def visit_Return(self, node: ast.Return) -> ast.Return:
        return ast.copy_location(ast.Return(value=self.end.value), node)


def _is(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name
