# SPDX-License-Identifier: BSD-3-Clause
"""The calls of an executor, and who makes them.

Words
  call      what ``submit`` was given, and the future for its result. Those not begun wait in a queue, first come first
            served.
  thread    one of the executor's own: there are as many as there are unfinished calls, up to ``max_workers``. Most of
            them are parked, most of the time.
  helper    a thread of ktask's pool (crew.c), at work for as long as the limits and manners of the pool allow.

How calls are made
  1. A thread that finds calls in the queue, and nobody leading, leads: it makes one call after the other, while helpers
     that it, ``submit`` and other helpers call do the same. There are as many at work as there are free CPUs.
  2. When the queue is empty it waits until its helpers are gone, and parks. Calls that come meanwhile are another
     thread's, who fills in.
  3. While calls wait, one of the parked threads watches. Where no call was begun for a while, and one of those under
     way is asleep, that waits for something, maybe for a call in the queue, and has left its CPU: the watch fills in.
     It also does, after much longer, where all look busy: a call may wait for another one and burn its CPU meanwhile.
  4. Where calls wait so much that CPUs are idle, be it only for their turn at the interpreter, the watch fills in as
     well, and goes on for a while; then the next thread watches. So there come to be as many threads as it takes to
     keep the CPUs busy.
  5. Where calls do little else than wait, that would take too long for each: then nobody watches or helps, and every
     thread fills in, as in any other thread pool. That holds for a while, until the watch has found it again.

So no call waits for ever for another one as long as ``max_workers`` allows both; and computing calls have no more
threads than there are CPUs for them.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures.thread import BrokenThreadPool
from logging import getLogger
from time import monotonic, process_time, sleep
from typing import Any

from ktask._core import ffi, lib

_HAS_CREWS = hasattr(lib, "crew_open")

PATIENCE = 0.002
"""The watch looks so often, in seconds. Long beside a wake-up, short beside what people notice."""

LONG = 0.25
"""After so long without a call begun, the watch fills in although all look busy."""

RENEWED = 0.1
"""So often the watch has to find anew that calls wait much, or do little else: its patience is little beside that."""

HALF_A_CPU = 0.5
"""A process that uses less of its CPUs' time than that waits for something else."""

IDLE = 0.4
"""CPUs that the threads at work leave unused, on average over some looks: more than that is worth another thread."""

GAPS = 0.15
"""The same where several compute at once, and wait for the interpreter in between: another one fills those gaps."""

SEVERAL = 1.2
"""A process that uses more CPUs than that has several threads that compute at once."""

LOOKS = 8
"""So many count in that average."""

WORTH = 0.0001
"""Calls in the queue that take less than this in all, in seconds, are not worth a helper, which takes that to come."""

AGAIN = 0.0001
"""Helpers are called at least so far apart: one that was called takes as long to come and take its call."""

NOT_YET = 0.002
"""And so far apart where none is to be had: to ask lets go of the interpreter, which somebody else may take."""

LOGGER = getLogger("concurrent.futures")


