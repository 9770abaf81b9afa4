# SPDX-License-Identifier: BSD-3-Clause
"""``python -m ktask``: its help, ``trace`` and ``bench``, as users and scripts call them."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import ktask
from ktask._terminal import print_table

COMMANDS = ("demo", "info", "top", "trace", "bench")

PROGRAM = """\
import sys
import ktask
print("arguments", sys.argv[1:], __name__, __file__)
import beside  # lies in the folder of the program
ktask.parallel_for(lambda start, end: None, 1000)
"""


def command(*arguments: str, folder: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ktask", *arguments],
        cwd=folder,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


@pytest.fixture
def program(tmp_path: Path) -> Path:
    folder = tmp_path / "programs"
    folder.mkdir()
    (folder / "beside.py").touch()
    path = folder / "prog.py"
    path.write_text(PROGRAM)
    return path


def more(program: Path, text: str) -> None:
    program.write_text(PROGRAM + text)


@pytest.mark.parametrize("arguments", [["info"], ["info", "--json"], ["top", "--json"], ["demo", "--quick"]])
def test_a_reader_that_has_seen_enough_is_no_error(arguments: list[str], tmp_path: Path) -> None:
    """The pipe has no reader from the beginning."""
    reading, writing = os.pipe()
    os.close(reading)
    program = [sys.executable, "-m", "ktask", *arguments]
    done = subprocess.run(
        program, cwd=tmp_path, stdout=writing, stderr=subprocess.PIPE, text=True, timeout=100, check=False
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--help"],
        ["--version"],
        ["top", "--help"],
        ["info"],
        ["info", "--json"],
        ["top", "--once"],
        ["trace", "--json", "PROGRAM"],
    ],
)
def test_a_full_disk_is_told(arguments: list[str], unbuffered: str, program: Path, tmp_path: Path) -> None:
    words = [str(program) if word == "PROGRAM" else word for word in arguments]
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "ktask", *words],
            cwd=tmp_path,
            env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=100,
            check=False,
        )
    assert done.returncode == 1
    assert "No space left on device" in done.stderr
    if "trace" not in arguments or not unbuffered:  # else it is the program that cannot write
        assert done.stderr == "python -m ktask: cannot write the output: No space left on device\n"


def test_trace_whose_files_cannot_be_written(program: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.json").symlink_to("/dev/full")
    shown = command("trace", "-o", str(tmp_path / "mine"), str(program))
    assert shown.returncode == 1
    assert shown.stderr == f"ktask trace: cannot write '{tmp_path}/mine.json': No space left on device\n"


def test_without_an_output() -> None:
    """As after `>&-`."""
    done = subprocess.run(
        ["sh", "-c", '"$0" -m ktask info >&-', sys.executable], stderr=subprocess.PIPE, timeout=100, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")


def test_interrupted() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "ktask", "top", "--json", "--every", "3000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as watching:
        assert watching.stdout
        watching.stdout.readline()
        watching.send_signal(signal.SIGINT)
        _, said = watching.communicate(timeout=100)
    assert (watching.returncode, said) == (130, "\nInterrupted.\n")


def test_help_has_examples() -> None:
    whole = command("--help")
    assert whole.returncode == 0
    assert command().stdout == whole.stdout
    for name in COMMANDS:
        assert re.search(rf"^    {name} ", whole.stdout, re.MULTILINE)
        shown = command(name, "--help")
        assert shown.returncode == 0
        assert "examples:\n  python -m ktask " + name in shown.stdout


@pytest.mark.parametrize(
    "arguments",
    [("dance",), ("info", "--no-such"), ("top", "--every", "0"), ("trace", "--events", "0", "x.py"), ("trace",)],
)
def test_bad_usage(arguments: tuple[str, ...]) -> None:
    shown = command(*arguments)
    assert shown.returncode == 2
    assert shown.stderr


def test_trace_runs_the_program_as_python_would(program: Path, tmp_path: Path) -> None:
    shown = command("trace", str(program), "--one", "-o", "two", folder=tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout == f"arguments ['--one', '-o', 'two'] __main__ {program}\n"
    assert "1 run in" in shown.stderr
    assert "of 1,000 units" in shown.stderr
    assert json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    assert (tmp_path / "trace.svg").read_text().startswith("<svg")
    assert "prog.py" in (tmp_path / "trace.svg").read_text()


def test_trace_for_scripts(program: Path, tmp_path: Path) -> None:
    shown = command("trace", "--json", "-o", str(tmp_path / "mine"), str(program))
    assert shown.returncode == 0, shown.stderr
    assert shown.stderr == ""
    summary = json.loads(shown.stdout.splitlines()[-1])
    assert (summary["runs"], summary["units"], summary["dropped"]) == (1, 1000, 0)
    assert summary["files"] == [str(tmp_path / "mine.json"), str(tmp_path / "mine.svg")]
    assert all(Path(file).stat().st_size > 0 for file in summary["files"])


def test_trace_of_a_module(program: Path, tmp_path: Path) -> None:
    shown = command("trace", "-o", str(tmp_path / "mine"), "-m", "prog", "--json", folder=program.parent)
    assert shown.returncode == 0, shown.stderr
    assert "arguments ['--json'] __main__" in shown.stdout
    assert "of 1,000 units" in shown.stderr


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        ("sys.exit()", 0, ""),
        ("sys.exit(3)", 3, ""),
        ("sys.exit('enough')", 1, "enough"),
        ("{}['key']", 1, "KeyError: 'key'"),
        ("raise KeyboardInterrupt", 130, "Interrupted"),
    ],
)
def test_trace_ends_as_the_program_does(program: Path, tmp_path: Path, text: str, code: int, message: str) -> None:
    more(program, text)
    shown = command("trace", str(program), folder=tmp_path)
    assert shown.returncode == code
    assert message in shown.stderr
    assert "runpy" not in shown.stderr
    assert "_trace_program" not in shown.stderr
    assert "of 1,000 units" in shown.stderr
    assert (tmp_path / "trace.svg").stat().st_size > 0


def test_trace_waits_for_threads_and_leaves_children_alone(program: Path, tmp_path: Path) -> None:
    more(
        program,
        """
