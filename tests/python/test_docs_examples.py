# SPDX-License-Identifier: BSD-3-Clause
"""The code of the README and of all pages works: see run_page.py."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from run_page import blocks_of

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
RUNNER = Path(__file__).with_name("run_page.py")


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with libktask.a."""
    folder = tmp_path_factory.mktemp("library")
    make = ["make", "-s", "-j2", "-C", str(ROOT / "csrc"), f"BUILD={folder}", f"{folder}/libktask.a"]
    subprocess.run(make, check=True, timeout=100)
    return folder


@pytest.mark.parametrize("page", [page for page in PAGES if blocks_of(page.read_text())], ids=lambda page: page.name)
def test_page(page: Path, library: Path, tmp_path: Path) -> None:
    environment = os.environ | {
        "KTASK_LIBRARY": str(library),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(tmp_path),  # where pyximport and numba keep what they have compiled
        "NUMBA_CACHE_DIR": str(tmp_path / "numba"),
    }
    process = subprocess.run(
        [sys.executable, str(RUNNER), str(page)],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=100,
        check=False,
    )
    print(process.stdout)
    assert process.returncode == 0, process.stdout


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_python_hides_in_a_block_without_a_language(page: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    assert re.findall(r"^ {4,}(?:import |from \w+ import |def \w+\(|>>> |ktask\.).*", text, re.MULTILINE) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_all_c_is_run(page: Path) -> None:
    blocks = [block for block in blocks_of(page.read_text()) if block.language in ("c", "cpp") and not block.file]
    assert [block.text for block in blocks if "int main(" not in block.text] == []


def test_every_kind_has_an_example_that_is_run() -> None:
    text = (ROOT / "docs" / "functions.md").read_text(encoding="utf-8")
    kinds = re.findall(r"^\| \[.*?\]\(#(.*?)\)", text, re.MULTILINE)
    _, *sections = re.split(r"^## ", text, flags=re.MULTILINE)
    running = {section.split("\n")[0].lower().replace(" ", "-") for section in sections if "ktask.run(" in section}
    assert len(kinds) >= 9
    assert set(kinds) == running
