# SPDX-License-Identifier: BSD-3-Clause
"""A trace has an event for each chunk; a report sums a run up."""

from __future__ import annotations

import json
import threading
from dataclasses import asdict
from pathlib import Path

import pytest
from clib import CLib
from meeting import meet, meeting_of

import ktask


def covered(trace: ktask.Trace) -> list[int]:
    return sorted(unit for e in trace.events for unit in range(e.start, e.start + e.units))


@pytest.mark.parametrize("start", [0, 1000, -7])
def test_events_cover_all_units_of_a_python_function(start: int) -> None:
    trace = ktask.Trace()
    calls: list[tuple[int, int]] = []
    ktask.run(start, 500, ktask.Ctl(lambda start, end, arg: calls.append((start, end)), trace=trace))
    before = min(start, 0)  # a start below 0 is counted from
    assert covered(trace) == list(range(start - before, start - before + 500))
    assert sorted((e.start + before, e.start + before + e.units) for e in trace.events) == sorted(calls)
    assert len(trace) == len(trace.events) == ktask.last_report().chunks
    assert trace.dropped == 0


def test_events_cover_all_units_of_a_c_function(clib: CLib) -> None:
    trace = ktask.Trace()
    record = clib.ffi.new("struct record *")
    ktask.run(1000, 500, ktask.Ctl(clib.pointer("record_chunk"), record, trace=trace))
    assert covered(trace) == list(range(1000, 1500))


def test_events_tell_threads_cpus_nodes_times_and_results() -> None:
    main = threading.get_ident()
    starts: dict[int, bool] = {}
    trace = ktask.Trace()
    nid = ktask.info()["nodes"][0]["id"]

    def body(start: int, end: int, arg: object) -> int:
        starts[start] = threading.get_ident() == main
        return 3 if start == 1 else 0

    with pytest.raises(ktask.TaskError):
        ktask.run_numa([ktask.Node(0, 1, nid), ktask.Node(1, 1)], ktask.Ctl(meeting_of(body), trace=trace))
    assert len(trace) == 2
    for e in trace.events:
        assert (e.thread == 0) == starts[e.start]
        assert 0 <= e.thread <= ktask.info()["helpers"]
        assert e.cpu in ktask.info()["cpus"]
        assert e.nid == (ktask.NUMA_NO_NODE if e.start else nid)
        assert e.result == (3 if e.start else 0)
        assert 0 <= e.begin <= e.end
    assert min(e.begin for e in trace.events) == 0
    assert [e.end for e in trace.events] == sorted(e.end for e in trace.events)


def test_what_does_not_fit_is_counted() -> None:
    trace = ktask.Trace(3)
    ktask.run_numa([ktask.Node(i, 1) for i in range(10)], ktask.Ctl(lambda start, end, arg: None, trace=trace))
    assert len(trace) == len(trace.events) == 3
    assert trace.dropped == 7
    trace.clear()
    assert len(trace) == len(trace.events) == trace.dropped == 0


def test_runs_share_a_trace() -> None:
    trace = ktask.Trace()
    for i in range(5):
        ktask.parallel_for(lambda start, end: None, range(10 * i, 10 * i + 10), trace=trace)
    assert covered(trace) == list(range(50))


def test_a_new_trace_is_empty() -> None:
    trace = ktask.Trace()
    assert len(trace) == trace.dropped == 0
    assert trace.events == []


@pytest.mark.parametrize("size", [0, 100])
def test_a_plot(tmp_path: Path, size: int) -> None:
    pytest.importorskip("matplotlib")
    trace = ktask.Trace()
    ktask.run(0, size, ktask.Ctl(lambda start, end, arg: None, trace=trace))
    path = tmp_path / "trace.png"
    figure = trace.plot(path, title="Mine")
    assert path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    (axes,) = figure.axes
    assert any("Mine" in axes.get_title(loc) for loc in ("left", "center", "right"))
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert len(labels) == len({e.thread for e in trace.events})


def test_a_plot_without_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"ktask\[plot\]"):
        ktask.Trace().plot()


def test_the_report_of_a_run() -> None:
    trace = ktask.Trace()
    meet(trace=trace)
    report = ktask.last_report()
    assert report.chunks == 2
    assert report.threads == 2
    assert report.helpers_called - report.helpers_cancelled >= 1
    assert report.undone == 0
    assert report.error == 0
    assert report.seconds + 1e-5 >= max(e.end for e in trace.events)  # two threads' times
    json.dumps(asdict(report))


def test_the_report_of_a_failure() -> None:
    calls: list[tuple[int, int]] = []
    ctl = ktask.Ctl(
        lambda start, end, arg: -6 if start == 50 else 0,
        undo_func=lambda start, end, arg: calls.append((start, end)),
        max_threads=1,
    )
    assert ktask.ktask_run_numa([ktask.Node(0, 10), ktask.Node(20, 10), ktask.Node(50, 10)], ctl) == -6
    report = ktask.last_report()
    assert report.error == -6
    assert report.undone == len(calls) >= 2
    assert report.threads == 1
    assert report.helpers_called == 0


def test_the_report_of_a_short_run() -> None:
    """Of work that is known to be quick, and may be done without much ado."""
    codes: list[int] = []

    def body(start: int, end: int, arg: object) -> int:
        return codes[-1]

    for code in [0] * 5 + [8, 0]:
        codes.append(code)
        assert ktask.ktask_run(0, 3, ktask.Ctl(body)) == code
        report = ktask.last_report()
        assert report.error == code
        assert report.threads >= 1
        assert report.chunks >= 1
        assert report.seconds > 0


def test_each_thread_has_its_last_report() -> None:
    ktask.run_numa([ktask.Node(i, 1) for i in range(7)], ktask.Ctl(lambda start, end, arg: None))

    def other() -> None:
        ktask.run(0, 0, ktask.Ctl(lambda start, end, arg: None))
        assert ktask.last_report().chunks == 0

    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    assert ktask.last_report().chunks == 7
