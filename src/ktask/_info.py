# SPDX-License-Identifier: BSD-3-Clause
"""What ktask sees of the machine, and what it makes of it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

import psutil

from ktask._core import ffi, lib


def info() -> dict[str, Any]:
    """Describes the machine and the pool of helpers, as they are now; ready for ``json.dumps``.

    ``enabled``: may runs have helpers; if not, ``reason`` says why. ``capped``: why they may have fewer than there are
    CPUs, or None. ``nodes``: the NUMA nodes with their online CPUs (none for memory only) and distances. ``cpus``: all
    CPUs online; ``cores``: the same in groups that share a core; ``allowed_cpus``: those that this process may use.
    ``quota``: None, or so many ``cpus`` worth of time, and the ``path`` of the cgroup that says so. ``power``: what is
    known of the power policy, and whether by that the system ``saves`` power. ``helpers``: as many as the CPUs allow;
    at most ``max_helpers`` of them work at a time, ``running_helpers`` do now.
    ``table``: the file by which the user's processes share the CPUs, whether this process has ``joined`` them (it does
    when it first needs a helper), and the ``reason`` if it cannot.
    ``privileged``: may this process raise priorities again; then helpers run at nice 19. ``retreats``: do helpers go
    home when somebody else wants their CPU; ``pause_ns``: for how long fewer are called since one just did, else 0.
    ``wake_ns`` and ``answer_ns``: what waking a helper costs, and how long it takes to come. ``load``: runnable threads
    of the whole machine, over the last minute.

    With ``KTASK_FSROOT=DIR`` in the environment, the machine is the one whose ``/proc`` and ``/sys`` lie under ``DIR``;
    its ``memory_bytes`` and ``load`` are not looked up.
    """
    described = read_json(lib.ktask_describe)
    environment = {name: value for name, value in sorted(os.environ.items()) if name.startswith("KTASK")}
    elsewhere = environment.get("KTASK_FSROOT", "/") not in ("", "/")
    cores = described.get("cores")
    described["physical_cores"] = psutil.cpu_count(logical=False) if cores is None else len(cores)
    described["load"] = None if elsewhere else psutil.getloadavg()[0]
    described["memory_bytes"] = None if elsewhere else psutil.virtual_memory().total
    described["nice"] = psutil.Process().nice()
    described["environment"] = environment
    return described


def read_json(describe: Callable[[Any, int], int]) -> dict[str, Any]:
    """The object that a C function writes, in the way of snprintf, as JSON."""
    size = 1 << 16
    while True:
        text = ffi.new("char[]", size)
        length = describe(text, size)
        if length < size:
            described: dict[str, Any] = json.loads(ffi.string(text))
            return described
        size = length + 1


def init() -> None:
    """Starts the helpers now, instead of in the first run that can use them. Harmless if they are there."""
    lib.ktask_init()


def refresh() -> None:
    """Looks now at what may have changed: CPUs online, CPU quotas, the power policy.

    Without it, runs go by what they are told of that within 0.1 s, as long as helpers come and go. Thread-safe.
    """
    lib.ktask_refresh()


def sentence(described: dict[str, Any]) -> str:
    """What the description comes down to, for people."""
    if not described["enabled"]:
        return f"Runs are serial: {described['reason']}."
    n = described["max_helpers"]
    how = "at nice 19" if described["privileged"] else "at the caller's nice, as batch threads"
    why = f": {described['capped']}" if described["capped"] else ""
    paused = " Just now fewer, since somebody else wants the CPUs." if described["pause_ns"] else ""
    return f"Runs use the caller and up to {n} helper{'s' if n > 1 else ''}, {how}{why}.{paused}"
