# SPDX-License-Identifier: BSD-3-Clause
"""What commands tell: tables for people, by rich on a terminal where it is there and plain elsewhere; exit codes."""

from __future__ import annotations

import sys
from collections.abc import Sequence

DONE, FAILED, BAD_USAGE, INTERRUPTED, UNREAD = 0, 1, 2, 130, 141
"""Exit codes; the last two as shells tell of programs that Ctrl-C or the end of a pipe's reader has ended."""


def print_table(headings: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: int = 0, title: str = "") -> None:
    """Prints a table whose last ``numbers`` columns are numbers; without headings if these are all empty."""
    if sys.stdout.isatty():
        try:
            _print_rich(headings, rows, numbers, title)
            return
        except ImportError:
            pass
    lines = [row for row in (headings, *rows) if any(row)]
    widths = [max((len(line[i]) for line in lines), default=0) for i in range(len(headings))]
    words = len(headings) - numbers
    if title:
        print(title)
    for line in lines:
        cells = [
            cell.rjust(w) if i >= words else cell.ljust(w) for i, (cell, w) in enumerate(zip(line, widths, strict=True))
        ]
        print("  ".join(cells).rstrip())


def _print_rich(headings: Sequence[str], rows: Sequence[Sequence[str]], numbers: int, title: str) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    has_headings = any(headings)
    table = Table(
        title=Text(title) if title else None,
        title_justify="left",
        box=box.SIMPLE_HEAD if has_headings else None,
        show_header=has_headings,
        pad_edge=False,
    )
    for i, heading in enumerate(headings):
        table.add_column(
            Text(heading), justify="right" if i >= len(headings) - numbers else "left", style="" if i else "bold cyan"
        )
    for row in rows:
        table.add_row(*map(Text, row))
    Console(highlight=False).print(table)
