# SPDX-License-Identifier: BSD-3-Clause
"""What all tests share: many helpers, a watch over hanging tests, and functions written in C."""

import faulthandler
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

# Read when the pool starts. More helpers than a small machine has CPUs, called as soon as there is something to do:
# so that threads meet, and soon.
os.environ["KTASK_HELPERS"] = "7"
os.environ["KTASK_WAKE_NS"] = "0"
os.environ["KTASK_TABLE"] = "off"  # or other programs on the machine, that use ktask as well, could take the helpers

from clib import CLib
from hypothesis import settings

HANGS_AFTER = 120

settings.register_profile("ktask", deadline=None, max_examples=100)
settings.load_profile("ktask")


@pytest.fixture(scope="session")
def real_stderr(request: pytest.FixtureRequest) -> int:
    """Where a message is seen although pytest captures output."""
    capture = request.config.pluginmanager.getplugin("capturemanager")
    if capture is None:
        return os.dup(2)
    with capture.global_and_fixture_disabled():
        return os.dup(2)


@pytest.fixture(autouse=True)
def _watch(real_stderr: int) -> Iterator[None]:
    """A hang ends the test run and tells where it was."""
    faulthandler.dump_traceback_later(HANGS_AFTER, exit=True, file=real_stderr)
    yield
    faulthandler.cancel_dump_traceback_later()


@pytest.fixture(scope="session")
def clib(tmp_path_factory: pytest.TempPathFactory) -> CLib:
    """The functions of clib.py, compiled."""
    return CLib(tmp_path_factory.mktemp("clib"))


@pytest.fixture(scope="session")
def clib_path(clib: CLib) -> Path:
    """The shared library, for processes that load it themselves."""
    return clib.path
