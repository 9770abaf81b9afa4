# SPDX-License-Identifier: BSD-3-Clause
"""``accelerate_numpy``: NumPy's functions run on all free CPUs for as long as a ``with`` block lasts."""

from __future__ import annotations

from contextlib import ContextDecorator
from threading import Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ktask._numpy._tables import Positions, Table


class _Installed:
    """Whether NumPy's functions are ktask's now."""

    lock = Lock()
    users = 0
    tables: list[Table | Positions] | None = None


class accelerate_numpy(ContextDecorator):  # noqa: N801
    """Makes NumPy's ufuncs (``exp``, ``add``, ...), operators and the reductions made of them run on all free CPUs.

    In a ``with`` block, or as a decorator of a function. It holds for the whole process, other threads and libraries
    included, until the last block is left. Results are the same, bit for bit, as are warnings and errors; only large
    arrays are computed differently. Raises ImportError if NumPy is not installed. Thread-safe, and may be nested.

    >>> import numpy as np, ktask
    >>> with ktask.accelerate_numpy():
    ...     y = np.exp(np.zeros(1_000_000)) + 1
    >>> float(y[-1])
    2.0
    """

    def __enter__(self) -> None:
        """The first one in exchanges the functions' inner loops."""
        with _Installed.lock:
            if _Installed.tables is None:
                from ktask._numpy._tables import tables

                _Installed.tables = tables()
            if _Installed.tables:
                from ktask._numpy import _buffers

                _buffers.enter()
            if _Installed.users == 0:
                for table in _Installed.tables:
                    table.install()
            _Installed.users += 1

    def __exit__(self, *exception: object) -> None:
        """The last one out puts everything back."""
        with _Installed.lock:
            _Installed.users -= 1
            if _Installed.users == 0:
                for table in _Installed.tables or ():
                    table.remove()
            if _Installed.tables:
                from ktask._numpy import _buffers

                _buffers.leave()
                if _Installed.users == 0:
                    _buffers.end()
