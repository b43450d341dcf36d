"""The worker: order, latest-wins, cancel, interrupt, errors, life."""

from __future__ import annotations

import gc
import random
import signal
import subprocess
import sys
import textwrap
import threading
import time
import weakref
from collections.abc import Callable, Generator, Iterator
from functools import partial
from typing import Any

import pytest

from neuroglass.model.errors import NeuroglassError
from neuroglass.model.worker import Cancelled, Job, Preempted, Priority, Worker


@pytest.fixture
def worker() -> Iterator[Worker]:
    made = Worker("test")
    yield made
    made.close()


class Gate:
    """A job that holds the worker until it is opened."""

    def __init__(self, worker: Worker) -> None:
        self.entered, self.open = threading.Event(), threading.Event()
        self.job = worker.submit(self._hold)
        assert self.entered.wait(5)

    def _hold(self, _: Job[Any]) -> None:
        self.entered.set()
        assert self.open.wait(20)


def then(call: Callable[[Any], None], value: Any) -> Callable[[Job[None]], None]:
    """A job that calls `call(value)`."""
    return lambda _: call(value)


def test_returns_the_value_of_a_function_and_of_a_generator(worker: Worker) -> None:
    def steps(_: Job[int]) -> Generator[None, None, int]:
        yield
        yield
        return 7

    assert worker.submit(lambda _: 3).result() == 3
    assert worker.submit(steps).result() == 7


def test_everything_runs_on_one_thread_that_is_not_ours(worker: Worker) -> None:
    seen = {worker.submit(lambda _: threading.get_ident()).result() for _ in range(5)}
    assert len(seen) == 1
    assert threading.get_ident() not in seen


def test_urgent_jobs_overtake_waiting_ones(worker: Worker) -> None:
    gate, order = Gate(worker), list[Priority]()
    jobs = [
        worker.submit(then(order.append, p), priority=p)
        for p in (Priority.BACKGROUND, Priority.GENERATION, Priority.INTERACTIVE)
    ]
    gate.open.set()
    for job in jobs:
        job.result(5)
    assert order == [Priority.INTERACTIVE, Priority.GENERATION, Priority.BACKGROUND]


def test_an_interactive_job_runs_between_the_steps_of_a_background_job(worker: Worker) -> None:
    order: list[str] = []
    waiting = threading.Event()

    def background(_: Job[None]) -> Generator[None, None, None]:
        order.append("first step")
        waiting.set()
        time.sleep(0.1)
        yield
        order.append("second step")

    slow = worker.submit(background, priority=Priority.BACKGROUND)
    assert waiting.wait(5)
    worker.submit(lambda _: order.append("interactive")).result(5)
    slow.result(5)
    assert order == ["first step", "interactive", "second step"]


def test_a_background_step_makes_room_in_its_middle_and_is_done_again(worker: Worker) -> None:
    began, asked = threading.Event(), threading.Event()
    order: list[str] = []

    def background(job: Job[str]) -> Generator[None, None, str]:
        while True:
            yield
            try:
                order.append("begins")
                began.set()
                asked.wait(10)
                job.check(preempt=True)
                order.append("ends")
                return "done"
            except Preempted:
                continue

    slow = worker.submit(background, priority=Priority.BACKGROUND)
    began.wait(10)
    quick = worker.submit(lambda _: order.append("urgent"))
    asked.set()
    quick.result(10)
    assert slow.result(10) == "done"
    assert order == ["begins", "urgent", "begins", "ends"]


def test_work_inside_a_job_is_not_preempted(worker: Worker) -> None:
    def outer(_: Job[str]) -> str:
        return worker.submit(inner, priority=Priority.BACKGROUND).result(10)

    def inner(job: Job[str]) -> str:
        late = threading.Thread(target=lambda: waiting.append(worker.submit(lambda _: "urgent")))
        late.start()
        late.join(10)
        job.check(preempt=True)
        return "inner"

    waiting: list[Any] = []
    assert worker.submit(outer, priority=Priority.BACKGROUND).result(10) == "inner"
    assert waiting[0].result(10) == "urgent"


