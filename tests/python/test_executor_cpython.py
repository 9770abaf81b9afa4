# SPDX-License-Identifier: BSD-3-Clause
"""CPython's own test cases for thread pools pass with ``ktask.Executor`` in place of ThreadPoolExecutor."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

CASES = Path(__file__).with_name("cpython_cases.py")
CLASSES = {  # and the module they are in since Python 3.12
    "ThreadPoolExecutorTest": "test_thread_pool",
    "ThreadPoolShutdownTest": "test_shutdown",
    "ThreadPoolInitializerTest": "test_init",
    "ThreadPoolFailingInitializerTest": "test_init",
    "ThreadPoolAsCompletedTest": "test_as_completed",
    "ThreadPoolWaitTests": "test_wait",
}

TRIES = 3
"""Some cases wait for less than a busy machine may take, or expect that a thread begins before the next statement."""


def folder_of_tests() -> Path | None:
    """The interpreter's own, or those that Debian has of the same version (libpython3.11-testsuite)."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    folders = [Path(sysconfig.get_path("stdlib")), Path("/usr/lib") / version]
    return next((f / "test" for f in folders if list((f / "test").glob("test_concurrent_futures*"))), None)


def run(folder: Path, name: str) -> subprocess.CompletedProcess[str]:
    in_package = (folder / "test_concurrent_futures").is_dir()
    module = f"test_concurrent_futures.{CLASSES[name]}" if in_package else "test_concurrent_futures"
    environment = {k: v for k, v in os.environ.items() if k not in ("KTASK_HELPERS", "KTASK_WAKE_NS")}
    for _ in range(TRIES):
        command = [sys.executable, str(CASES), str(folder), module, name]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=100, check=False)
        if done.returncode == 0:
            break
    return done


@pytest.fixture(scope="module")
def results() -> Iterator[dict[str, subprocess.CompletedProcess[str]]]:
    """All are run at once, since they mostly sleep."""
    folder = folder_of_tests()
    if folder is None:
        pytest.skip("CPython's tests are not here: Debian's are in libpython3.11-testsuite")
    with ThreadPoolExecutor(len(CLASSES)) as pool:
        runs = pool.map(lambda name: run(folder, name), CLASSES)
        yield dict(zip(CLASSES, runs, strict=True))


@pytest.mark.parametrize("name", CLASSES)
def test_cases(results: dict[str, subprocess.CompletedProcess[str]], name: str) -> None:
    done = results[name]
    assert done.returncode == 0, done.stdout + done.stderr
