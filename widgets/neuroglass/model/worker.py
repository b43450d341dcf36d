"""One thread per live model: every forward pass happens here, one step at a time.

Jobs come in from cells, widget callbacks and background work, on any thread; results leave through
``Job.result()`` or a done callback. A job is a callable; if it returns a generator, each ``yield``
is where a more urgent job may go first and where a cancel is honoured. Of the jobs with one key,
only the newest survives: latest-wins belongs to the worker, so no view can forget it.

Done callbacks run on a second thread, one after another. They take the locks of views, and a
user's observer may hold such a lock while it waits for the worker: run there, they would deadlock.
"""

from __future__ import annotations

import atexit
import heapq
import inspect
import itertools
import logging
import queue
import threading
import weakref
from collections.abc import Callable, Generator, Hashable
from enum import IntEnum
from functools import partial
from typing import Any, Generic, TypeVar, cast

from neuroglass.model.errors import NeuroglassError

T = TypeVar("T")
_log = logging.getLogger(__name__)
_SLICE = 0.05  # seconds; a waiting caller wakes this often, so that an interrupt gets through


class Priority(IntEnum):
    """Who goes first; smaller is more urgent."""

    INTERACTIVE = 0
    GENERATION = 1
    BACKGROUND = 2


class Cancelled(NeuroglassError):
    """The job was cancelled, or a newer one with the same key took its place (`superseded`)."""

    def __init__(
        self, message: str = "The job was cancelled.", *, superseded: bool = False
    ) -> None:
        super().__init__(message)
        self.superseded = superseded


class Preempted(Exception):
    """More urgent work waits: a step that can be done again stops here (see ``Job.check``)."""


class Job(Generic[T]):
    """A handle on submitted work. Made by ``Worker.submit`` only."""

    def __init__(
        self,
        make: Callable[[Job[T]], Any],
        priority: Priority,
        key: Hashable,
        deliver: Callable[[Callable[[], None]], None],
        outranked: Callable[[Priority], bool],
    ) -> None:
        self._make = make
        self._deliver = deliver
        self._outranked = outranked
        self._steps: Generator[Any, None, T] | None = None
        self.priority = priority
        self.key = key
        self.superseded = False
        self._cancel = threading.Event()
        self._done = threading.Event()
        self._settle = threading.Lock()
        self._running = False
        self._value: T | None = None
        self._error: BaseException | None = None
        self._callbacks: list[Callable[[Job[T]], None]] = []

    @property
    def cancel_requested(self) -> bool:
        """True from the moment of ``cancel()``; long steps look at it and stop."""
        return self._cancel.is_set()

    @property
    def done(self) -> bool:
        return self._done.is_set()

    def check(self, *, preempt: bool = False) -> None:
        """Stop the running step here if the job has been cancelled (raises ``Cancelled``).

        Args:
            preempt: stop too if a more urgent job waits (raises ``Preempted``). For a long step
                that loses little when it is done again: yield, then repeat it.
        """
        if self._cancel.is_set():
            raise Cancelled(superseded=self.superseded)
        if preempt and self._outranked(self.priority):
            raise Preempted

    def cancel(self) -> None:
        """Ask the job to stop: at once if it waits, else at its next yield or ``check()``."""
        self._cancel.set()
        with self._settle:
            waiting = not self._running
        if waiting:
            self._finish(error=Cancelled(superseded=self.superseded))

    def result(self, timeout: float | None = None) -> T:
        """Wait for the value, in slices of 50 ms so that an interrupt works on any platform.

        Args:
            timeout: seconds; None waits for as long as it takes.

        Raises:
            Cancelled: the job was cancelled or superseded.
            TimeoutError: it took longer than `timeout`; the job goes on.
            Exception: whatever the job raised.
        """
        slices = itertools.count() if timeout is None else range(max(1, round(timeout / _SLICE)))
        try:
            for _ in slices:
                if self._done.wait(_SLICE):
                    break
            else:
                raise TimeoutError(f"The job is not done after {timeout} s; it goes on.")
        except KeyboardInterrupt:
            self.cancel()
            self._done.wait(10)  # hooks are gone before the cell gets its prompt back
            raise
        if self._error is not None:
            raise self._error
        return cast("T", self._value)

    def on_done(self, call: Callable[[Job[T]], None]) -> None:
        """Call `call(job)` once the job has ended in any way, on the delivery thread."""
        with self._settle:
            if not self._done.is_set():
                self._callbacks.append(call)
                return
        self._deliver(partial(call, self))

    def _step(self) -> bool:
        """Run up to the next yield; True when the job has ended. Only the worker calls this."""
        with self._settle:
            if self._done.is_set():
                return True
            self._running = True
        try:
            self.check()
            if self._steps is None:
                made = self._make(self)
                if not inspect.isgenerator(made):
                    self._finish(value=made)
                    return True
                self._steps = cast("Generator[Any, None, T]", made)
            next(self._steps)
        except StopIteration as stop:
            self._finish(value=stop.value)
            return True
        except BaseException as error:
            self._close_steps()
            self._finish(error=error)
            return True
        return False

    def _close_steps(self) -> None:
        if self._steps is not None:
            self._steps.close()

    def _abandon(self) -> None:
        """End a job that will get no further step (the worker is closed)."""
        self._cancel.set()
        self._close_steps()
        self._finish(error=Cancelled("The model was closed."))

    def _finish(self, *, value: T | None = None, error: BaseException | None = None) -> None:
        with self._settle:
            if self._done.is_set():
                return
            self._value, self._error = value, error
            self._done.set()
            callbacks, self._callbacks = self._callbacks, []
        for call in callbacks:
            self._deliver(partial(call, self))


