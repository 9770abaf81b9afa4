# SPDX-License-Identifier: BSD-3-Clause
"""Runs one class of CPython's own test_concurrent_futures with ktask.Executor in the place of ThreadPoolExecutor.

    python cpython_cases.py FOLDER MODULE CLASS        exits with 0 if all pass

Run by test_executor_cpython.py. FOLDER is a ``test`` package of the same Python version, if not of this very build;
MODULE is in it: test_concurrent_futures, or since Python 3.12 one of a package of that name.
"""

from __future__ import annotations

import importlib
import sys
import unittest
from concurrent import futures
from typing import Any

import ktask

IMPORTS = "from concurrent.futures import ThreadPoolExecutor"


def main(folder: str, name: str, case: str) -> int:
    test: Any = importlib.import_module("test")
    test.__path__.append(folder)
    futures.ThreadPoolExecutor = ktask.Executor  # type: ignore[misc]
    module: Any = importlib.import_module(f"test.{name}")
    cases = getattr(module, case)
    assert cases.executor_type is ktask.Executor
    run_python: Any = getattr(module, "assert_python_ok", None)

    def assert_python_ok(*args: str) -> Any:
        """The programs that some cases run have to import the same."""
        *options, program = args
        program = program.replace("from concurrent.futures import Executor", IMPORTS)  # by the class's name
        assert IMPORTS in program
        imports = f"import test; test.__path__.append({folder!r}); from ktask import Executor as ThreadPoolExecutor"
        return run_python(*options, program.replace(IMPORTS, imports).replace("= Executor(", "= ThreadPoolExecutor("))

    module.assert_python_ok = assert_python_ok
    suite = unittest.defaultTestLoader.loadTestsFromTestCase(cases)
    result = unittest.TextTestRunner(verbosity=2).run(suite)
    print("ran", result.testsRun, "skipped", len(result.skipped))
    return 0 if result.wasSuccessful() and result.testsRun > len(result.skipped) else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
