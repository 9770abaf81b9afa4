# SPDX-License-Identifier: BSD-3-Clause
"""Progress of a run, shown by a function of the user's or by a tqdm bar."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from ktask._convert import accepts

ProgressReport = Callable[[int, int], object]
"""Called as ``report(done, total)``, in units."""


class Progress:
    """Makes, for each run, the function that its progress is reported to."""

    def __init__(self, function: ProgressReport) -> None:
        """``function`` is called as it is."""
        self._function = function

    def shown(self, total: int) -> AbstractContextManager[ProgressReport]:
        """Returns a context in which progress of one run is shown."""
        return nullcontext(self._function)


class Bar(Progress):
    """A tqdm bar for each run."""

    def __init__(self) -> None:
        """Raises ImportError, before any work starts, if tqdm is not there."""
        try:
            from tqdm.auto import tqdm
        except ImportError:
            raise ImportError("progress=True needs tqdm: pip install 'ktask[progress]'") from None
        self._tqdm = tqdm

    def shown(self, total: int) -> AbstractContextManager[ProgressReport]:
        """Returns a context with a bar that is closed at its end."""
        return _ShownBar(self._tqdm(total=total, unit="unit", unit_scale=True))


class _ShownBar(AbstractContextManager[ProgressReport]):
    def __init__(self, bar: Any) -> None:
        self._bar = bar

    def __enter__(self) -> ProgressReport:
        def report(done: int, total: int) -> None:
            self._bar.update(done - self._bar.n)

        return report

    def __exit__(self, *exception: object) -> None:
        self._bar.close()


def progress_of(value: object) -> Progress | None:
    """Turns a Ctl's ``progress`` argument into a Progress."""
    if value is None or value is False:
        return None
    if value is True:
        return Bar()
    if callable(value):
        if not accepts(value, 2):
            raise TypeError(f"progress is called as progress(done, total), which {value!r} does not take")
        return Progress(value)
    raise TypeError(f"progress must be True or a function of (done, total), not {type(value).__name__}: {value!r}")
