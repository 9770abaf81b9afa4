# SPDX-License-Identifier: BSD-3-Clause
"""Importing this makes ktask known to threadpoolctl, as ``user_api="ktask"``.

>>> import ktask.threadpoolctl
>>> import threadpoolctl
>>> [pool] = [pool for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "ktask"]
>>> with threadpoolctl.threadpool_limits(limits=1, user_api="ktask"):
...     ktask.info()["max_helpers"]
0

A thread here is a helper, or the caller: ``limits=1`` makes runs serial. The limit is the process's, as with
``ktask.limits``, and the lowest of both holds.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import threadpoolctl

import ktask
from ktask import _core
from ktask._core import lib
from ktask._limits import limit_from_outside


class _Controller(threadpoolctl.LibController):  # type: ignore[misc]
    user_api = internal_api = "ktask"
    filename_prefixes: ClassVar[tuple[str, ...]] = (Path(_core.__file__).name.lower(),)
    check_symbols: ClassVar[tuple[str, ...]] = ("ktask_in_python",)

    def get_num_threads(self) -> int:
        return lib.py_max_helpers() + 1

    def set_num_threads(self, num_threads: int) -> None:
        limit_from_outside(num_threads - 1)

    def get_version(self) -> str:
        return ktask.__version__


threadpoolctl.register(_Controller)
