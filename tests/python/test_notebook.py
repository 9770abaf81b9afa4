# SPDX-License-Identifier: BSD-3-Clause
"""What a user of a notebook sees: bars as widgets, a trace as its picture, summaries in words. In a real kernel."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")
pytest.importorskip("ipywidgets")

TIMEOUT = 100


@pytest.fixture
def executed(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """A notebook of these cells, after "Run all"."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in request.param])
    client = nbclient.NotebookClient(
        notebook, timeout=TIMEOUT, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    )
    return client.execute()


def shown(cell: Any, kind: str) -> list[Any]:
    """What stands below a cell, of this kind."""
    return [output["data"][kind] for output in cell.outputs if kind in output.get("data", {})]


def bars(notebook: Any) -> list[tuple[float, float, str]]:
    """How far each bar got, of how much, and its colour."""
    states = notebook.metadata.widgets["application/vnd.jupyter.widget-state+json"]["state"].values()
    found = [state["state"] for state in states if state["model_name"] == "FloatProgressModel"]
    return [(bar["value"], bar["max"], bar["bar_style"]) for bar in found]


RUNS = [
    """
import ktask
def work(start, end, arg):
    if arg == "bad" and end == 1000:
        raise ValueError("bad")
""",
    "ktask.run(0, 1000, ktask.Ctl(work, progress=True))",
    """
try:
    ktask.run(0, 1000, ktask.Ctl(work, "bad", progress=True))
except ValueError:
    print("failed")
""",
    "await ktask.arun(0, 1000, ktask.Ctl(work, progress=True))",
    """
with ktask.trace() as t:
    ktask.parallel_for(lambda start, end: None, 1000)
t
""",
    "t.summary()",
    "ktask.explain()",
]


@pytest.mark.parametrize("executed", [RUNS], indirect=True)
def test_runs(executed: Any) -> None:
    _, run, failing, awaited, trace, summary, explanation = executed.cells
    for cell in (run, failing, awaited):
        assert len(shown(cell, "application/vnd.jupyter.widget-view+json")) == 1
    assert sorted(style for *_, style in bars(executed)) == ["danger", "success", "success"]
    assert [bar for bar in bars(executed) if bar[2] == "success"] == [(1000, 1000, "success")] * 2
    [picture] = shown(trace, "image/svg+xml")
    assert picture.startswith("<svg")
    [text] = shown(summary, "text/plain")
    assert text.startswith("1 run in ")
    assert "1,000 units" in text
    [text] = shown(explanation, "text/plain")
    assert text.startswith("The run took ")


CLUSTER = [
    """
from distributed import Client, LocalCluster
import ktask, ktask.dask
cluster = LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None)
client = Client(cluster)
""",
    "ktask.dask.run(client, 0, 1000, ktask.Ctl(lambda start, end, arg: None, progress=True))",
    "print(ktask.dask.reduce(client, lambda a, b: sum(range(a, b)), 1001, 0, lambda a, b: a + b, progress=True))",
    "client.close(); cluster.close()",
]


@pytest.mark.skipif(importlib.util.find_spec("distributed") is None, reason="needs distributed")
@pytest.mark.parametrize("executed", [CLUSTER], indirect=True)
def test_a_cluster(executed: Any) -> None:
    _, run, reduction, _ = executed.cells
    for cell in (run, reduction):
        assert len(shown(cell, "application/vnd.jupyter.widget-view+json")) == 1
    assert sorted(bars(executed)) == [(1000, 1000, "success"), (1001, 1001, "success")]
    assert [output["text"] for output in reduction.outputs if output.output_type == "stream"] == ["500500\n"]
