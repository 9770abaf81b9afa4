# SPDX-License-Identifier: BSD-3-Clause
"""``ktask.trace()`` records all runs of the process; summaries, pictures and files tell what it recorded."""

from __future__ import annotations

import dataclasses
import json
import os
import threading
import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from clib import CLib
from fresh import MANY_HELPERS, fresh
from meeting import meet, nothing

import ktask
from ktask._explain import Explanation
from ktask._summary import Summary, duration
from ktask._timeline import LEFT, WIDTH, Scale

SVG = "{http://www.w3.org/2000/svg}"


def kinds(trace: ktask.Trace) -> Counter[str]:
    return Counter(e.kind for e in trace.events)


def test_all_runs_are_recorded(clib: CLib) -> None:
    record = clib.ffi.new("struct record *")
    own = ktask.Trace()
    with ktask.trace() as t:
        ktask.run(0, 100, ktask.Ctl(nothing))
        ktask.run(0, 200, ktask.Ctl(clib.pointer("record_chunk"), record))
        ktask.parallel_for(lambda start, end: None, 300, trace=own)
        with pytest.raises(ktask.TaskError):
            ktask.run(0, 1, ktask.Ctl(lambda start, end, arg: 7))
    ktask.run(0, 400, ktask.Ctl(nothing))
    runs = [e for e in t.events if e.kind == "run"]
    assert [e.units for e in runs] == [100, 200, 300, 1]
    assert [e.result for e in runs] == [0, 0, 0, 7]
    assert len({e.run for e in runs}) == 4
    assert {e.tid for e in runs} == {threading.get_native_id()}
    for run in runs:
        chunks = [e for e in t.events if e.kind == "chunk" and e.run == run.run]
        assert sum(e.units for e in chunks) == run.units
        # Two threads' times are exact to a microsecond or so.
        assert all(run.begin - 1e-5 <= e.begin <= e.end <= run.end + 1e-5 for e in chunks)
    assert len(own) == sum(e.kind == "chunk" and e.run == runs[2].run for e in t.events)
    assert {e.kind for e in own.events} == {"chunk"}


def test_helpers_are_seen_coming() -> None:
    with ktask.trace() as t:
        meet()
    report = ktask.last_report()
    seen = kinds(t)
    assert seen["call"] == report.helpers_called - report.helpers_cancelled >= 1
    assert seen["dismiss"] == report.helpers_cancelled
    assert seen["stay"] >= 1
    for e in t.events:
        assert e.kind in ("run", "chunk") or e.thread > 0
    came = {(e.run, e.thread): e.end for e in t.events if e.kind == "call"}
    for e in t.events:
        if e.kind == "stay":
            assert e.tid > 0
            assert came[e.run, e.thread] <= e.begin


def test_short_runs_that_python_does_alone() -> None:
    def work(start: int, end: int) -> None:
        pass

    for _ in range(3):
        ktask.parallel_for(work, 10)
    with ktask.trace() as t:
        for _ in range(5):
            ktask.parallel_for(work, 10)
    assert kinds(t)["run"] == 5
    assert sum(e.units for e in t.events if e.kind == "chunk") == 50


def test_the_last_one_that_began_records() -> None:
    with ktask.trace() as outer:
        ktask.run(0, 1, ktask.Ctl(nothing))
        with ktask.trace() as inner:
            ktask.run(0, 2, ktask.Ctl(nothing))
        ktask.run(0, 3, ktask.Ctl(nothing))
    assert [e.units for e in outer.events if e.kind == "run"] == [1, 3]
    assert [e.units for e in inner.events if e.kind == "run"] == [2]


def test_it_may_end_while_runs_are_under_way() -> None:
    begun, go_on = threading.Event(), threading.Event()

    def body(start: int, end: int, arg: object) -> None:
        begun.set()
        assert go_on.wait(60)

    other = threading.Thread(target=ktask.run, args=(0, 1, ktask.Ctl(body)), name="the other")
    with ktask.trace() as t:
        other.start()
        assert begun.wait(60)
    assert kinds(t)["run"] == 0
    go_on.set()
    other.join()
    assert kinds(t)["run"] == 1  # its room was still there
    with ktask.trace() as t:
        ktask.run(0, 1, ktask.Ctl(nothing))
    assert kinds(t)["run"] == 1


