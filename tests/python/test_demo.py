# SPDX-License-Identifier: BSD-3-Clause
"""``python -m ktask``, as its users run it: in a process of its own, without a terminal."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ktask
from ktask.__main__ import facts, spans

NR_JOBS = 6


def python(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.fixture(scope="module", params=["on", "off"])
def quick(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path, str]:
    pytest.importorskip("rich")
    output = tmp_path_factory.mktemp("demo") / "new"
    done = python("-m", "ktask", "demo", "--quick", "--output", str(output), KTASK=request.param)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    return done.stdout, output, request.param


def test_results_are_the_same(quick: tuple[str, Path, str]) -> None:
    text, _, _ = quick
    assert "All results are the same, bit for bit." in text
    rows = [line for line in text.splitlines() if line.rstrip().endswith("same")]
    assert len(rows) == NR_JOBS
    assert "DIFFERENT" not in text


def test_a_log_is_readable(quick: tuple[str, Path, str]) -> None:
    text, _, _ = quick
    assert "\x1b" not in text
    assert "\r" not in text
    assert [line for line in text.splitlines() if line.startswith("5. Mandelbrot set")]


def test_says_so_when_serial(quick: tuple[str, Path, str]) -> None:
    text, _, switch = quick
    assert ("KTASK=off" in text) == (switch == "off")


@pytest.mark.parametrize(("name", "shape"), [("mandelbrot.png", (240, 320)), ("timeline.png", None)])
def test_pictures(quick: tuple[str, Path, str], name: str, shape: tuple[int, int] | None) -> None:
    from matplotlib.image import imread

    _, output, _ = quick
    picture = np.asarray(imread(output / name))
    assert shape in (None, picture.shape[:2])
    assert len(np.unique(picture[..., :3].reshape(-1, 3), axis=0)) > 10  # colours


def test_differences_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    pytest.importorskip("rich")
    from ktask import _demo

    monkeypatch.setattr(ktask, "run", lambda start, size, ctl: None)
    monkeypatch.setattr(_demo, "jobs", lambda sizes, output: [lambda: _demo.integral(sizes.steps)])
    assert _demo.demo(tmp_path, quick=True) == 1
    assert "DIFFERENT" in capsys.readouterr().out


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_interrupt(tmp_path: Path) -> None:
    pytest.importorskip("rich")
    code = (  # also where the tests themselves run with SIGINT ignored, in the background
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler);"
        "from ktask.__main__ import main; sys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, "demo", "--output", str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 130
    assert errors.strip() == "Interrupted."


@pytest.mark.parametrize("missing", ["numpy", "matplotlib", "rich"])
def test_missing_packages(missing: str, tmp_path: Path) -> None:
    block = (
        f"import sys; sys.modules[{missing!r}] = None; from ktask.__main__ import main; sys.exit(main(sys.argv[1:]))"
    )
    done = python("-c", block, "demo", "--quick", "--output", str(tmp_path))
    assert done.returncode == 2
    assert "pip install 'ktask[demo]'" in done.stderr
    assert missing in done.stderr
    assert "Traceback" not in done.stderr
    assert python("-c", block, "info").returncode == 0


def test_output_that_cannot_be(tmp_path: Path) -> None:
    pytest.importorskip("rich")
    file = tmp_path / "file"
    file.touch()
    done = python("-m", "ktask", "demo", "--quick", "--output", str(file))
    assert done.returncode == 2
    assert str(file) in done.stderr
    assert "Traceback" not in done.stderr


def test_info_json() -> None:
    done = python("-m", "ktask", "info", "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["version"] == ktask.__version__


@pytest.mark.parametrize("switch", ["on", "off"])
def test_info(switch: str) -> None:
    done = python("-m", "ktask", "info", KTASK=switch)
    assert done.returncode == 0
    assert ktask.__version__ in done.stdout
    assert ("Runs are serial: KTASK=off" in done.stdout) == (switch == "off")
    assert f"KTASK={switch}" in done.stdout


def test_info_of_a_build_without_threads() -> None:
    machine = ktask.info()
    known = ("version", "physical_cores", "load", "memory_bytes", "nice", "environment")
    described = {name: machine[name] for name in known} | {"enabled": False, "reason": "built without threads"}
    assert dict(facts(described))["Nice"] == str(machine["nice"])


def test_no_arguments_help() -> None:
    done = python("-m", "ktask")
    assert done.returncode == 0
    assert "demo --quick" in done.stdout
    assert done.stdout == python("-m", "ktask", "--help").stdout


def test_bad_usage() -> None:
    done = python("-m", "ktask", "dance")
    assert done.returncode == 2
    assert "dance" in done.stderr


def test_spans() -> None:
    assert spans([0, 1, 2, 3, 8]) == "0-3,8"
    assert spans([5]) == "5"
    assert spans([]) == "none"
