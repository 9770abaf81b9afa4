# SPDX-License-Identifier: BSD-3-Clause
"""A trace as a picture: a row for each thread, time from left to right, a bar for each chunk. Needs nothing but Python.

Long times without any run are folded, so that what matters has the room.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple
from xml.sax.saxutils import escape

from ktask._summary import Row, Summary, duration, rows_of, some

if TYPE_CHECKING:
    from ktask._trace import Event, Trace

LEFT, WIDTH, RIGHT, TOP, ROW, GAP, LINE = 128, 960, 92, 74, 30, 12, 20
"""In pixels: room for names, for the time, for numbers, for titles; a row, what lies between two, a line of text."""

FOLD = 30
"""The width of a time that is folded, in pixels."""
FOLDED, MOST_FOLDS = 0.05, 8
"""A time without runs is folded if it is longer than this part of the time in runs; of many, the longest."""

MOST_ROWS, LONGEST_NAME = 64, 15
MOST_MARKS = 200
"""So many runs have a border, and of each kind so many marks are drawn."""

NODES = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#8c6d31", "#7570b3", "#b2abd2")
FAILED = "#d55e00"
"""Colours that people with colour blindness can tell apart (Okabe and Ito); the same again from the ninth node on."""

STYLE = """
text { font: 12px system-ui, "DejaVu Sans", sans-serif; fill: #24292f }
.title { font-size: 16px; font-weight: 600 } .soft { fill: #57606a } .small { font-size: 11px }
.right { text-anchor: end } .mid { text-anchor: middle }
.row { fill: #f3f5f7 } .there { fill: #d5dae0 } .run { fill: #40474f }
.border { stroke: #40474f; stroke-width: .6; stroke-dasharray: 2 3; opacity: .55 }
.grid { stroke: #d8dee4; stroke-width: .7 } .axis { stroke: #8c959f }
.call { stroke: #24292f; stroke-width: 1.6; stroke-dasharray: 1.5 2.5; fill: none }
.home { stroke: #8c959f; stroke-width: 1.4; fill: none }
.will { fill: #ffffff; stroke: #24292f; stroke-width: 1.3 }
.retreat { fill: #d55e00; stroke: #ffffff; stroke-width: .8 }
.fold { fill: #ffffff } .crease { stroke: #8c959f; fill: none; stroke-width: .9 }
"""


def timeline(trace: Trace, title: str) -> str:
    """The SVG."""
    events = trace.events
    rows = rows_of(trace, events)
    shown = rows[:MOST_ROWS]
    scale = Scale(events)
    bottom = TOP + len(shown) * (ROW + GAP)
    summary = Summary.of(trace)
    parts = [
        _text(16, 28, title, "title"),
        _text(16, 48, _subtitle(summary, len(rows) - len(shown)), "soft"),
        *_grid(scale, bottom),
    ]
    node_of = _nodes_of_cpus()
    nodes: set[int] = set()
    for i, row in enumerate(shown):
        parts += _row(row, TOP + i * (ROW + GAP), scale, node_of, nodes)
        parts.append(_text(LEFT + WIDTH + 10, TOP + i * (ROW + GAP) + 20, f"{summary.busy[row.name]:.1%}", "soft"))
    parts.append(_text(LEFT + WIDTH + 10, TOP - 12, "busy in runs", "soft small"))
    parts += _borders(shown, scale, bottom)
    parts += _folds(scale, bottom)
    legend, end = _legend(events, sorted(nodes), bottom + 58)
    parts += legend
    width, height = LEFT + WIDTH + RIGHT, end + 20
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'role="img" aria-label="{escape(title)}">\n<style>{STYLE}</style>\n'
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def _subtitle(summary: Summary, hidden: int) -> str:
    if not summary.chunks:
        return "No run of ktask did any work."
    told = [some(summary.runs, "run"), some(summary.chunks, "chunk"), f"{summary.threads_at_work:.2f} threads at work"]
    if summary.balance is not None:
        told.append(f"balance {summary.balance:.1%}")
    if summary.wake_latency is not None:
        told.append(f"helpers came in {duration(summary.wake_latency['median'])}")
    if hidden:
        told.append(f"{some(hidden, 'more thread')} not shown")
    if summary.dropped:
        told.append(f"{some(summary.dropped, 'event')} had no room")
    return " · ".join(told)


# ---- time -------------------------------------------------------------------------------------------------------


class Piece(NamedTuple):
    """A part of the time, and where it is drawn."""

    begin: float
    end: float
    x: float
    width: float
    folded: bool


class Scale:
    """Where a time is drawn."""

    def __init__(self, events: Sequence[Event]) -> None:
        """Folds the times that belong to no event, if they are long beside the others."""
        end = max((e.end for e in events), default=0.0) or 1e-6
        gaps, until = [], 0.0
        for e in sorted(events, key=lambda e: e.begin):
            if e.begin > until:
                gaps.append((until, e.begin))
            until = max(until, e.end)
        active = end - sum(b - a for a, b in gaps)
        gaps = sorted(
            sorted((g for g in gaps if g[1] - g[0] > FOLDED * active), key=lambda g: g[0] - g[1])[:MOST_FOLDS]
        )
        unfolded = end - sum(b - a for a, b in gaps)
        self.per_second = (WIDTH - FOLD * len(gaps)) / unfolded
        self.pieces: list[Piece] = []
        x, at = float(LEFT), 0.0
        for a, b in gaps:
            self.pieces.append(Piece(at, a, x, (a - at) * self.per_second, folded=False))
            x += self.pieces[-1].width
            self.pieces.append(Piece(a, b, x, FOLD, folded=True))
            x += FOLD
            at = b
        self.pieces.append(Piece(at, end, x, (end - at) * self.per_second, folded=False))

    def __call__(self, time: float) -> float:
        """In pixels from the left."""
        piece = next((p for p in self.pieces if time <= p.end), self.pieces[-1])
        part = (time - piece.begin) / (piece.end - piece.begin) if piece.end > piece.begin else 0.0
        return piece.x + part * piece.width

    def ticks(self) -> Iterator[tuple[float, float]]:
        """Times worth a line and a number, far enough apart, and where they are."""
        rough = 90 / self.per_second
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough)
        last = -math.inf
        for p in self.pieces:
            first = math.ceil(p.begin / step - 1e-9)
            for i in range(first, math.floor(p.end / step + 1e-9) + 1) if not p.folded else ():
                x = self(i * step)
                if x - last > 50:
                    yield i * step, x
                    last = x


def _grid(scale: Scale, bottom: int) -> Iterator[str]:
    span = scale.pieces[-1].end
    unit, name = next((u, n) for u, n in ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")) if span >= 2 * u or n == "µs")
    for time, x in scale.ticks():
        yield f'<path class="grid" d="M{x:.1f} {TOP - 6}V{bottom}"/>'
        yield _text(x, bottom + 16, f"{time / unit:g}", "soft small mid")
    yield f'<path class="axis" d="M{LEFT} {bottom}H{LEFT + WIDTH}"/>'
    yield _text(LEFT + WIDTH + 10, bottom + 16, name, "soft small")


def _folds(scale: Scale, bottom: int) -> Iterator[str]:
    for p in scale.pieces:
        if p.folded:
            yield f"<g><title>{duration(p.end - p.begin)} without a run</title>"
            height = bottom - TOP + 10
            yield f'<rect class="fold" x="{p.x + 4:.1f}" y="{TOP - 8}" width="{FOLD - 8}" height="{height}"/>'
            for x in (p.x + 4, p.x + FOLD - 4):
                steps = "l3 6l-3 6" * (height // 12)
                yield f'<path class="crease" d="M{x - 1.5:.1f} {TOP - 8}{steps}"/>'
            yield "</g>"
            yield _text(p.x + FOLD / 2, bottom + 30, duration(p.end - p.begin), "soft small mid")


# ---- what threads did -------------------------------------------------------------------------------------------


class Block(NamedTuple):
    """Chunks that are drawn as one bar: one, or several too narrow to be seen."""

    begin: float  # in pixels
    end: float
    chunks: list[Event]


def _blocks(chunks: Sequence[Event], scale: Scale) -> Iterator[Block]:
    """In order; chunks on the same node and narrower than a pixel become one, if nothing wider lies between."""
    block: Block | None = None
    for e in chunks:
        begin, end = scale(e.begin), scale(e.end)
        if (
            block is not None
            and begin - block.end < 0.5
            and end - begin < 1.2
            and (len(block.chunks) > 1 or block.end - block.begin < 1.2)
            and (e.nid, bool(e.result)) == (block.chunks[0].nid, bool(block.chunks[0].result))
            and block.end - block.begin < 8
        ):
            block.chunks.append(e)
            block = block._replace(end=max(end, block.end))
            continue
        if block is not None:
            yield block
        block = Block(begin, end, [e])
    if block is not None:
        yield block


def _row(row: Row, y: int, scale: Scale, node_of: dict[int, int], nodes: set[int]) -> Iterator[str]:
    yield f'<rect class="row" x="{LEFT}" y="{y}" width="{WIDTH}" height="{ROW}"/>'
    name = row.name if len(row.name) <= LONGEST_NAME else f"{row.name[:LONGEST_NAME]}…"
    yield _text(LEFT - 12, y + 20, name, "right")
    for e in row.kind("run", "stay"):
        yield _bar("there", scale(e.begin), scale(e.end), y, ROW, _there(e))
    for e in row.kind("run"):
        yield _bar("run", scale(e.begin), scale(e.end), y - 5, 3, _there(e))
    for block in _blocks(row.kind("chunk"), scale):
        first = block.chunks[0]
        node = first.nid if first.nid >= 0 else node_of.get(first.cpu, 0)
        nodes.add(node)
        colour = FAILED if first.result else NODES[node % len(NODES)]
        # A hair between chunks, where they are wide enough to have one.
        hair = 0.8 if block.end - block.begin > 3 else 0.0
        yield _bar("", block.begin, block.end - hair, y + 2, ROW - 4, _chunk(block.chunks, node), f' fill="{colour}"')
    for e in row.kind("call", "dismiss")[:MOST_MARKS]:
        yield _call(e, scale, y)
    for e in row.kind("will")[:MOST_MARKS]:
        x = scale(e.begin)
        lent = {1: "priority", 2: "CPU", 3: "priority and CPU"}[e.result]
        yield f'<path class="will" d="M{x:.1f} {y + 3}l5 9h-10z"><title>the caller lent it its {lent}</title></path>'
    for e in row.kind("retreat")[:MOST_MARKS]:
        x = scale(e.begin)
        told = "went home: somebody else wanted its CPU"
        yield f'<path class="retreat" d="M{x:.1f} {y + ROW - 3}l-6 -11h12z"><title>{told}</title></path>'


def _call(e: Event, scale: Scale, y: int) -> str:
    begin, end, middle = scale(e.begin), scale(e.end), y + ROW / 2
    took = duration(e.end - e.begin)
    if e.kind == "call":
        shape = f'<circle cx="{begin:.1f}" cy="{middle}" r="2.2" fill="#24292f"/>'
        shape += f'<path class="call" d="M{begin:.1f} {middle}H{end:.1f}"/>'
        return f"<g><title>called for run {e.run}; it came {took} later</title>{shape}</g>"
    shape = f'<path class="home" d="M{begin:.1f} {middle}H{end:.1f}m-3 -3l6 6m0 -6l-6 6"/>'
    return f"<g><title>called for run {e.run}; sent home {took} later, before it had come</title>{shape}</g>"


def _borders(rows: Sequence[Row], scale: Scale, bottom: int) -> Iterator[str]:
    runs = [e for row in rows for e in row.kind("run")]
    if len(runs) > MOST_MARKS:
        return
    for x in sorted({round(scale(t), 1) for e in runs for t in (e.begin, e.end)}):
        yield f'<path class="border" d="M{x} {TOP - 5}V{bottom}"/>'


def _chunk(chunks: Sequence[Event], node: int) -> str:
    e = chunks[0]
    if len(chunks) > 1:
        return (
            f"{len(chunks):,} chunks in {duration(chunks[-1].end - e.begin)}, {sum(c.units for c in chunks):,} units, "
            f"on node {node}"
        )
    failed = f"; it failed: {e.result}" if e.result else ""
    return (
        f"{some(e.units, 'unit')} from {e.start:,} in {duration(e.end - e.begin)}, on CPU {e.cpu}, node {node}{failed}"
    )


def _there(e: Event) -> str:
    what = f"run {e.run} of" if e.kind == "run" else f"at work on run {e.run}:"
    failed = f"; it failed: {e.result}" if e.kind == "run" and e.result else ""
    return f"{what} {some(e.units, 'unit')}, {duration(e.end - e.begin)}{failed}"


def _nodes_of_cpus() -> dict[int, int]:
    from ktask._info import info

    return {cpu: node["id"] for node in info().get("nodes", []) for cpu in node["cpus"]}


def _legend(events: Sequence[Event], nodes: Sequence[int], y: int) -> tuple[list[str], int]:
    """What is in the picture, and nothing else; and where its last line is."""
    kinds = {e.kind for e in events}
    marks: list[tuple[str, str]] = [
        (f'<rect x="0" y="-10" width="16" height="12" fill="{NODES[n % len(NODES)]}"/>', f"chunks on node {n}")
        for n in nodes
    ]
    if any(e.kind == "chunk" and e.result for e in events):
        marks.append((f'<rect x="0" y="-10" width="16" height="12" fill="{FAILED}"/>', "failed"))
    others: dict[str, tuple[str, str]] = {
        "run": ('<rect class="run" x="0" y="-8" width="16" height="3"/>', "a run, in its caller's row"),
        "stay": ('<rect class="there" x="0" y="-10" width="16" height="12"/>', "in a run, without a chunk"),
        "call": (
            '<circle cx="2" cy="-4" r="2.2" fill="#24292f"/><path class="call" d="M2 -4h16"/>',
            "called, on its way",
        ),
        "dismiss": ('<path class="home" d="M0 -4h13m-3 -3l6 6m0 -6l-6 6"/>', "sent home before it came"),
        "will": ('<path class="will" d="M8 -9l5 9h-10z"/>', "lent priority or CPU"),
        "retreat": ('<path class="retreat" d="M8 2l-6 -11h12z"/>', "retreated"),
    }
    marks += [mark for kind, mark in others.items() if kind in kinds]
    x, parts = LEFT, []
    for shape, text in marks:
        width = 44 + round(5.6 * len(text))
        if x + width > LEFT + WIDTH + RIGHT:
            x, y = LEFT, y + LINE
        parts.append(f'<g transform="translate({x} {y})">{shape}</g>' + _text(x + 22, y, text, "small"))
        x += width
    return parts, y


# ---- SVG --------------------------------------------------------------------------------------------------------


def _bar(kind: str, begin: float, end: float, y: float, height: float, told: str, more: str = "") -> str:
    named = f' class="{kind}"' if kind else ""
    return (
        f'<rect{named} x="{begin:.2f}" y="{y}" width="{max(end - begin, 0.4):.2f}" height="{height}"{more}>'
        f"<title>{escape(told)}</title></rect>"
    )


def _text(x: float, y: float, text: str, kind: str = "") -> str:
    named = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}"{named}>{escape(text)}</text>'
