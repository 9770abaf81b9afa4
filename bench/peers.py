# SPDX-License-Identifier: BSD-3-Clause
"""The C libraries that ktask is measured beside: how a program is built for each of them, and started."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

HERE = Path(__file__).resolve().parent
BUILD = HERE / "build"
CSRC = HERE.parent / "csrc"


@dataclass(frozen=True)
class Peer:
    """One library in one mode. `package` is what has it on Debian."""

    flags: tuple[str, ...]
    package: str = "g++"
    compiler: str = "g++"
    environment: dict[str, str] = field(default_factory=dict)


PEERS = {
    "ktask": Peer(("-DPEER_ktask", f"-I{CSRC / 'include'}", str(BUILD / "ktask" / "libktask.a"), "-pthread")),
    "libgomp dynamic": Peer(("-DPEER_openmp", "-DSCHEDULE=dynamic", "-fopenmp")),
    "libgomp passive": Peer(
        ("-DPEER_openmp", "-DSCHEDULE=dynamic", "-fopenmp"), environment={"OMP_WAIT_POLICY": "passive"}
    ),
    "libgomp static": Peer(("-DPEER_openmp", "-DSCHEDULE=static", "-DONE_BLOCK_EACH", "-fopenmp")),
    "libgomp guided": Peer(("-DPEER_openmp", "-DSCHEDULE=guided", "-fopenmp")),
    "libomp dynamic": Peer(
        ("-DPEER_openmp", "-DSCHEDULE=dynamic", "-fopenmp"), package="clang libomp-dev", compiler="clang++"
    ),
    "oneTBB": Peer(("-DPEER_tbb", "-ltbb"), package="libtbb-dev"),
    "pthreadpool": Peer(("-DPEER_pthreadpool", "-lpthreadpool"), package="libpthreadpool-dev"),
}


@cache
def build(source: str, peer: str) -> Path | None:
    """Compiles bench/<source>.cpp for a peer; None where the machine has not got it."""
    how = PEERS[peer]
    if peer == "ktask":
        subprocess.run(["make", "-s", "-C", CSRC, f"BUILD={BUILD / 'ktask'}"], check=True)
    program = BUILD / f"{source}-{peer.replace(' ', '-')}"
    program.parent.mkdir(exist_ok=True)
    command = [how.compiler, "-O2", "-std=c++17", "-Wall", str(HERE / f"{source}.cpp"), "-o", str(program), *how.flags]
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:  # the compiler
        return None
    if result.returncode and peer == "ktask":
        raise SystemExit(f"{source}.cpp does not compile:\n{result.stderr}")
    return None if result.returncode else program


def start(program: Path, peer: str, *arguments: object) -> subprocess.Popen[str]:
    """Starts a program of build() as this peer is to be run; its output can be read."""
    return subprocess.Popen(
        [str(program), *map(str, arguments)],
        env={**os.environ, **PEERS[peer].environment},
        stdout=subprocess.PIPE,
        text=True,
    )
