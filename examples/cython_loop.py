# SPDX-License-Identifier: BSD-3-Clause
"""Which names of the standard library are easily mistaken for each other? A loop in Cython: see similar_names.pyx."""

import importlib

import numpy as np
import pyximport
from compare import QUICK, compare

import ktask

pyximport.install(language_level=3)
import similar_names  # noqa: E402  (compiled here, when it has changed)

MODULES = """argparse ast asyncio collections ctypes datetime email http inspect itertools logging math mmap
    multiprocessing operator os pathlib random re select shutil signal socket ssl statistics string subprocess sys
    threading typing"""

found = {name for module in MODULES.split() for name in dir(importlib.import_module(module))}
found = sorted(name for name in found if 5 < len(name) <= 24)[: 200 if QUICK else None]

names = np.zeros(len(found) + 1, [("text", "S24"), ("length", np.intc), ("nearest", np.intc)])
names["text"][:-1] = found
names["length"][:-1] = [len(name) for name in found]
chunk = similar_names.__pyx_capi__["find_chunk"]


def nearest(run):
    names["nearest"] = -1
    run()
    return names["nearest"].copy()


result = compare(
    {
        "Cython": lambda: nearest(lambda: similar_names.serial(names.view(np.uint8), len(found))),
        "Cython, prange": lambda: nearest(lambda: similar_names.openmp(names.view(np.uint8), len(found))),
        "Cython, ktask.parallel_for": lambda: nearest(lambda: ktask.parallel_for(chunk, len(found), arg=names)),
    }
)
for i in (0, len(found) // 2, len(found) - 1):
    print(f"of {len(found)} names, the nearest to {found[i]} is {found[result[i]]}")
