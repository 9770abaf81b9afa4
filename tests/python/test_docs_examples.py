# SPDX-License-Identifier: BSD-3-Clause
"""The examples of the pages work: their files are written, their commands and programs run, from top to bottom."""

from __future__ import annotations

import importlib
import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

DOCS = Path(__file__).parents[2] / "docs"
PAGES = ("dask.md", "executor.md", "functions.md", "joblib.md", "loop.md")


class Block(NamedTuple):
    """One example, by its page, the line it begins in, its language and the file it is to be, if it names one."""

    page: str
    line: int
    language: str
    file: str | None
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks_of(page: str) -> list[Block]:
    text = (DOCS / page).read_text(encoding="utf-8")
    blocks = []
    for match in re.finditer(r"^```(\w+)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        named = re.match(r"(?:# |/\* )(\w+\.\w+)(?: \*/)?\n", match[2])
        line = text.count("\n", 0, match.start()) + 1
        blocks.append(Block(page, line, match[1], named[1] if named else None, match[2]))
    return blocks


BLOCKS = [block for page in PAGES for block in blocks_of(page)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("examples")


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_example(block: Block, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if "pythran" in block.text and shutil.which("pythran") is None:
        pytest.skip("pythran is not here")  # Python would import its source
    if block.file:
        Path(block.file).write_text(block.text, encoding="utf-8")
    elif block.language == "sh":
        subprocess.run(["sh", "-e", "-c", block.text], check=True, timeout=100)
    else:
        assert block.language == "python"
        run(block, folder, monkeypatch)


def run(block: Block, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("HOME", str(folder))  # where pyximport and numba keep what they have compiled
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(folder / "numba"))
    program = folder / f"{block.page.removesuffix('.md')}_{block.line}.py"
    program.write_text(block.text, encoding="utf-8")
    importlib.invalidate_caches()
    try:
        runpy.run_path(str(program), run_name="__main__")
    except ModuleNotFoundError as error:
        pytest.skip(f"{error.name} is not here")


def test_every_kind_has_an_example_that_is_run() -> None:
    text = (DOCS / "functions.md").read_text(encoding="utf-8")
    kinds = re.findall(r"^\| \[.*?\]\(#(.*?)\)", text, re.MULTILINE)
    _, *sections = re.split(r"^## ", text, flags=re.MULTILINE)
    running = {section.split("\n")[0].lower().replace(" ", "-") for section in sections if "ktask.run(" in section}
    assert len(kinds) >= 9
    assert set(kinds) == running
