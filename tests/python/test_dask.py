# SPDX-License-Identifier: BSD-3-Clause
"""``ktask.dask`` on a real cluster of several worker processes on this machine."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import ktask

distributed = pytest.importorskip("distributed")

import ktask.dask  # noqa: E402

UNITS = 20_000


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


class Marks:
    """A file with a byte for each unit: how often it was done. Only one thread at a time has a unit."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.write_bytes(bytes(UNITS))

    def add(self, start: int, end: int, n: int) -> None:
        file = os.open(self.path, os.O_RDWR)
        try:
            os.pwrite(file, bytes(mark + n for mark in os.pread(file, end - start, start)), start)
        finally:
            os.close(file)

    def put(self, start: int, end: int) -> None:
        """The kind of work that may be done twice."""
        file = os.open(self.path, os.O_RDWR)
        try:
            os.pwrite(file, b"\1" * (end - start), start)
        finally:
            os.close(file)

    def read(self) -> set[int]:
        return set(self.path.read_bytes())


@pytest.fixture
def marks(tmp_path: Path) -> Marks:
    return Marks(tmp_path / "marks")


def once(path: Path) -> bool:
    """For one caller in all processes."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True


def test_every_unit_once(client: Any, marks: Marks) -> None:
    def work(start: int, end: int, arg: Marks) -> None:
        arg.add(start, end, 1)

    seen: list[tuple[int, int]] = []
    ctl = ktask.Ctl(work, marks, progress=lambda done, total: seen.append((done, total)))
    ktask.dask.run(client, 0, UNITS, ctl)
    assert marks.read() == {1}
    assert seen == sorted(seen)
    assert seen[-1] == (UNITS, UNITS)
    assert len(seen) > 4

    ktask.run(0, UNITS, ctl)  # and unchanged on one machine
    assert marks.read() == {2}


def test_several_processes_take_part(client: Any, tmp_path: Path) -> None:
    """Each waits until the other has come."""

    def work(start: int, end: int, arg: Path) -> None:
        import time

        (arg / str(os.getpid())).touch()
        deadline = time.monotonic() + 60
        while len(list(arg.iterdir())) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.001)

    ktask.dask.run(client, 0, 100, ktask.Ctl(work, tmp_path))
    assert str(os.getpid()) not in {p.name for p in tmp_path.iterdir()}


def test_chunks_are_aligned(client: Any, tmp_path: Path) -> None:
    def work(start: int, end: int, arg: Path) -> None:
        assert start == 5 or start % 64 == 0
        assert end == 5 + UNITS or end % 64 == 0

    ktask.dask.run(client, 5, UNITS, ktask.Ctl(work, tmp_path, 100, align=64))


@pytest.mark.parametrize("scattered", [False, True])
def test_data_that_is_on_the_workers(client: Any, marks: Marks, scattered: bool) -> None:
    def work(start: int, end: int, arg: tuple[Marks, list[int]]) -> None:
        file, numbers = arg
        file.add(start, end, numbers[0])

    if scattered:
        [data] = client.scatter([(marks, [7])], broadcast=True)
    else:
        data = client.submit(lambda m: (m, list(range(7, 100_000))), marks)
    ktask.dask.run(client, 0, UNITS, ktask.Ctl(work, data))
    assert marks.read() == {7}


def own_pieces(client: Any) -> dict[str, Any]:
    """A piece of data on each worker, that says where it is."""
    workers = list(ktask.dask._addresses(client))
    assert len(workers) == 2
    return {worker: client.scatter(f"home: {worker}", workers=[worker], hash=False) for worker in workers}


def note(start: int, end: int, arg: tuple[Path, str]) -> None:
    folder, piece = arg
    at_home = piece == f"home: {distributed.get_worker().address}"
    (folder / f"{start} {'at home' if at_home else 'elsewhere'}").touch()


def test_the_worker_that_has_the_data_is_the_first(client: Any, tmp_path: Path) -> None:
    for piece in own_pieces(client).values():
        ktask.dask.run(client, 0, 100, ktask.Ctl(note, (tmp_path, piece), min_chunk_size=100))
        assert [p.name for p in tmp_path.iterdir()] == ["0 at home"]
        (tmp_path / "0 at home").unlink()


def test_blocks_are_done_where_their_data_is(client: Any, tmp_path: Path) -> None:
    """One part each, which takes until both are there: so nobody has time to help the other."""
    pieces = own_pieces(client)

    def work(start: int, end: int, arg: tuple[Path, str]) -> None:
        import time

        note(start, end, arg)
        deadline = time.monotonic() + 60
        while len(list(arg[0].iterdir())) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.001)

    for round, workers in enumerate([sorted(pieces), sorted(pieces, reverse=True)]):
        folder = tmp_path / str(round)
        folder.mkdir()
        blocks = [ktask.dask.Block(100 * i, 100, (folder, pieces[worker])) for i, worker in enumerate(workers)]
        ktask.dask.run_blocks(client, blocks, ktask.Ctl(work, min_chunk_size=100))
        assert {p.name for p in folder.iterdir()} == {"0 at home", "100 at home"}


def test_all_units_of_all_blocks_once(client: Any, marks: Marks) -> None:
    def work(start: int, end: int, arg: tuple[Marks, int]) -> None:
        arg[0].add(start, end, arg[1])

    size = UNITS // 4
    pieces = client.map(lambda m, i: (m, i), [marks] * 4, range(1, 5), pure=False)
    blocks = [ktask.dask.Block(i * size, size, piece) for i, piece in enumerate(pieces)]
    seen: list[tuple[int, int]] = []
    ctl = ktask.Ctl(work, progress=lambda done, total: seen.append((done, total)))
    ktask.dask.run_blocks(client, blocks, ctl)
    assert marks.path.read_bytes() == b"".join(bytes([i]) * size for i in range(1, 5))
    assert seen[-1] == (UNITS, UNITS)


def test_blocks_are_undone_with_their_own_data(client: Any, marks: Marks) -> None:
    def work(start: int, end: int, arg: tuple[Marks, int]) -> None:
        if end == UNITS:
            raise KeyError("bad unit")
        arg[0].add(start, end, arg[1])

    def undo(start: int, end: int, arg: tuple[Marks, int]) -> None:
        arg[0].add(start, end, -arg[1])

    size = UNITS // 2
    blocks = [ktask.dask.Block(i * size, size, (marks, i + 1)) for i in range(2)]
    with pytest.raises(KeyError, match="bad unit"):
        ktask.dask.run_blocks(client, blocks, ktask.Ctl(work, undo_func=undo))
    assert marks.read() == {0}


def test_parts_are_of_own_blocks_first_and_then_of_the_largest() -> None:
    cut = ktask.dask._Cut(job_of(1, 1), [(0, 100, None), (0, 100, None), (0, 300, None)])
    cut.blocks[1].on.add("worker")
    assert cut.is_at_home("worker")
    taken = []
    while (part := cut.take("worker", 0.5)) is not None:
        block, start, end = part
        taken += [cut.blocks.index(block)] * (end - start)
    assert taken == [1] * 100 + [2] * 300 + [0] * 100
    assert not cut.is_at_home("worker")


def test_a_worker_is_killed(client: Any, marks: Marks, tmp_path: Path) -> None:
    def work(start: int, end: int, arg: tuple[Marks, Path]) -> None:
        file, flag = arg
        file.put(start, end)
        if start > UNITS // 4 and once(flag):
            os.kill(os.getpid(), signal.SIGKILL)

    before = set(client.run(os.getpid).values())
    ktask.dask.run(client, 0, UNITS, ktask.Ctl(work, (marks, tmp_path / "killed")))
    assert marks.read() == {1}
    assert (tmp_path / "killed").exists()
    client.wait_for_workers(2, timeout=60)
    assert set(client.run(os.getpid).values()) != before


def test_a_worker_is_killed_in_a_reduction(client: Any, tmp_path: Path) -> None:
    flag = tmp_path / "killed"

    def func(start: int, end: int) -> int:
        if start > 500 and once(flag):
            os.kill(os.getpid(), signal.SIGKILL)
        return sum(range(start, end))

    assert ktask.dask.reduce(client, func, 1001, 0, lambda a, b: a + b) == 500500
    assert flag.exists()
    client.wait_for_workers(2, timeout=60)


def test_workers_come_and_go_meanwhile(marks: Marks, tmp_path: Path) -> None:
    """After the first part nothing is done before another worker has come; then one has to go."""
    first = UNITS // ktask.dask.TURNS

    def work(start: int, end: int, arg: tuple[Marks, Path]) -> None:
        import time

        file, seen = arg
        (seen / str(os.getpid())).touch()
        deadline = time.monotonic() + 60
        while start >= first and len(list(seen.iterdir())) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.001)
        file.put(start, end)

    seen = tmp_path / "seen"
    seen.mkdir()
    with (
        distributed.LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=":0") as cluster,
        distributed.Client(cluster) as client,
    ):
        reports = 0

        def progress(done: int, total: int) -> None:
            nonlocal reports
            reports += 1
            if reports == 1:
                cluster.scale(2)
                client.wait_for_workers(2, timeout=60)
            if reports == 5:
                cluster.scale(1)

        ktask.dask.run(client, 0, UNITS, ktask.Ctl(work, (marks, seen), progress=progress))
    assert marks.read() == {1}
    assert len(list(seen.iterdir())) == 2
    assert reports > 5


def fail_at(bad: int) -> Callable[[int, int, Marks], None]:
    def work(start: int, end: int, arg: Marks) -> None:
        if start <= bad < end:
            raise KeyError("bad unit")
        arg.add(start, end, 1)

    return work


def undo(start: int, end: int, arg: Marks) -> None:
    arg.add(start, end, -1)


@pytest.mark.parametrize("bad", [0, UNITS // 2, UNITS - 1])
def test_a_failure_is_raised_and_the_rest_undone(client: Any, marks: Marks, bad: int) -> None:
    for _ in range(2):
        with pytest.raises(KeyError, match="bad unit"):
            ktask.dask.run(client, 0, UNITS, ktask.Ctl(fail_at(bad), marks, undo_func=undo))
        assert marks.read() == {0}


def test_a_result_is_a_failure_as_on_one_machine(client: Any) -> None:
    with pytest.raises(ktask.TaskError) as raised:
        ktask.dask.run(client, 0, 100, ktask.Ctl(lambda start, end, arg: 7, min_chunk_size=100))
    assert (raised.value.code, raised.value.start, raised.value.end) == (7, 0, 100)


def test_what_fails_is_tried_again_if_asked_for(client: Any, marks: Marks, tmp_path: Path) -> None:
    def work(start: int, end: int, arg: tuple[Marks, Path]) -> None:
        if once(arg[1]):
            raise OSError("for once")
        arg[0].put(start, end)

    ktask.dask.run(client, 0, UNITS, ktask.Ctl(work, (marks, tmp_path / "failed")), retries=1)
    assert marks.read() == {1}


def test_progress_that_raises_stops_it(client: Any, marks: Marks) -> None:
    def work(start: int, end: int, arg: Marks) -> None:
        arg.add(start, end, 1)

    def progress(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ktask.dask.run(client, 0, UNITS, ktask.Ctl(work, marks, undo_func=undo, progress=progress))
    assert marks.read() == {0}


def test_reduce(client: Any) -> None:
    assert ktask.dask.reduce(client, lambda a, b: sum(range(a, b)), 100_001, 7, lambda a, b: a + b) == 5000050007
    assert ktask.dask.reduce(client, lambda a, b: sum(range(a, b, 3)), range(1, 1000, 3), 0, lambda a, b: a + b) == sum(
        range(1, 1000, 3)
    )
    assert ktask.dask.reduce(client, lambda a, b: 1, 0, "init", lambda a, b: "combined") == "init"


def test_a_reduction_is_checked_before_it_is_sent(client: Any) -> None:
    with pytest.raises(TypeError, match="func must be a Python callable that returns a result, not int: 3"):
        ktask.dask.reduce(client, 3, 10, 0, lambda a, b: a + b)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="combine must be a callable of two results, not NoneType: None"):
        ktask.dask.reduce(client, lambda a, b: 1, 10, 0, None)  # type: ignore[arg-type]


@pytest.mark.parametrize("numbers", [range(100_000), range(3, 50_000, 7), range(10, 0, -1)])
def test_deterministic_reduce_has_the_bits_of_one_machine(client: Any, numbers: range) -> None:
    def func(start: int, end: int) -> float:
        total = 0.0
        for i in range(start, end, numbers.step):
            total += 1 / (i + 1)
        return total

    def add(a: float, b: float) -> float:
        return a + b

    there = ktask.dask.reduce(client, func, numbers, 0.0, add, deterministic=True)
    assert there == ktask.reduce(func, numbers, 0.0, add, deterministic=True)


def test_bad_input(client: Any) -> None:
    def work(start: int, end: int, arg: object) -> None:
        raise AssertionError("never called")

    ktask.dask.run(client, 0, 0, ktask.Ctl(work))
    with pytest.raises(TypeError, match="must be Python callables, which can be sent"):
        ktask.dask.run(client, 0, 1, ktask.Ctl(12345))
    with pytest.raises(ValueError, match="iter_func and trace are for one machine"):
        ktask.dask.run(client, 0, 1, ktask.Ctl(work, iter_func=lambda p, n: p + n))
    with pytest.raises(TypeError, match="start must be an int on a cluster, not str"):
        ktask.dask.run(client, "0", 1, ktask.Ctl(work))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"ctl must be a ktask\.Ctl"):
        ktask.dask.run(client, 0, 1, work)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="retries"):
        ktask.dask.run(client, 0, 1, ktask.Ctl(work), retries=-1)
    with pytest.raises(ValueError, match="func_arg must be None, not 3"):
        ktask.dask.run_blocks(client, [ktask.dask.Block(0, 1, None)], ktask.Ctl(work, 3))
    with pytest.raises(ValueError, match="size of a block"):
        ktask.dask.run_blocks(client, [ktask.dask.Block(0, -1, None)], ktask.Ctl(work))
    with pytest.raises(TypeError, match=r"blocks must be ktask.dask.Block, not int: 3"):
        ktask.dask.run_blocks(client, [3], ktask.Ctl(work))  # type: ignore[list-item]
    ktask.dask.run_blocks(client, [], ktask.Ctl(work))


def job_of(least: int, align: int) -> Any:
    return ktask.dask._Job(None, least, 0, align, None)


def test_parts_follow_the_cpus_and_cover_the_range() -> None:
    cut = ktask.dask._Cut(job_of(16, 8), [(10, 10_000, None)])
    shares, at = [0.75, 0.25], 10
    sizes: list[int] = []
    while (part := cut.take(str(len(sizes) % 2), shares[len(sizes) % 2])) is not None:
        _, start, end = part
        assert start == at
        at = end
        assert at == 10_010 or (at % 8 == 0 and at - start >= 16)
        sizes.append(end - start)
    assert at == 10_010
    assert sizes[0] > 2 * sizes[1]
    assert len(sizes) < 2 * ktask.dask.MOST_TURNS