import os, threading, time
def late():
    ktask.parallel_for(lambda start, end: None, 234)
child = os.fork()
if child == 0:
    sys.exit(5)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 5
threading.Timer(0.2, late).start()
""",
    )
    shown = command("trace", str(program), folder=tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert shown.stderr.count("Written:") == 1
    assert "of 1,234 units" in shown.stderr


def test_trace_says_what_did_not_fit(program: Path, tmp_path: Path) -> None:
    shown = command("trace", "--events", "1", str(program), folder=tmp_path)
    assert shown.returncode == 0
    assert "had no room in the trace" in shown.stderr


def test_trace_refuses_what_cannot_be_before_the_program_runs(program: Path, tmp_path: Path) -> None:
    for arguments in (("-o", "/no/such/place/x", str(program)), (str(tmp_path / "missing.py"),)):
        shown = command("trace", *arguments, folder=tmp_path)
        assert shown.returncode == 2
        assert shown.stdout == ""
        assert "ktask trace:" in shown.stderr


def test_trace_draws_a_png(program: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    shown = command("trace", "--png", str(program), folder=tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert (tmp_path / "trace.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


def test_bench() -> None:
    shown = command("bench", "--quick", "--json")
    assert shown.returncode == 0, shown.stderr
    measured = json.loads(shown.stdout)
    assert measured["version"] == ktask.__version__
    assert [row["us"] for row in measured["loops"]] == [2, 5, 20, 100, 1000, 10000]
    for row in measured["loops"]:
        assert row["serial_seconds"] > 0
        assert row["ktask"] > 0
        assert row["threads"] > 0
    text = command("bench", "--quick")
    assert text.returncode == 0, text.stderr
    assert "ThreadPoolExecutor" in text.stdout


@pytest.mark.parametrize("has_rich", [True, False])
@pytest.mark.parametrize("is_terminal", [True, False])
def test_tables(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], has_rich: bool, is_terminal: bool
) -> None:
    if has_rich:
        pytest.importorskip("rich")
    else:
        monkeypatch.setitem(sys.modules, "rich", None)
        monkeypatch.setitem(sys.modules, "rich.console", None)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: is_terminal)
    print_table(("Loop", "Time"), [("short [x]", "1 µs"), ("long", "100 ms")], numbers=1, title="Loops")
    plain = re.sub(r"\x1b\[[\d;]*m", "", capsys.readouterr().out)
    lines = [line.strip() for line in plain.splitlines() if line.strip(" ─")]
    assert [line.split() for line in lines] == [
        ["Loops"],
        ["Loop", "Time"],
        ["short", "[x]", "1", "µs"],
        ["long", "100", "ms"],
    ]
