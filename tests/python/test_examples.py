# SPDX-License-Identifier: BSD-3-Clause
"""Every program in examples/ runs, and finds the same as the usual way to do its job."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
PROGRAMS = sorted(file.name for file in EXAMPLES.glob("*.py") if file.name != "compare.py")


@pytest.mark.parametrize("name", PROGRAMS)
def test_example(name: str, tmp_path: Path) -> None:
    environment = {**os.environ, "HOME": str(tmp_path), "NUMBA_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, str(EXAMPLES / name), "--quick"]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=110, check=False
    )
    missing = re.search(r"^ModuleNotFoundError: No module named '(\w+)", done.stderr, re.MULTILINE)
    if missing:
        pytest.skip(f"{missing[1]} is not here")
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(re.findall(r"^.*ktask.* ms +\d+\.\d\d times as fast$", done.stdout, re.MULTILINE)) >= 1, done.stdout


def test_they_are_all_in_the_table_of_contents() -> None:
    contents = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert set(re.findall(r"\]\((\w+\.py)\)", contents)) == {*PROGRAMS, "compare.py"}
    assert len(PROGRAMS) >= 6


def test_different_results_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    np = pytest.importorskip("numpy")
    monkeypatch.syspath_prepend(str(EXAMPLES))
    compare = importlib.import_module("compare").compare

    ways = {"usual": lambda: np.array([1.0, 2.0]), "wrong": lambda: np.array([1.0, 2.1])}
    with pytest.raises(AssertionError, match="wrong is not usual"):
        compare(ways)
    assert (compare(ways, tolerance=0.2) == [1, 2]).all()