class Call:
    __slots__ = ("args", "fn", "future", "kwargs")

    def __init__(
        self, future: Future[Any], fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        self.future = future
        self.fn = fn
        self.args = args
        self.kwargs = kwargs


class Work:
    """The calls of one executor, and who makes them."""

    exiting = False
    """The interpreter ends, and no executor takes calls any more."""

    def __init__(
        self, max_workers: int, name: str, initializer: Callable[..., object] | None, initargs: tuple[Any, ...]
    ) -> None:
        self.max_workers = max_workers
        self.name = name
        self.initializer = initializer
        self.initargs = initargs
        self.broken = ""  # or why
        self.closing = False
        self.calls: deque[Call] = deque()
        self.threads: set[threading.Thread] = set()
        self.initialized = threading.local()
        # Held while a call is submitted, first of the two; a thread that is started need not wait for it.
        self.submitting = threading.Lock()
        # An RLock's, so that a garbage collection in the middle may drop the executor, and close the work.
        self.changed = threading.Condition()
        # What follows is changed with it held only, but for the last two.
        self.under_way: set[int] = set()  # the threads that make calls, by the system's numbers
        self.begun = 0  # calls, ever
        self.seconds = 0.0  # what a call takes, on average; 0: not known
        self.parked = 0  # threads,
        self.woken = 0  # and how many of them are about to wake up
        self.leading = False
        self.gathering = False  # the leader waits for its helpers
        self.watching = False
        self.waiting = False  # calls do little else,
        self.waiting_since = 0.0  # as the watch has found
        self.idle = 0.0  # CPUs, while there are calls
        self.calling = threading.Lock()  # held while a helper is called: the crew is not closed meanwhile
        self.crew: Any = None  # the leader's to make
        self.call_again_at = 0.0

    # ---- from outside ----------------------------------------------------------------------------------------------

    def submit(self, call: Call) -> None:
        with self.submitting:
            with self.changed:
                if self.broken:
                    raise BrokenThreadPool(self.broken)
                if self.closing:
                    raise RuntimeError("cannot schedule new futures after shutdown")
                if Work.exiting:
                    raise RuntimeError("cannot schedule new futures after interpreter shutdown")
                self.calls.append(call)
                more_threads = len(self.calls) + len(self.under_way) > len(self.threads) < self.max_workers
                if not more_threads:
                    self.wake_for_calls()
                helpers = self.leading
            if more_threads:
                self.start_thread()
        if helpers and (now := monotonic()) >= self.call_again_at:
            self.call_helper(now)

    def start_thread(self) -> None:
        """It takes the first call, or will see when it may; so without threads there never is one."""
        thread = threading.Thread(name=f"{self.name}_{len(self.threads)}", target=self.serve)
        try:
            thread.start()
        except RuntimeError:
            if not self.threads:
                self.calls.clear()
                raise
            with self.changed:
                self.wake_for_calls()
        else:
            self.threads.add(thread)

    def shut_down(self, cancel: bool = False) -> set[threading.Thread]:
        """Closes, and returns the threads to wait for."""
        with self.submitting:
            cancelled = self.close(take_queue=cancel)
        for call in cancelled:
            call.future.cancel()
        return self.threads

    def close(self, take_queue: bool = False) -> list[Call]:
        """Takes no more calls, and lets the threads end when the queue is empty. Returns the calls taken out of it."""
        with self.changed:
            self.closing = True
            taken = list(self.calls) if take_queue else []
            if take_queue:
                self.calls.clear()
            self.wake_to_end()
            return taken

    def abandon(self) -> None:
        """In a forked child: whoever held the locks and would make the calls is in the parent."""
        self.changed, self.calling = threading.Condition(), threading.Lock()
        self.calls.clear()
        self.closing = True
        self.crew = None

    def break_down(self, why: str) -> None:
        with self.changed:
            self.broken = why
            calls = list(self.calls)
            self.calls.clear()
            self.wake_to_end()
        for call in calls:
            if call.future.set_running_or_notify_cancel():
                call.future.set_exception(BrokenThreadPool(why))

    # ---- threads: with self.changed held, but for the last -----------------------------------------------------------

    def wake(self, n: int) -> None:
        n = min(n, self.parked - self.woken)
        if n > 0:
            self.woken += n
            self.changed.notify(n)

    def wake_to_end(self) -> None:
        """Threads that are parked while calls wait are not needed for these; when there are none, they may end."""
        if self.closing and not self.calls:
            self.wake(self.parked)

    def wake_for_calls(self) -> None:
        """Wakes somebody up if one of the roles is free; whoever is about to wake up will see to it."""
        needed = self.waiting or not (self.woken or (self.leading and self.watching and not self.gathering))
        if needed and self.available():
            self.wake(1)

    def available(self) -> bool:
        """May a call be begun?"""
        return bool(self.calls) and len(self.under_way) < self.max_workers

    def next_role(self) -> Callable[[], None] | None:
        """Parks until there is something to do. None: no more."""
        with self.changed:
            while True:
                if self.available():
                    if not self.leading:
                        self.leading = True
                        return self.lead
                    if self.waiting or self.gathering:
                        return self.fill_in
                    if not self.watching:
                        self.watching = True
                        return self.watch
                elif self.closing and not self.calls:
                    return None
                self.parked += 1
                self.changed.wait()
                self.parked -= 1
                self.woken -= 1

    def serve(self) -> None:
        """What a thread does from its start to its end."""
        if not self.is_initialized():
            return
        while (role := self.next_role()) is not None:
            role()

    # ---- roles -----------------------------------------------------------------------------------------------------

    def lead(self) -> None:
        """Step 1, and the first half of step 2."""
        call = self.take()
        if self.crew is None and _HAS_CREWS:
            self.handle = ffi.new_handle(self)
            self.crew = ffi.gc(lib.py_crew_new(self.handle), lib.crew_free) or None  # where there is no memory
        crew = self.crew
        if crew is not None:
            lib.crew_open(crew)
            self.call_again_at = 0.0  # who called before was too early
        while call is not None:
            self.make(call)
            del call  # in which there may be much
            call = self.take()
        with self.changed:
            self.gathering = True
            self.wake_for_calls()
        if crew is not None and crew is self.crew:
            with self.calling:
                pass  # whoever holds it now still calls a helper; who takes it later sees that the leader gathers
            lib.crew_close(crew)
        with self.changed:
            self.leading = self.gathering = False

    def call_helper(self, now: float) -> None:
        if not self.available() or self.crew is None or self.waiting or not self.leading:
            return
        if 0 < self.seconds * len(self.calls) < WORTH or not self.calling.acquire(blocking=False):
            return
        try:
            if self.leading and not self.gathering:
                self.call_again_at = now + NOT_YET
                if lib.crew_call(self.crew):
                    self.call_again_at = now + AGAIN
        finally:
            self.calling.release()

    def help(self) -> bool:
        """One call, by a helper. False: there is none just now."""
        return self.is_initialized() and self.make_first()

    def fill_in(self, until: float = 0.0) -> None:
        """Calls that nobody else can make; and more until then, and as long as all do little else than wait."""
        while self.make_first() and (self.waiting or self.gathering or monotonic() < until):
            pass

    def watch(self) -> None:
        """Step 3."""
        since = monotonic()
        needed, until = False, 0.0
        while not needed:
            begun, begin, cpu = self.begun, monotonic(), process_time()
            sleep(PATIENCE)
            now = monotonic()
            used, cpus = process_time() - cpu, lib.py_max_helpers() + 1
            with self.changed:
                if not self.calls or not self.leading:
                    break
                if self.begun != begun:
                    since = now
                if not self.available():
                    continue
                asleep = 0
                # Who comes late itself has waited for the interpreter or for a CPU, as the others may.
                if now - begin < 2 * PATIENCE:
                    asleep = sum(map(_is_asleep, self.under_way))
                at_work = len(self.under_way)
                idle = min(at_work, cpus) - min(at_work - asleep, cpus)
                self.idle += (idle - self.idle) / LOOKS
                if asleep and self.begun == begun:
                    needed = True
                    self.waiting = used < HALF_A_CPU * (now - begin)
                    self.waiting_since = now
                elif asleep and self.idle > (GAPS if used > SEVERAL * (now - begin) else IDLE):
                    needed = True
                    until = now + RENEWED
                elif self.gathering or now - since > LONG:
                    needed = True
        with self.changed:
            self.watching = False
        if needed:
            self.fill_in(until)

    # ---- calls -----------------------------------------------------------------------------------------------------

    def is_initialized(self) -> bool:
        """Is this thread ready to make calls? False: the executor is broken."""
        if self.initializer is None or hasattr(self.initialized, "done"):
            return True
        if self.broken:
            return False
        try:
            self.initializer(*self.initargs)
        except BaseException:
            LOGGER.critical("Exception in initializer:", exc_info=True)
            self.break_down("A thread initializer failed, the thread pool is not usable anymore")
            return False
        self.initialized.done = True
        return True

    def take(self) -> Call | None:
        """Begins the first in the queue. None: none may be begun."""
        with self.changed:
            if not self.available():
                return None
            call = self.calls.popleft()
            self.under_way.add(threading.get_native_id())
            self.begun += 1
            if self.calls:
                self.wake_for_calls()
            else:
                self.wake_to_end()
            return call

    def make(self, call: Call) -> None:
        begin = monotonic()
        if begin >= self.call_again_at:
            self.call_helper(begin)
        if not call.future.set_running_or_notify_cancel():
            self.call_ends(begin)
            return
        try:
            result = call.fn(*call.args, **call.kwargs)
        except BaseException as error:
            # First the one, so that who waits for the other finds this thread free.
            self.call_ends(begin)
            call.future.set_exception(error)
            del call  # or the exception, whose traceback has this frame, would keep itself alive
        else:
            self.call_ends(begin)
            call.future.set_result(result)

    def make_first(self) -> bool:
        """Takes one and makes it. False: there is none."""
        call = self.take()
        if call is not None:
            self.make(call)
        return call is not None

    def call_ends(self, begin: float) -> None:
        now = monotonic()
        seconds = now - begin
        with self.changed:
            self.under_way.discard(threading.get_native_id())
            self.seconds += (seconds - self.seconds) / 8 if self.seconds else seconds
            if self.waiting and now - self.waiting_since > RENEWED:
                self.waiting = False
            if self.calls:
                self.wake_for_calls()


def _is_asleep(thread: int) -> bool:
    """Is the thread neither on a CPU nor waiting for one? Where the system does not tell, it may be."""
    try:
        with open(f"/proc/self/task/{thread}/stat", "rb") as file:
            return file.read().rpartition(b") ")[2][:1] != b"R"
    except OSError:
        return True


if _HAS_CREWS:

    @ffi.def_extern(error=False)
    def py_crew_work(handle: Any) -> bool:
        return ffi.from_handle(handle).help()  # type: ignore[no-any-return]