def test_a_child_that_is_forked_goes_on() -> None:
    nodes = [ktask.Node(0, 1), ktask.Node(1, 1)]  # which are not done in one call, as something short may be
    with ktask.trace() as t:
        ktask.run_numa(nodes, ktask.Ctl(nothing))
        child = os.fork()
        if child == 0:
            ktask.run_numa(nodes, ktask.Ctl(nothing))
            tids = [event.tid for event in t.events if event.kind == "run"]
            os._exit(0 if tids == [os.getppid(), os.getpid()] else 1)  # both are main threads
        assert os.waitpid(child, 0)[1] == 0
    assert kinds(t)["run"] == 1


def test_what_does_not_fit_is_said() -> None:
    with ktask.trace(capacity=3) as t:
        ktask.run_numa([ktask.Node(i, 1) for i in range(10)], ktask.Ctl(nothing))
    assert len(t.events) == 3
    assert t.dropped >= 8
    assert f"{t.dropped} events had no room" in str(t.summary())
    assert t.summary().dropped == t.dropped


@pytest.mark.parametrize("path", ["trace.txt", "trace", "json"])
def test_other_kinds_of_files(path: str) -> None:
    with pytest.raises(ValueError, match=path):
        ktask.trace(path)
    with pytest.raises(ValueError, match=path):
        ktask.Trace().save(path)


def test_files_are_written_also_after_an_error(tmp_path: Path) -> None:
    def body(start: int, end: int, arg: object) -> None:
        raise LookupError

    with pytest.raises(LookupError), ktask.trace(tmp_path / "trace.json"):
        ktask.run(0, 10, ktask.Ctl(body))
    assert json.loads((tmp_path / "trace.json").read_text())["traceEvents"]


def a_trace() -> ktask.Trace:
    """With two threads, a failure, and two callers."""
    with ktask.trace() as t:
        meet()
        with pytest.raises(ktask.TaskError):
            ktask.run(0, 1, ktask.Ctl(lambda start, end, arg: 7))
        other = threading.Thread(target=ktask.run, args=(0, 5, ktask.Ctl(nothing)), name="<other>")
        other.start()
        other.join()
    return t


def test_a_file_for_perfetto(tmp_path: Path) -> None:
    t = a_trace()
    t.save(tmp_path / "trace.json")
    told = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    for e in told:
        assert {"ph", "name", "pid", "tid"} <= e.keys()
        assert e["ph"] != "X" or (e["ts"] >= 0 and e["dur"] >= 0)
    bars = Counter(e["cat"] for e in told if e["ph"] in "Xi")
    assert bars == kinds(t)
    names = {e["args"]["name"] for e in told if e["name"] == "thread_name"}
    assert len(names) == len({e["tid"] for e in told if e["name"] == "thread_name"}) >= 3
    assert any(name.startswith("helper") for name in names)
    starts = {e["id"]: e for e in told if e["ph"] == "s"}
    ends = {e["id"]: e for e in told if e["ph"] == "f"}
    assert starts.keys() == ends.keys()
    assert len(starts) == kinds(t)["call"]
    for i, start in starts.items():
        assert start["ts"] <= ends[i]["ts"]
        assert start["tid"] != ends[i]["tid"]


def test_a_timeline(tmp_path: Path) -> None:
    t = a_trace()
    t.save(tmp_path / "trace.svg", title="Mine & <yours>")
    svg = ET.parse(tmp_path / "trace.svg").getroot()
    texts = [e.text or "" for e in svg.iter(f"{SVG}text")]
    assert texts[0] == "Mine & <yours>"
    assert sum(text.startswith("helper") for text in texts) >= 1
    assert "failed" in texts
    titles = [e.text or "" for e in svg.iter(f"{SVG}title")]
    assert sum("it failed: 7" in title for title in titles) == 3  # the chunk, and the run twice
    width = float(svg.get("width", "0"))
    for bar in svg.iter(f"{SVG}rect"):
        x = float(bar.get("x", "0"))
        assert x >= 0
        assert x + float(bar.get("width", "0")) <= width


def test_an_empty_timeline(tmp_path: Path) -> None:
    with ktask.trace() as t:
        pass
    for name in ("trace.json", "trace.svg"):
        t.save(tmp_path / name)
        assert (tmp_path / name).read_text()
    assert "No run" in (tmp_path / "trace.svg").read_text()
    assert str(t.summary()) == "No run of ktask did any work."


