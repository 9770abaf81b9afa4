# SPDX-License-Identifier: BSD-3-Clause
"""``python -m ktask top`` shows who has helpers at work."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from fresh import fresh
from meeting import meet

import ktask

needs_two_cpus = pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two CPUs")


def command(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ktask", "top", *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def look(path: str) -> list[dict[str, Any]]:
    shown = command("--once", "--json", KTASK_TABLE=path)
    assert shown.returncode == 0, shown.stderr
    described = json.loads(shown.stdout)
    assert described["path"] == path
    assert described["reason"] is None
    processes: list[dict[str, Any]] = described["processes"]
    return processes


def seen_from_outside() -> None:
    """In a run, with a helper at work; and after it."""
    path = os.environ["KTASK_TABLE"]
    main, together = threading.get_ident(), threading.Barrier(2)
    assert look(path) == []

    def body(start: int, end: int, arg: object) -> None:
        together.wait(60)
        if threading.get_ident() == main:
            me, *others = look(path)
            assert others == []
            assert (me["pid"], me["helpers"], me["callers"]) == (os.getpid(), 1, 1)
            assert "python" in me["name"]
            assert "seen_from_outside" in me["command"]
            text = command("--once", KTASK_TABLE=path).stdout
            assert text.startswith("1 process with ktask, 1 helper at work")
            assert f"{os.getpid()}        1        1" in text
        together.wait(60)

    meet(body)
    assert [(p["pid"], p["helpers"], p["callers"]) for p in look(path)] == [(os.getpid(), 0, 0)]
    assert ktask.info()["table"] == {"path": path, "joined": True, "reason": None}


@needs_two_cpus
def test_a_process_at_work(tmp_path: Path) -> None:
    path = str(tmp_path / "door")
    fresh(seen_from_outside, KTASK_TABLE=path, KTASK_WAKE_NS="0")
    assert look(path) == []


def test_live(tmp_path: Path) -> None:
    """Goes on until it is interrupted."""
    with subprocess.Popen(
        [sys.executable, "-m", "ktask", "top", "--json", "--every", "0.05"],
        env={**os.environ, "KTASK_TABLE": str(tmp_path / "door")},
        stdout=subprocess.PIPE,
        text=True,
    ) as top:
        assert top.stdout is not None
        for _ in range(3):
            assert json.loads(top.stdout.readline())["processes"] == []
        top.send_signal(signal.SIGINT)
        assert top.wait(60) == 130


def test_nothing_to_see(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("elsewhere")
    shown = command("--once", KTASK_TABLE=str(tmp_path / "link"))
    assert shown.returncode == 1
    assert "Nothing can be seen" in shown.stdout
    assert "Too many levels of symbolic links" in shown.stdout
    assert command("--once", "--json", KTASK_TABLE=str(tmp_path / "link")).returncode == 1
    assert "KTASK_TABLE=off" in command("--once", KTASK_TABLE="off").stdout
    assert "No processes" in command("--once", KTASK_TABLE=str(tmp_path / "none")).stdout


def test_nonsense_is_refused() -> None:
    for nonsense in ("0", "-1", "never"):
        shown = command("--once", "--every", nonsense)
        assert shown.returncode == 2
        assert "--every" in shown.stderr


def test_on_a_terminal(tmp_path: Path) -> None:
    """One table that changes in place."""
    pytest.importorskip("rich")
    ours, theirs = os.openpty()
    shown = b""
    # Ctrl-C works also where the tests themselves were started in the background, which ignores it.
    code = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)"
    code += "; from ktask.__main__ import main; sys.exit(main(sys.argv[1:]))"
    with subprocess.Popen(
        [sys.executable, "-c", code, "top", "--every", "0.05"],
        env={**os.environ, "KTASK_TABLE": str(tmp_path / "door"), "TERM": "xterm", "COLUMNS": "120"},
        stdout=theirs,
        stderr=theirs,
    ) as top:
        os.close(theirs)
        while shown.count(b"No processes with ktask") < 3:
            shown += os.read(ours, 4096)
        top.send_signal(signal.SIGINT)
        with contextlib.suppress(OSError):  # how a terminal tells that nobody writes any more
            while os.read(ours, 4096):
                pass
        assert top.wait(60) == 130
    os.close(ours)
