# SPDX-License-Identifier: BSD-3-Clause
"""The source distribution is complete, and what is built from it without threads works as well."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from fresh import fresh

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in ("setuptools", "pip", "cffi")),
    reason="needs setuptools, pip and cffi",
)


def build(*command: str, folder: Path, **environment: str) -> str:
    process = subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=110,
        check=False,
    )
    assert process.returncode == 0, process.stdout
    return process.stdout


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The unpacked source distribution, built from a copy: a build leaves files in its folder."""
    folder = tmp_path_factory.mktemp("source")
    tree = folder / "tree"
    ignored = shutil.ignore_patterns(
        ".git", ".venv", "build", "*.egg-info", "*.so", "__pycache__", ".*_cache", ".hypothesis"
    )
    shutil.copytree(ROOT, tree, ignore=ignored)
    code = f"import setuptools.build_meta as b; b.build_sdist({str(folder)!r})"
    build("-c", code, folder=tree)
    (archive,) = folder.glob("ktask-*.tar.gz")
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    (unpacked,) = (path for path in folder.glob("ktask-*") if path.is_dir())
    return unpacked


def test_the_sdist_has_all_that_it_takes(sdist: Path) -> None:
    sources = {path.relative_to(ROOT) for path in (ROOT / "csrc").glob("*.[ch]")}
    needed = sources | {
        Path(name)
        for name in (
            "csrc/include/ktask.h",
            "csrc/include/ktask_2d.h",
            "csrc/include/ktask_reduce.h",
            "src/ktask/_build.py",
            "src/ktask/_numpy/loops.c",
            "src/ktask/_numpy/calls.h",
            "src/ktask/py.typed",
            "src/ktask/_core.pyi",
            "setup.py",
            "pyproject.toml",
            "LICENSE",
            "tests/python/test_packaging.py",
        )
    }
    assert len(sources) > 10
    assert {path for path in needed if not (sdist / path).exists()} == set()


def test_the_sdist_has_nothing_built(sdist: Path) -> None:
    assert [path for path in sdist.rglob("*") if path.suffix in {".so", ".o", ".pyc"}] == []


def install(sdist: Path, target: Path, **environment: str) -> None:
    command = ["-m", "pip", "install", "--no-deps", "--no-build-isolation", "--target", str(target), str(sdist)]
    build(*command, folder=sdist, **environment)


def check_place(target: str) -> None:
    import ktask

    assert Path(ktask.__file__).is_relative_to(target)


def is_serial(target: str) -> None:
    import ktask

    check_place(target)
    info = ktask.info()
    assert info["enabled"] is False
    assert "without threads" in info["reason"]
    assert info["version"] == ktask.__version__

    import ctypes
    import threading

    threads: set[int] = set()
    done: list[int] = []

    def body(start: int, end: int, arg: object) -> None:
        threads.add(threading.get_ident())
        done.extend(range(start, end))

    ktask.run(5, 1000, ktask.Ctl(body))
    ktask.parallel_for(lambda start, end: done.extend(range(start, end)), 5)
    assert sorted(done) == list(range(1005))
    assert threads == {threading.get_ident()}
    assert ktask.last_report().threads == 1
    assert ktask.last_report().chunks == 1

    thread = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)
    undone: list[tuple[int, int]] = []
    nodes = [ktask.Node(10, 10), ktask.Node(20, 0), ktask.Node(20, 10), ktask.Node(30, 10)]
    for function in (thread(lambda start, end, arg: start == 30), lambda start, end, arg: start == 30):
        undone.clear()
        ctl = ktask.Ctl(function, undo_func=lambda start, end, arg: undone.append((start, end)))
        assert ktask.ktask_run_numa(nodes, ctl) == 1
        assert undone == [(10, 20), (20, 30)]
    with pytest.raises(ktask.TaskError) as raised:
        ktask.run(0, 1, ktask.Ctl(lambda start, end, arg: 7))
    assert (raised.value.code, raised.value.start, raised.value.end) == (7, 0, 1)


def has_traces_and_times(target: str) -> None:
    import ktask

    check_place(target)
    trace = ktask.Trace()
    ktask.run(0, 100, ktask.Ctl(lambda start, end, arg: None, trace=trace))
    assert [(event.start, event.units, event.thread) for event in trace.events] == [(0, 100, 0)]
    assert ktask.last_report().seconds > 0


@pytest.fixture(scope="module")
def serial_build(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("serial")
    shutil.copytree(sdist, folder / "copy")
    install(folder / "copy", folder / "site", KTASK_BUILD="serial")
    return folder / "site"


def test_a_build_without_threads(serial_build: Path) -> None:
    fresh(is_serial, str(serial_build), PYTHONPATH=str(serial_build))


def test_a_build_without_threads_has_traces_and_times(serial_build: Path) -> None:
    fresh(has_traces_and_times, str(serial_build), PYTHONPATH=str(serial_build))


def runs_with_helpers(target: str) -> None:
    import threading

    import ktask

    check_place(target)
    together = threading.Barrier(2)
    ktask.run(0, 2, ktask.Ctl(lambda start, end, arg: together.wait(30) and None))
    assert ktask.last_report().threads == 2


def test_a_build_from_the_sdist(sdist: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(sdist, copy)
    target = tmp_path / "site"
    install(copy, target)
    (module,) = target.glob("ktask/_core*.so")
    assert ".abi3." in module.name
    assert (target / "ktask/py.typed").exists()
    fresh(runs_with_helpers, str(target), PYTHONPATH=str(target), KTASK_HELPERS="3", KTASK_WAKE_NS="0")


def test_free_threaded_builds_are_refused() -> None:
    setup = str(Path(__file__).parents[2] / "setup.py")
    faked = (
        "import runpy, sysconfig; known = sysconfig.get_config_var; "
        "sysconfig.get_config_var = lambda name: 1 if name == 'Py_GIL_DISABLED' else known(name); "
        f"runpy.run_path({setup!r})"
    )
    done = subprocess.run([sys.executable, "-c", faked], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "free-threaded" in done.stderr.splitlines()[-1]