def event(kind: str, begin: float, end: float, thread: int = 0, **more: Any) -> ktask.Event:
    values = {"start": 0, "units": 1, "cpu": 0, "nid": -1, "result": 0, "run": 1, "tid": 100 + thread} | more
    return ktask.Event(begin=begin, end=end, thread=thread, kind=kind, **values)


class MadeUp(ktask.Trace):
    """With events that are known."""

    def __init__(self, events: list[ktask.Event]) -> None:
        super().__init__(1)
        self.made_up = events

    @property
    def events(self) -> list[ktask.Event]:
        return self.made_up


def two_threads() -> MadeUp:
    """A run of 10 s: the caller is busy for 8, a helper that came after 1 for 4 of 5."""
    return MadeUp(
        [
            event("chunk", 0, 8),
            event("call", 1, 2, 1, tid=0),
            event("chunk", 2, 5, 1),
            event("chunk", 6, 7, 1),
            event("stay", 2, 7, 1, units=2),
            event("dismiss", 8, 9, 2, tid=0),
            event("run", 0, 10, units=3),
            event("will", 9, 9, 1, tid=0, result=2),
            event("retreat", 7, 7, 1, tid=0),
        ]
    )


def test_the_numbers_of_a_summary() -> None:
    s = two_threads().summary()
    assert (s.seconds, s.seconds_in_runs, s.runs, s.failed, s.chunks, s.units) == (10, 10, 1, 0, 3, 3)
    assert s.threads_at_work == pytest.approx(1.2)
    assert s.balance == pytest.approx(6 / 8)
    assert s.idle == pytest.approx(1 - 12 / 15)
    assert (s.called, s.came, s.sent_home, s.willed, s.retreated) == (2, 1, 1, 1, 1)
    assert s.wake_latency == {"median": 1, "p90": 1, "longest": 1}
    assert s.chunk_seconds == {"shortest": 1, "median": 3, "longest": 8}
    assert s.histogram == [(3.0, 1), (10.0, 2)]
    assert s.units_histogram == [(3, 3)]
    assert s.busy == {"caller": pytest.approx(0.8), "helper 0": pytest.approx(0.4), "helper 1": 0}
    json.dumps(s.as_dict())
    text = str(s)
    for part in ("balance 75.0%", "1 came, 1 sent home", "1.20 threads", "lent", "went home", "idle for 20.0%"):
        assert part in text


def test_histograms_of_chunks() -> None:
    units = [1, 1, 5, 200, 299, 300]
    chunks = [event("chunk", 10 * i, 10 * i + i, units=n) for i, n in enumerate(units)]
    s = MadeUp([*chunks, event("run", 0, 60, units=sum(units))]).summary()
    assert s.units_histogram == [(3, 2), (10, 1), (30, 0), (100, 0), (300, 2), (1000, 1)]
    lines = str(s).splitlines()
    at = lines.index("and had 102 units in the median, from 1 to 300")
    assert [line.split()[:3] for line in lines[at + 1 :]] == [
        ["under", f"{limit:,}", str(n)] for limit, n in s.units_histogram
    ]
    assert lines[at + 1].endswith("█" * 32)
    assert not lines[at + 3].endswith("█")


def test_runs_side_by_side_and_threads_of_the_same_name() -> None:
    t = MadeUp(
        [
            event("chunk", 0, 4, run=1, tid=5),
            event("run", 0, 4, run=1, tid=5),
            event("chunk", 2, 6, run=2, tid=6),
            event("run", 2, 6, run=2, tid=6),
            event("chunk", 8, 9, run=3, tid=6),
            event("run", 8, 9, run=3, tid=6),
        ]
    )
    t.thread_names = {5: "same", 6: "same"}
    s = t.summary()
    assert s.seconds_in_runs == 7
    assert len(s.busy) == 2
    assert s.balance is None
    assert s.threads_at_work == 1


def test_a_helper_that_makes_runs_is_one_row() -> None:
    t = MadeUp(
        [
            event("stay", 0, 9, 1, run=1),
            event("chunk", 2, 3, run=2, tid=101),
            event("run", 2, 3, run=2, tid=101),
            event("run", 0, 10, run=1, tid=7),
        ]
    )
    assert list(t.summary().busy) == ["caller", "helper 0"]