def test_of_waiting_jobs_with_one_key_only_the_newest_runs(worker: Worker) -> None:
    gate, ran = Gate(worker), list[Any]()
    jobs = [worker.submit(then(ran.append, i), key="k") for i in range(10)]
    other = worker.submit(then(ran.append, "other"), key="other")
    gate.open.set()
    jobs[-1].result(5)
    other.result(5)
    assert ran == [9, "other"]
    for job in jobs[:-1]:
        with pytest.raises(Cancelled) as caught:
            job.result(0)
        assert caught.value.superseded


def test_a_running_job_is_superseded_at_its_next_check(worker: Worker) -> None:
    entered = threading.Event()

    def long(job: Job[None]) -> None:
        entered.set()
        for _ in range(1000):
            time.sleep(0.005)
            job.check()

    old = worker.submit(long, key="k")
    assert entered.wait(5)
    assert worker.submit(lambda _: "new", key="k").result(5) == "new"
    with pytest.raises(Cancelled):
        old.result(5)


def test_cancel_closes_a_generator_so_that_its_cleanup_runs(worker: Worker) -> None:
    entered, cleaned = threading.Event(), threading.Event()

    def steps(_: Job[None]) -> Generator[None, None, None]:
        try:
            while True:
                entered.set()
                time.sleep(0.005)
                yield
        finally:
            cleaned.set()

    job = worker.submit(steps)
    assert entered.wait(5)
    job.cancel()
    with pytest.raises(Cancelled) as caught:
        job.result(5)
    assert not caught.value.superseded
    assert cleaned.is_set()


def test_an_error_reaches_the_caller_and_the_worker_goes_on(worker: Worker) -> None:
    def fails(_: Job[None]) -> None:
        raise ZeroDivisionError("here")

    with pytest.raises(ZeroDivisionError, match="here"):
        worker.submit(fails).result(5)
    assert worker.submit(lambda _: 1).result(5) == 1


def test_a_failing_callback_is_reported_and_the_worker_goes_on(
    worker: Worker, caplog: pytest.LogCaptureFixture
) -> None:
    gate = Gate(worker)
    job = worker.submit(lambda _: 1)

    def bad(_: Job[int]) -> None:
        raise ValueError("callback")

    job.on_done(bad)
    gate.open.set()
    assert job.result(5) == 1
    after = threading.Event()
    worker.submit(lambda _: 2).on_done(lambda _: after.set())
    assert after.wait(5)
    assert "callback" in caplog.text


def test_on_done_is_called_once_however_the_job_ends(worker: Worker) -> None:
    gate, calls = Gate(worker), list[Job[Any]]()
    done, cancelled = worker.submit(lambda _: 1), worker.submit(lambda _: 2)
    for job in (done, cancelled):
        job.on_done(calls.append)
    cancelled.cancel()
    cancelled.cancel()
    gate.open.set()
    done.result(5)
    seen = threading.Event()
    done.on_done(
        lambda _: seen.set()
    )  # it has ended already: called all the same, after the others
    assert seen.wait(5)
    assert calls == [cancelled, done]


def test_a_callback_that_waits_for_a_lock_does_not_hold_up_the_worker(worker: Worker) -> None:
    """A user's observer holds a view's lock and runs the model; a result for that view is due."""
    lock, delivered = threading.RLock(), threading.Event()

    def deliver(_: Job[int]) -> None:
        with lock:
            delivered.set()

    with lock:
        worker.submit(lambda _: 1).on_done(deliver)
        time.sleep(0.05)
        assert worker.submit(lambda _: 2).result(5) == 2
        assert not delivered.is_set()
    assert delivered.wait(5)


def test_submit_from_the_worker_runs_inline(worker: Worker) -> None:
    def outer(_: Job[int]) -> int:
        # a queued job would wait for the one that waits for it, for ever
        return worker.submit(lambda _: 20).result(1) + 1

    assert worker.submit(outer).result(5) == 21


