# SPDX-License-Identifier: BSD-3-Clause
"""Helpers leave the CPUs to whoever wants them, and say so."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from fresh import fresh

import ktask
from ktask._info import sentence

HOG = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: it ends with the test, however that ends
os.sched_setaffinity(0, {int(sys.argv[1])})
while True:
    pass
"""


def beside_hogs() -> None:
    x = np.arange(1_000_000.0)
    y = np.empty_like(x)
    times = 1.0

    def work(start: int, end: int) -> None:
        for _ in range(int(times)):
            np.sqrt(x[start:end], out=y[start:end])

    hogs = [subprocess.Popen([sys.executable, "-c", HOG, str(cpu)]) for cpu in os.sched_getaffinity(0)]
    try:
        while not (before := ktask.info())["pause_ns"]:
            ktask.parallel_for(work, len(x))
            np.testing.assert_array_equal(y, np.sqrt(x))
            report = ktask.last_report()
            assert 0 <= report.helpers_retreated <= report.helpers_called
            # One that has to wait very long for a CPU is not called to a short run; a pause is over after a long one.
            times = times * 1.25 if times < 40 else 1.0
        assert "somebody else wants the CPUs" in sentence(before)
    finally:
        for hog in hogs:
            hog.kill()
            hog.wait()


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two CPUs")
def test_helpers_make_room() -> None:
    fresh(beside_hogs, KTASK_RETREAT="on")


def settings() -> None:
    print(ktask.info()["retreats"], ktask.info()["pause_ns"])


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two CPUs")
@pytest.mark.parametrize(
    ("environment", "retreats"),
    [
        ({"KTASK_RETREAT": ""}, True),
        ({"KTASK_RETREAT": "off"}, False),
        ({"KTASK_RETREAT": "0"}, False),
        ({"KTASK_HELPERS": "3", "KTASK_RETREAT": ""}, False),
        ({"KTASK_HELPERS": "3", "KTASK_RETREAT": "on"}, True),
    ],
)
def test_setting(environment: dict[str, str], retreats: bool) -> None:
    assert fresh(settings, **environment).split() == [str(retreats), "0"]
