# SPDX-License-Identifier: BSD-3-Clause
"""Does an installed ktask work? Run on each kind of machine by cibuildwheel, and by check.sh, away from the sources."""

import ctypes
import os
import threading
from pathlib import Path

os.environ["KTASK_HELPERS"] = "1"  # whatever CPUs a build machine lets go

import ktask
from ktask import _core, _demo_kernels


def main() -> None:
    """Helpers and the caller meet; a failure is undone; C functions run; the demo's kernels are there."""
    info = ktask.info()
    assert info["enabled"], info["reason"]  # a wheel without threads would work, and be useless
    assert info["version"] == ktask.__version__, info["version"]

    together = threading.Barrier(2)
    ktask.run(0, 2, ktask.Ctl(lambda start, end, arg: together.wait(60) and None))
    assert ktask.last_report().threads == 2

    assert ktask.reduce(lambda start, end: sum(range(start, end)), 1001, 0, lambda a, b: a + b) == 500500

    done: set[int] = set()

    def fail_at_the_end(start: int, end: int, arg: object) -> int:
        if end == 1000:
            return 7
        done.update(range(start, end))
        return 0

    ctl = ktask.Ctl(fail_at_the_end, undo_func=lambda start, end, arg: done.difference_update(range(start, end)))
    assert ktask.ktask_run(0, 1000, ctl) == 7
    assert not done

    numbers = (ctypes.c_long * 1000)()
    kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_long, ctypes.c_long, ctypes.POINTER(ctypes.c_long))

    def number(start: int, end: int, x: "ctypes._Pointer[ctypes.c_long]") -> int:
        for i in range(start, end):
            x[i] = i
        return 0

    ktask.run(0, 1000, ktask.Ctl(kind(number), ctypes.addressof(numbers)))
    assert list(numbers) == list(range(1000))

    buffer = bytearray(b"x" * (4 << 20))
    ktask.memory.clear(buffer)
    assert not any(buffer)

    modules = [Path(module.__file__ or "").name for module in (_core, _demo_kernels)]
    assert all(".abi3." in name for name in modules), modules
    print("ktask", ktask.__version__, "works, as", ktask.__file__)


if __name__ == "__main__":
    main()
