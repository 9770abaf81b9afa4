# SPDX-License-Identifier: BSD-3-Clause
"""Runs a function of a test module in a process of its own, where settings and signals are its own too."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

MANY_HELPERS = {"KTASK_HELPERS": "7", "KTASK_WAKE_NS": "0"}
"""The settings that the tests themselves run with."""

TIMEOUT = 60


def fresh(function: Callable[..., None], *args: object, **environment: str) -> str:
    """Returns what ``function(*args)`` printed; ktask has the settings given, and minds nobody else on the machine."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("KTASK")}
    environ["PYTHONFAULTHANDLER"] = "1"
    environ["KTASK_TABLE"] = "off"  # other programs on the machine may use ktask as well,
    environ["KTASK_RETREAT"] = "off"  # and others may want its CPUs
    # Where all this runs in the background, SIGINT may be ignored, also by children.
    code = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler);"
    code += f"import {function.__module__} as m; m.{function.__name__}(*{args!r})"
    process = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); {code}"],
        env=environ | environment,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert process.returncode == 0, f"exit status {process.returncode}\n{process.stdout}{process.stderr}"
    return process.stdout
