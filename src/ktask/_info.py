# SPDX-License-Identifier: BSD-3-Clause
"""What ktask sees of the machine, and what it makes of it."""

from __future__ import annotations

import json
import os
from typing import Any

import psutil

from ktask._core import ffi, lib


def info() -> dict[str, Any]:
    """Describes the machine and the pool of helpers; ready for ``json.dumps``.

    ``enabled``: may runs have helpers; if not, ``reason`` says why. ``nodes``: the NUMA nodes that have CPUs, with
    their CPUs and distances. ``cpus``: all CPUs online; ``allowed_cpus``: those that this process may use.
    ``helpers``: threads in the pool; at most ``max_helpers`` of them work at a time, ``running_helpers`` do now.
    ``privileged``: may this process raise priorities again; then helpers run at nice 19. ``retreats``: do helpers go
    home when somebody else wants their CPU; ``pause_ns``: for how long fewer are called since one just did, else 0.
    ``wake_ns`` and ``answer_ns``: what waking a helper costs, and how long it takes to come. ``load``: runnable threads
    of the whole machine, over the last minute.
    """
    text = ffi.new("char[]", 1 << 16)
    length = lib.ktask_describe(text, len(text))
    if length >= len(text):
        text = ffi.new("char[]", length + 1)
        lib.ktask_describe(text, len(text))
    described: dict[str, Any] = json.loads(ffi.string(text))
    described["physical_cores"] = psutil.cpu_count(logical=False)
    described["load"] = psutil.getloadavg()[0]
    described["memory_bytes"] = psutil.virtual_memory().total
    described["nice"] = psutil.Process().nice()
    described["environment"] = {name: value for name, value in sorted(os.environ.items()) if name.startswith("KTASK")}
    return described


def init() -> None:
    """Starts the helpers now, instead of in the first run that can use them. Harmless if they are there."""
    lib.ktask_init()


def sentence(described: dict[str, Any]) -> str:
    """What the description comes down to, for people."""
    if not described["enabled"]:
        return f"Runs are serial: {described['reason']}."
    n = described["max_helpers"]
    how = "at nice 19" if described["privileged"] else "at the caller's nice, as batch threads"
    plural = "s" if n > 1 else ""
    paused = " Just now fewer, since somebody else wants the CPUs." if described["pause_ns"] else ""
    return f"Runs use the caller and up to {n} helper{plural}, {how}.{paused}"