def test_result_times_out_and_the_job_goes_on(worker: Worker) -> None:
    gate = Gate(worker)
    job = worker.submit(lambda _: 5)
    with pytest.raises(TimeoutError):
        job.result(0.1)
    gate.open.set()
    assert job.result(5) == 5


def test_close_ends_waiting_and_running_jobs_and_the_thread() -> None:
    worker = Worker("closing")
    entered = threading.Event()

    def steps(_: Job[None]) -> Generator[None, None, None]:
        while True:
            entered.set()
            time.sleep(0.01)
            yield

    running = worker.submit(steps)
    waiting = worker.submit(lambda _: 1, priority=Priority.BACKGROUND)
    assert entered.wait(5)
    worker.close()
    for job in (running, waiting):
        with pytest.raises(Cancelled):
            job.result(5)
    with pytest.raises(NeuroglassError, match="closed"):
        worker.submit(lambda _: 1)


def test_a_forgotten_worker_ends_its_thread_and_keeps_nothing_alive() -> None:
    class Big:
        pass

    worker, big = Worker("forgotten"), Big()
    ref = weakref.ref(big)

    def use(_: Job[Any], held: Big = big) -> threading.Thread:
        assert held is not None
        return threading.current_thread()

    thread = worker.submit(use).result(5)
    del use
    del big
    for _ in range(50):
        gc.collect()
        if ref() is None:
            break
        time.sleep(0.02)
    assert ref() is None  # the idle thread does not hold the last job
    del worker
    gc.collect()
    thread.join(5)
    assert not thread.is_alive()


def test_an_interrupt_stops_the_wait_and_the_job() -> None:
    script = textwrap.dedent("""
        import signal, threading, time
        from neuroglass.model.worker import Worker
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have it ignored
        worker, entered, cleaned = Worker(), threading.Event(), []
        def long(job):
            try:
                while True:
                    entered.set(); time.sleep(0.01); job.check()
            finally:
                cleaned.append(1)
        job = worker.submit(long)
        entered.wait(); print("ready", flush=True)
        try:
            job.result()
        except KeyboardInterrupt:
            print("interrupted", cleaned, job.done, worker.submit(lambda _: 4).result(), flush=True)
    """)
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.3)  # it says "ready" just before it starts to wait
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=20)
    assert out == "interrupted [1] True 4\n"


def test_500_interleaved_jobs_of_two_views_and_a_cell_never_mix(worker: Worker) -> None:
    """Each job writes its name into shared state between yields, and must find it again."""
    shared: dict[str, Any] = {}
    chance = random.Random(0)

    def make(name: int) -> Callable[[Job[int]], Generator[None, None, int]]:
        waits = [chance.random() * 1e-3 for _ in range(2)]

        def steps(_: Job[int]) -> Generator[None, None, int]:
            mine = name
            for wait in waits:
                shared["now"] = name
                time.sleep(wait)
                assert shared["now"] == name  # nobody else ran inside this step
                yield
            return mine

        return steps

    got: dict[int, int] = {}
    ends: list[str] = []

    def view(base: int, key: str) -> None:
        last = None
        for i in range(base, base + 200):
            last = worker.submit(make(i), key=key)
            last.on_done(partial(note, i))
        assert last is not None
        assert last.result(60) == base + 199  # the newest always runs

    def note(i: int, job: Job[int]) -> None:
        ends.append(check(job, i))

    def check(job: Job[int], i: int) -> str:
        try:
            assert job.result(0) == i
        except Cancelled as cancelled:
            return "superseded" if cancelled.superseded else "cancelled"
        return "ran"

    def cell() -> None:
        for i in range(1000, 1100):
            got[i] = worker.submit(make(i), priority=Priority.BACKGROUND).result(60)

    threads = [
        threading.Thread(target=view, args=(0, "a")),
        threading.Thread(target=view, args=(200, "b")),
        threading.Thread(target=cell),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    all_called = threading.Event()
    worker.submit(lambda _: None).on_done(lambda _: all_called.set())
    assert all_called.wait(5)
    assert got == {i: i for i in range(1000, 1100)}
    assert len(ends) == 400
    assert set(ends) == {"ran", "superseded"}