class _Delivery:
    """The thread on which done callbacks run, in the order in which the jobs ended."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._starting = threading.Lock()
        self.thread: threading.Thread | None = None

    def __call__(self, call: Callable[[], None]) -> None:
        with self._starting:
            if self.thread is None:
                self.thread = threading.Thread(target=self._loop, name=self._name, daemon=True)
                self.thread.start()
        self._calls.put(call)

    def _loop(self) -> None:
        while (call := self._calls.get()) is not None:
            try:
                call()
            except Exception:
                # the thread serves other jobs too: report, go on
                _log.exception("A callback of a finished job failed.")
            del call  # an idle thread must not keep the last job's tensors alive

    def close(self) -> None:
        """End the thread after the calls that wait."""
        self._calls.put(None)


class _Queue:
    """What the thread shares with its owner; holds no reference to the owner."""

    def __init__(self, name: str) -> None:
        self.deliver = _Delivery(f"{name}-delivery")
        self.ready = threading.Condition()
        self.heap: list[tuple[int, int, Job[Any]]] = []
        self.newest: dict[Hashable, Job[Any]] = {}
        self.order = itertools.count()
        self.closed = False
        self.thread: threading.Thread | None = None
        self.current: Job[Any] | None = None

    def urgent(self, priority: Priority) -> bool:
        """Whether a job more urgent than this waits or runs; the lock is held."""
        jobs = [job for *_, job in self.heap[:1]] + [j for j in (self.current,) if j is not None]
        return any(job.priority < priority for job in jobs)

    def outranked(self, priority: Priority) -> bool:
        """Whether a job more urgent than this waits."""
        with self.ready:
            return any(job.priority < priority for *_, job in self.heap[:1])

    def loop(self) -> None:
        while True:
            with self.ready:
                self.current = None
                while not self.heap and not self.closed:
                    self.ready.wait()
                if self.closed:
                    return
                priority, order, job = heapq.heappop(self.heap)
                self.current = job
            ended = job._step()
            with self.ready:
                closed = self.closed
                if not ended and not closed:
                    heapq.heappush(self.heap, (priority, order, job))
                elif ended and self.newest.get(job.key) is job:
                    del self.newest[job.key]
            if not ended and closed:
                job._abandon()
            del job  # an idle thread must not keep the last job's tensors alive

    def close(self) -> None:
        with self.ready:
            self.closed = True
            waiting = [job for *_, job in self.heap]
            current = self.current
            self.heap.clear()
            self.newest.clear()
            self.ready.notify_all()
        if current is not None:
            current.cancel()
        for job in waiting:
            job._abandon()
        self.deliver.close()


class Worker:
    """The one thread that runs a live model. Starts with the first job; ``close()`` ends it."""

    def __init__(self, name: str = "neuroglass") -> None:
        self._name = name
        self._queue = _Queue(name)
        # the thread holds the queue only, so a forgotten Worker ends its thread
        self._finalizer = weakref.finalize(self, self._queue.close)
        atexit.register(_at_exit, weakref.ref(self))

    def submit(
        self,
        make: Callable[[Job[T]], T | Generator[Any, None, T]],
        *,
        priority: Priority = Priority.INTERACTIVE,
        key: Hashable = None,
    ) -> Job[T]:
        """Queue `make(job)`; with a `key`, an unfinished job of the same key is superseded.

        Called from the worker's own thread, the job runs inline, to its end, before this returns:
        a job may therefore use any blocking call of the live model.

        Raises:
            NeuroglassError: the worker is closed.
        """
        if threading.current_thread() is self._queue.thread:
            # part of the job that runs: nothing can go before it
            inner: Job[T] = Job(make, priority, key, self._queue.deliver, lambda _: False)
            while not inner._step():
                pass
            return inner
        job: Job[T] = Job(make, priority, key, self._queue.deliver, self._queue.outranked)
        older: Job[Any] | None = None
        with self._queue.ready:
            if self._queue.closed:
                raise NeuroglassError("The model is closed.", "Load it again with ng.load().")
            if key is not None:
                older = self._queue.newest.get(key)
                self._queue.newest[key] = job
            heapq.heappush(self._queue.heap, (int(priority), next(self._queue.order), job))
            if self._queue.thread is None:
                self._queue.thread = threading.Thread(
                    target=self._queue.loop, name=f"{self._name}-worker", daemon=True
                )
                self._queue.thread.start()
            self._queue.ready.notify()
        if older is not None and not older.done:
            older.superseded = True
            older.cancel()
        return job

    def give_way(self, priority: Priority = Priority.BACKGROUND) -> None:
        """Wait until no job more urgent than `priority` waits or runs.

        For work on other threads that would take the processor from such jobs. It returns at once
        on the worker's own thread.
        """
        if threading.current_thread() is self._queue.thread:
            return
        with self._queue.ready:
            while not self._queue.closed and self._queue.urgent(priority):
                self._queue.ready.wait(_SLICE / 10)

    def close(self) -> None:
        """End the thread; unfinished jobs end as cancelled."""
        self._finalizer()

    @property
    def closed(self) -> bool:
        return self._queue.closed


def _at_exit(ref: weakref.ref[Worker]) -> None:
    # a daemon thread inside a forward pass while the interpreter goes away would crash it
    if (worker := ref()) is not None:
        thread = worker._queue.thread
        worker.close()
        if thread is not None:
            thread.join(5)
