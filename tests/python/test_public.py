# SPDX-License-Identifier: BSD-3-Clause
"""What is public is documented, its examples work, and it has one version."""

from __future__ import annotations

import doctest
import importlib
import importlib.metadata
import inspect
import pkgutil
import re
from pathlib import Path
from types import ModuleType

import pytest

import ktask

HEADER = Path(__file__).parents[2] / "csrc/include/ktask.h"

NOT_TO_IMPORT = {"ktask._build", "ktask._demo_build", "ktask.__main__", "ktask._core"}


def modules() -> list[str]:
    names = [f"ktask.{module.name}" for module in pkgutil.iter_modules(ktask.__path__)]
    return ["ktask", *(name for name in names if name not in NOT_TO_IMPORT)]


@pytest.mark.parametrize("name", modules())
def test_examples(name: str) -> None:
    try:
        module = importlib.import_module(name)
    except ImportError as error:
        pytest.skip(str(error))
    assert doctest.testmod(module, optionflags=doctest.ELLIPSIS).failed == 0


def test_there_are_examples() -> None:
    finder = doctest.DocTestFinder()
    assert any(test.examples for test in finder.find(ktask))
    assert any(test.examples for test in finder.find(ktask.parallel_for))


def test_all_is_complete() -> None:
    public = {
        name for name, value in vars(ktask).items() if not name.startswith("_") and not isinstance(value, ModuleType)
    }
    assert set(ktask.__all__) == public
    assert sorted(ktask.__all__) == sorted(set(ktask.__all__))


@pytest.mark.parametrize("name", ktask.__all__)
def test_docstrings(name: str) -> None:
    thing = getattr(ktask, name)
    if not callable(thing):
        return
    assert inspect.getdoc(thing)
    if inspect.isclass(thing):
        for member, value in vars(thing).items():
            if not member.startswith("_") and callable(value):
                assert inspect.getdoc(value), f"{name}.{member}"


def test_one_version() -> None:
    match = re.search(r'^#define KTASK_VERSION "(.*)"$', HEADER.read_text(), re.MULTILINE)
    assert match is not None
    assert ktask.__version__ == match[1] == importlib.metadata.version("ktask") == ktask.info()["version"]


def test_it_is_typed() -> None:
    assert (Path(ktask.__file__).parent / "py.typed").exists()
