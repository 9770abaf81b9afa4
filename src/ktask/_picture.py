# SPDX-License-Identifier: BSD-3-Clause
"""Draws the machine as ktask sees it: ``python -m ktask info --svg FILE``."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any
from xml.sax.saxutils import escape

CPU, GAP, LABEL, COLUMNS = 26, 4, 22, 8
"""In pixels: the side of a CPU's square, what lies between, the height of a line of text; and CPUs in a row."""

STYLE = """
text { font: 13px sans-serif; fill: #222 } .cpu, .far { font-size: 11px; text-anchor: middle }
.title { font-size: 16px; font-weight: bold } .node { fill: #f4f6f8; stroke: #8a949e }
.free { fill: #b9dcc0; stroke: #4d8a5b } .other { fill: #e4e4e4; stroke: #a0a0a0 }
"""


def picture(described: dict[str, Any]) -> str:
    """The SVG of what ``ktask.info()`` says: a box for each node with its CPUs, and a table of distances."""
    nodes, allowed = described["nodes"], set(described["allowed_cpus"])
    columns = min(COLUMNS, max(len(n["cpus"]) for n in nodes))
    rows = max(math.ceil(len(n["cpus"]) / columns) for n in nodes)
    width = max(columns * (CPU + GAP) + 3 * GAP, 110)
    height = LABEL + rows * (CPU + GAP) + 3 * GAP
    across = math.ceil(math.sqrt(len(nodes)))
    down = math.ceil(len(nodes) / across)

    parts = [_text(10, 24, f"ktask {described['version']}: NUMA nodes and their CPUs", "title")]
    for i, node in enumerate(nodes):
        x, y = 10 + i % across * (width + 10), 40 + i // across * (height + 10)
        parts.append(_box(x, y, width, height, "node"))
        parts.append(_text(x + 8, y + 16, f"node {node['id']}"))
        parts += _cpus(node["cpus"], allowed, columns, x + 2 * GAP, y + LABEL + GAP)
    bottom = 40 + down * (height + 10)
    far = list(_distances(nodes, 10, bottom + 20))
    parts += far
    total_width = max(20 + across * (width + 10), 70 + 40 * len(nodes) if far else 0, 400)
    bottom += 30 + (LABEL * (len(nodes) + 1) if far else 0)
    parts.append(_box(10, bottom - 12, 14, 14, "free") + _text(30, bottom, "this process may use"))
    parts.append(_box(200, bottom - 12, 14, 14, "other") + _text(220, bottom, "it may not"))
    size = f'width="{total_width}" height="{bottom + 16}"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="NUMA topology">\n'
        f"<style>{STYLE}</style>\n" + "\n".join(parts) + "\n</svg>\n"
    )


def _cpus(cpus: list[int], allowed: set[int], columns: int, left: int, top: int) -> Iterator[str]:
    for i, cpu in enumerate(cpus):
        x, y = left + i % columns * (CPU + GAP), top + i // columns * (CPU + GAP)
        yield _box(x, y, CPU, CPU, "free" if cpu in allowed else "other")
        yield _text(x + CPU // 2, y + CPU // 2 + 4, str(cpu), "cpu")


def _distances(nodes: list[dict[str, Any]], left: int, top: int) -> Iterator[str]:
    """A table, the darker the farther; nothing where there is one node."""
    if len(nodes) == 1:
        return
    farthest = max(d for n in nodes for d in n["distances"].values())
    yield _text(left, top, "distances")
    for i, n in enumerate(nodes):
        x, y = left + 76 + 40 * i, top + LABEL * (i + 1)
        yield _text(x + 18, top, str(n["id"]), "far")
        yield _text(left + 20, y, f"node {n['id']}")
        for j, m in enumerate(nodes):
            distance = n["distances"][str(m["id"])]
            opacity = max(distance - 10, 0) / max(farthest - 10, 1) * 0.7
            x = left + 76 + 40 * j
            yield _box(x, y - 15, 36, 20, "node", more=f' style="fill:#d9822b;fill-opacity:{opacity:.2f}"')
            yield _text(x + 18, y, str(distance), "far")


def _box(x: int, y: int, width: int, height: int, kind: str, *, more: str = "") -> str:
    return f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="3" class="{kind}"{more}/>'


def _text(x: int, y: int, text: str, kind: str = "label") -> str:
    return f'<text x="{x}" y="{y}" class="{kind}">{escape(text)}</text>'
