# SPDX-License-Identifier: BSD-3-Clause
"""A pytest plugin: NumPy's own tests, with ktask doing the work.

    python -m pytest -p accelerated --pyargs numpy._core.tests.test_ufunc numpy._core.tests.test_umath

With KTASK_TEST_CUT=1 in the environment, small arrays are cut as well, and helpers called for them, so that nearly
everything that is tested runs in chunks. None fails; one that had to would be marked here, with the reason.
"""

import os

CUT = os.environ.get("KTASK_TEST_CUT") == "1"
if CUT:
    os.environ |= {"KTASK_HELPERS": "3", "KTASK_WAKE_NS": "0"}

import ktask  # noqa: E402 (reads the settings)
from ktask._core import lib  # noqa: E402

if CUT:
    limits = lib.loops_limits
    limits.direct_first = limits.direct_least = limits.direct_most = 2
    limits.min_chunk, limits.split_size = 1, 2
    limits.min_leaf = 128

ktask.accelerate_numpy().__enter__()
