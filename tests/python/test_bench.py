# SPDX-License-Identifier: BSD-3-Clause
"""The benchmarks build and run, and the pages show what was measured. No figure is judged here."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import neighbour
import numpy_ufuncs
import peers
import plots
import pytest
import report
import run
from figures import Row, alike, figure, load, peers_of, speedup
from report import fill, table

ROOT = Path(__file__).parents[2]
SUITES = ("hot", "apart", "long", "memory", "python", "loop", "ufuncs")

needs_compiler = pytest.mark.skipif(
    shutil.which("g++") is None or shutil.which("make") is None, reason="needs g++ and make"
)


def texts(image: Path) -> set[str]:
    return {text.strip() for text in ElementTree.parse(image).getroot().itertext()}


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Everything, as short as can be: where the figures went, and what was said."""
    pytest.importorskip("matplotlib")
    folder = tmp_path_factory.mktemp("bench") / "new"
    command = [sys.executable, str(ROOT / "bench" / "run.py"), "--quick", "--scale", "0.002", "--into", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ended with" not in done.stdout
    return folder, done.stdout


@needs_compiler
@pytest.mark.parametrize("suite", SUITES)
def test_each_suite_measures_ktask_and_those_that_are_here(quick: tuple[Path, str], suite: str) -> None:
    rows = load(quick[0] / f"{suite}.csv")
    found = set(peers_of(rows))
    of_python = {
        "python": {"numba prange", "ThreadPoolExecutor"},
        "loop": {"prange, OpenMP"},
        "ufuncs": {"numexpr", "numba prange"},
    }
    here = of_python.get(suite, {"libgomp static"})
    assert here | {"ktask"} <= found
    for peer in peers_of(rows):
        assert {row.workload for row in rows if row.peer == peer} <= {c.workload for _, c in columns(suite)}
    for row in rows:
        assert row.host in {"near", "far", "one", "mixed"}
        assert min(row.serial, row.parallel, row.ideal, row.serial_cpu, row.parallel_cpu) >= 0
        assert row.serial > 0
        assert row.parallel > 0


def columns(suite: str) -> list[tuple[str, report.Column]]:
    return [(name, c) for name, (of, cs) in report.TABLES.items() if of == suite for c in cs]


@needs_compiler
@pytest.mark.parametrize("suite", SUITES)
def test_ktask_has_a_figure_in_every_column(quick: tuple[Path, str], suite: str) -> None:
    mine = [row for row in load(quick[0] / f"{suite}.csv") if row.peer == "ktask"]
    missing = [c for _, c in columns(suite) if report.cell(mine, c, spread=True) == "-"]
    assert [c.title for c in missing if suite != "ufuncs" or (c.size or 0) <= numpy_ufuncs.QUICK] == []


@needs_compiler
def test_who_is_not_measured_is_named(quick: tuple[Path, str]) -> None:
    folder, said = quick
    measured = set(peers_of(load(folder / "apart.csv")))
    for peer in peers.PEERS:
        assert (peer in measured) != (f"{peer} (" in said)


@needs_compiler
def test_a_library_that_is_missing_does_not_build(monkeypatch: pytest.MonkeyPatch) -> None:
    absent = peers.Peer(("-DPEER_pthreadpool", "-lthere-is-no-such-library"))
    monkeypatch.setitem(peers.PEERS, "absent", absent)
    assert peers.build("short", "absent") is None
    monkeypatch.setitem(peers.PEERS, "no compiler", peers.Peer((), compiler="there-is-no-such-compiler"))
    assert peers.build("short", "no compiler") is None


@needs_compiler
@pytest.mark.parametrize("plot", plots.PLOTS)
def test_the_plots_show_who_was_measured(quick: tuple[Path, str], plot: str) -> None:
    assert "ktask" in texts(quick[0] / f"{plot}.svg")


def test_figures_of_a_busy_machine_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    used = iter([0.0, 1e6, 1e6])
    monkeypatch.setattr(run, "cpu_seconds_of_others", lambda: next(used))
    with pytest.raises(SystemExit, match="the machine is not idle"):
        run.refuse_if_busy(run.Watch())


def row(peer: str, serial: float, parallel: float, round_: int = 0, size: float = 1) -> Row:
    return Row(round_, peer, "loop", size, serial, parallel, serial / 2, serial, 1.5 * serial)


def test_tables_compare_processes_that_met_the_same_machine() -> None:
    near = [row("ktask", 1000, 500, i)._replace(host="near") for i in range(3)]
    far = [row("ktask", 1000, 900, 3)._replace(host="far")]
    assert alike(near + far) == near
    other = [row("other", 1000, 800, i)._replace(host="far") for i in range(2)]
    assert alike(near + other) == near + other  # nobody is left out
    other[0] = other[0]._replace(host="near")
    assert alike(near + far + other) == [*near, other[0]]
    assert report.hosts_in_words(near + far + other) == "near 4, far 2; shown: near"
    assert alike([]) == []


def test_a_process_that_had_one_cpu_of_the_host_is_measured_again(monkeypatch: pytest.MonkeyPatch) -> None:
    states = iter(["one", "mixed", "near", "one", "one", "one"])

    def measure_once(suite: object, peer: str, round_: int, scale: float) -> list[Row]:
        return [row(peer, 1000, 500, round_)._replace(host=next(states))]

    monkeypatch.setattr(run, "measure_once", measure_once)
    rows = run.measure(run.SUITES["hot"], ["ktask"], 2, 1.0, tries=3)
    assert [r.host for r in rows] == ["near", "one"]


def test_a_figure_is_the_median_with_the_quartiles() -> None:
    rows = [row("ktask", 1000, 1000 / ratio, i) for i, ratio in enumerate((1.0, 1.2, 1.4, 1.6, 9.0))]
    found = figure(rows, speedup)
    assert found is not None
    assert found == pytest.approx((1.4, 1.2, 1.6))
    assert figure([], speedup) is None


def test_a_table_has_a_line_for_each_peer_and_ktask_first() -> None:
    rows = [row("other", 1000, 800), row("ktask", 1000, 500), row("ktask", 1000, 400, size=5)]
    assert table("apart", [r for r in rows if r.size == 1], ["1"], spread=False).splitlines() == [
        "|  | 1 µs |",
        "| --- | --- |",
        "| **ktask** | 2.00 |",
        "| other | 1.25 |",
        "| *the limit* | 2.00 |",
    ]
    assert "| **ktask** | 2.00 | - | 2.50 |" in table("hot", rows, ["1", "2", "5"], spread=False)
    assert "| other | 1.25 | - | - |" in table("hot", rows, ["1", "2", "5"], spread=False)


def test_pages_keep_all_but_the_tables(tmp_path: Path) -> None:
    page = "a\n<!-- bench: hot 1 -->\nold\n<!-- end -->\nb\n<!-- bench: long -->\nkept\n<!-- end -->\n"
    lines = [Row._fields, row("ktask", 1000, 500)]
    (tmp_path / "hot.csv").write_text("".join(",".join(map(str, line)) + "\n" for line in lines), encoding="utf-8")
    filled = fill(page, tmp_path)
    assert "old" not in filled
    assert filled.startswith("a\n<!-- bench: hot 1 -->\n|  | 1 µs |\n")
    assert "| **ktask** | 2.00 ±0.00 |\n<!-- end -->\nb\n" in filled
    assert filled.endswith("<!-- bench: long -->\nkept\n<!-- end -->\n")
    assert fill(filled, tmp_path) == filled


@pytest.mark.parametrize("page", report.PAGES)
def test_the_pages_show_the_figures_that_are_kept(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    assert "<!-- bench: " in text
    assert fill(text, ROOT / "bench" / "results") == text


def test_the_plots_are_drawn_from_the_figures_that_are_kept(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    results = ROOT / "bench" / "results"
    plots.draw(results, tmp_path)
    assert list(tmp_path.glob("*.svg"))
    for plot in (file.stem for file in tmp_path.glob("*.svg")):
        suites = plots.PLOTS[plot][1]
        legend = texts(tmp_path / f"{plot}.svg")
        assert {peer for suite in suites for peer in peers_of(load(results / f"{suite}.csv"))} <= legend
        assert texts(ROOT / "docs" / "img" / f"{plot}.svg") == legend


def test_the_plot_of_neighbours_is_drawn_from_the_figures_that_are_kept(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    rows = report.read(ROOT / "bench" / "results" / report.OTHERS["neighbours"][0])
    neighbour.plot(rows, tmp_path / "neighbour.svg")
    legend = texts(tmp_path / "neighbour.svg")
    assert {row["subject"] for row in rows} - {neighbour.NOTHING, neighbour.SERIAL} <= legend
    assert texts(ROOT / "docs" / "img" / "neighbour.svg") == legend
