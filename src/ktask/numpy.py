# SPDX-License-Identifier: BSD-3-Clause
"""NumPy on all free CPUs: ``import ktask.numpy as np``.

This is NumPy itself: the same functions, types and submodules, by the same names. Importing it is entering a ``with
ktask.accelerate_numpy()`` that is never left: from then on ufuncs, operators and the reductions made of them run in
chunks on ktask when the arrays are large, in this whole process. See docs/numpy.md for what gains and what does not.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import numpy
from numpy import *  # noqa: F403

from ktask._accelerate import accelerate_numpy

__all__ = numpy.__all__


def __getattr__(name: str) -> Any:
    return getattr(numpy, name)


def __dir__() -> list[str]:
    return sorted({*dir(numpy), *globals()})


# So that "from ktask.numpy.random import default_rng" finds NumPy's module.
for _name in dir(numpy):
    if not _name.startswith("_") and isinstance(getattr(numpy, _name), ModuleType):
        sys.modules[f"{__name__}.{_name}"] = getattr(numpy, _name)

accelerate_numpy().__enter__()
