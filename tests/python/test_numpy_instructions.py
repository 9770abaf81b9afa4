# SPDX-License-Identifier: BSD-3-Clause
"""What NumPy's calls on small arrays go through besides, counted in instructions, on however busy a machine."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ktask._core import lib
from ktask._numpy._api import NUMPY_2

pytestmark = pytest.mark.skipif(
    not hasattr(lib, "py_loop_call") or not NUMPY_2 or lib.py_max_helpers() == 0 or shutil.which("valgrind") is None,
    reason="built without threads, NumPy 1, one CPU, or no valgrind",
)

CALLS = 200
MOST = {
    **dict.fromkeys(["x + y", "x + 1.5", "x < y", "np.add(x, y)", "np.multiply(x, y, out=z)"], 0.03),
    **dict.fromkeys(["np.sqrt(x)", "np.exp(x)", "np.sum(x)", "x.max()", "np.zeros(10)"], 0.03),
    **dict.fromkeys(["square + square", "square + x[:3]", "square - 1.5", "x + zero"], 0.04),
}
"""What calls may cost more than NumPy's own."""

# getppid() is where callgrind writes down what it has counted since the last time.
PROGRAM = f"""
import os
import numpy as np
import ktask

x, y, z = np.linspace(0.5, 9.5, 10), np.ones(10), np.empty(10)
square, zero = np.ones((3, 3)), np.zeros(())

def measure(text):
    names = dict(globals())
    exec(f"def calls(numbers):\\n    for _ in numbers: {{text}}", names)
    names["calls"](range(50))
    os.getppid()
    names["calls"](range({CALLS}))
    os.getppid()

for text in {list(MOST)}:
    measure(text)
with ktask.accelerate_numpy():
    for text in {list(MOST)}:
        measure(text)
"""


def test_small_calls_take_hardly_more_instructions(tmp_path: Path) -> None:
    valgrind = ["valgrind", "--tool=callgrind", "--dump-before=getppid", f"--callgrind-out-file={tmp_path / 'out'}"]
    subprocess.run([*valgrind, sys.executable, "-c", PROGRAM], check=True, capture_output=True)
    totals = []
    for number in range(2, 4 * len(MOST) + 1, 2):
        found = re.search(r"^totals: (\d+)", (tmp_path / f"out.{number}").read_text(), re.MULTILINE)
        assert found
        totals.append(int(found[1]) / CALLS)
    numpys, ktasks = totals[: len(MOST)], totals[len(MOST) :]
    more = {text: ours / theirs - 1 for text, theirs, ours in zip(MOST, numpys, ktasks, strict=True)}
    assert min(numpys) > 1000, "what was counted is not these calls"
    assert {text: f"{part:.1%}" for text, part in more.items() if part > MOST[text]} == {}