def test_the_summary_of_a_trace_of_chunks_alone() -> None:
    trace = ktask.Trace()
    meet(trace=trace)
    s = Summary.of(trace)
    assert (s.runs, s.chunks, s.units, s.called) == (1, 2, 2, 0)
    assert len(s.busy) == 2


def test_long_pauses_are_folded() -> None:
    events = [event("run", i * 100, i * 100 + 1, run=i) for i in range(5)]
    scale = Scale(events)
    assert sum(p.folded for p in scale.pieces) == 4
    xs = [scale(t) for e in events for t in (e.begin, e.end)]
    assert xs == sorted(xs)
    assert xs[0] == pytest.approx(LEFT)
    assert xs[-1] == pytest.approx(LEFT + WIDTH)
    lengths = [scale(e.end) - scale(e.begin) for e in events]
    assert lengths == pytest.approx([lengths[0]] * 5)
    assert lengths[0] > WIDTH / 6
    assert all(LEFT <= x <= LEFT + WIDTH + 0.01 for _, x in scale.ticks())


def test_a_timeline_of_very_many_chunks_stays_small() -> None:
    chunks = [event("chunk", i * 1e-6, (i + 0.9) * 1e-6, i % 2) for i in range(20000)]
    t = MadeUp([*chunks, event("run", 0, 0.02, units=20000)])
    from ktask._timeline import timeline

    svg = ET.fromstring(timeline(t, "many"))
    assert len(list(svg.iter(f"{SVG}rect"))) < 3 * WIDTH
    named = [e.text or "" for e in svg.iter(f"{SVG}title")]
    assert any("chunks in" in text for text in named)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 ns"), (9.4e-8, "94 ns"), (1e-6, "1.00 µs"), (9.999e-4, "1.00 ms"), (0.0123, "12.3 ms"), (123.4, "123 s")],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_an_explanation_of_two_threads() -> None:
    meet()
    text = str(ktask.explain())
    assert "2 chunks on 2 threads" in text
    assert "came" in text
    assert "helpers of other processes are not counted" in text


def test_an_explanation_of_a_failure() -> None:
    with pytest.raises(ktask.TaskError):
        ktask.run(0, 1, ktask.Ctl(lambda start, end, arg: 7))
    assert "failed with 7" in str(ktask.explain())
    with pytest.raises(ZeroDivisionError):
        ktask.parallel_for(lambda start, end: 1 // 0, 10)
    assert "an exception ended it" in str(ktask.explain())


def explanations() -> None:
    assert "No run" in str(ktask.explain())
    ktask.run(0, 100, ktask.Ctl(nothing, max_threads=1))
    (reason,) = ktask.explain().reasons
    assert "max_threads" in reason
    with ktask.limits(max_helpers=0):
        ktask.run(0, 100, ktask.Ctl(nothing))
        assert "ktask.limits" in str(ktask.explain())

    def short(start: int, end: int) -> None:
        pass

    for _ in range(3):
        ktask.parallel_for(short, 10)
    assert "too short" in str(ktask.explain())
    report = ktask.last_report()
    assert report.seconds_busy == report.seconds


def test_explanations() -> None:
    fresh(explanations, **MANY_HELPERS | {"KTASK_WAKE_NS": "1000000"})


def test_an_explanation_of_serial_runs() -> None:
    fresh(serial_runs, KTASK="off")


def serial_runs() -> None:
    ktask.run(0, 100, ktask.Ctl(nothing))
    (reason,) = ktask.explain().reasons
    assert "KTASK=off" in reason or "serial" in reason


def test_an_explanation_while_a_watch_stood_still() -> None:
    """As it does, for up to some milliseconds, when the machine has slept."""
    meet()
    report = dataclasses.replace(ktask.last_report(), seconds=0.0)
    assert "2 threads" in str(Explanation(report, ktask.info(), []))


def test_what_notebooks_and_prompts_show() -> None:
    with ktask.trace() as t:
        ktask.parallel_for(lambda start, end: None, 1000)
    title = ET.fromstring(t._repr_svg_()).find(f"{SVG}text")
    assert title is not None
    assert title.text == "ktask: who did what when"
    assert repr(t.summary()) == str(t.summary())
    assert repr(ktask.explain()) == str(ktask.explain())
