# SPDX-License-Identifier: BSD-3-Clause
"""``python -m ktask trace PROGRAM``: runs a Python program as ``python PROGRAM`` would, and traces it."""

from __future__ import annotations

import json
import os
import runpy
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from ktask._terminal import BAD_USAGE, FAILED, INTERRUPTED
from ktask._trace import Trace
from ktask._tracing import trace


def trace_program(
    arguments: Sequence[str], *, is_module: bool, output: str, png: bool, as_json: bool, capacity: int
) -> int:
    """Runs ``arguments``: a file or module, and what it is given. Returns the exit code of the program.

    Writes ``output`` with .json and .svg (and .png) at its end, and the summary to stderr, since stdout is the
    program's; or as JSON to stdout, in one line after all that the program printed.
    """
    files = [Path(f"{output}{suffix}") for suffix in (".json", ".svg", *([".png"] if png else []))]
    try:
        for file in files:
            file.touch()
        if not is_module and not os.path.exists(arguments[0]):
            raise FileNotFoundError(2, "there is no such program", arguments[0])
        if png:
            import matplotlib.figure  # noqa: F401 - before the work, not after it
    except OSError as error:
        print(f"ktask trace: {error.strerror}: {error.filename!r}", file=sys.stderr)
        return BAD_USAGE
    except ImportError:
        print("ktask trace: --png needs matplotlib: pip install 'ktask[plot]'", file=sys.stderr)
        return BAD_USAGE
    process = os.getpid()
    with trace(capacity=capacity) as recorded:
        code = _run(arguments, is_module)
        for thread in threading.enumerate():  # Python waits for them, too, before it ends
            if thread is not threading.current_thread() and not thread.daemon:
                thread.join()
    if os.getpid() == process:  # and not a child that the program has forked
        if not _save(recorded, files):
            return code or FAILED
        _tell(recorded, files, as_json)
    return code


def _run(arguments: Sequence[str], is_module: bool) -> int:
    sys.argv = list(arguments)
    try:
        if is_module:
            runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)
        else:
            sys.path[0] = str(Path(arguments[0]).resolve().parent)
            runpy.run_path(arguments[0], run_name="__main__")
    except SystemExit as error:
        return _code_of(error)
    except KeyboardInterrupt:
        print("\nInterrupted.", file=sys.stderr)
        return INTERRUPTED
    except BaseException as error:
        error.__traceback__ = _without_us(error.__traceback__)
        sys.excepthook(type(error), error, error.__traceback__)
        return FAILED
    return 0


def _code_of(error: SystemExit) -> int:
    """As Python itself takes it."""
    if error.code is None:
        return 0
    if isinstance(error.code, int):
        return error.code & 0xFF
    print(error.code, file=sys.stderr)
    return FAILED


def _without_us(tb: TracebackType | None) -> TracebackType | None:
    """The part of a traceback that is the program's own, or all of it if none is."""
    first = tb
    while tb is not None and ("runpy" in tb.tb_frame.f_code.co_filename or tb.tb_frame.f_code.co_filename == __file__):
        tb = tb.tb_next
    return tb or first


def _save(recorded: Trace, files: Sequence[Path]) -> bool:
    for file in files:
        try:
            recorded.save(file, title=f"ktask: {Path(sys.argv[0]).name}")
        except OSError as error:
            print(f"ktask trace: cannot write {str(file)!r}: {error.strerror}", file=sys.stderr)
            return False
    return True


def _tell(recorded: Trace, files: Sequence[Path], as_json: bool) -> None:
    written = " and ".join(map(str, files))
    if as_json:
        sys.stdout.flush()
        print(json.dumps(recorded.summary().as_dict() | {"files": [str(file) for file in files]}))
        return
    sys.stdout.flush()
    print(f"\n{recorded.summary()}\n\nWritten: {written} (https://ui.perfetto.dev shows the first)", file=sys.stderr)
