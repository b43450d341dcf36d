"""Steering beside Hugging Face's own generation: what it costs, and how fast a slider answers.

    python -m tests.benchmarks.bench_steering [--new 32 --pairs 8 --peeks 20 --threads 2]

Greedy decoding, interleaved pairs on the model's thread, CPU time first (see ``common``). Figures
and what they should be:

(a) steered alone: ``generate`` with one setting at every token, at least 0.97 times the speed of
    ``hf.generate``.
(b) base and steered side by side, with KL, ‖Δ‖/‖h‖ and activation: at least 0.85 times the speed
    of ``hf.generate`` of two rows. A session computes four rows (base, steered, the untouched model
    reading the steered text, and one more that is thrown away): ``rows`` shows why.
(c) from a moved slider to the first new token, wall time, against decode steps of
    ``hf.generate``: a setting of generated tokens takes at most 2 steps + 30 ms (median); a setting
    of the prompt also a prefill from the edited layer on.
(d) peeks per second: at least 10 on SmolLM2 from layer 15 on, at least 30 on the zoo.
(e) the same at the views, from a request that comes in to what is sent for it: `Steer`'s ``run`` to
    its first token, and `LogitPeek`'s ``run`` to its last answer, frame and code made and set. What
    a browser and its host add is not in it.
"""

from __future__ import annotations

import itertools
import queue
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch

import neuroglass as ng
from neuroglass.model.basis import Directions, Feature
from neuroglass.steering.peek import Peek
from neuroglass.steering.session import Session
from neuroglass.steering.setting import Setting
from tests.benchmarks.bench_generate import PROMPT, bare, ours, speed
from tests.benchmarks.common import arguments, emit, pairs

LAYER = 15
ROWS = (1, 2, 3, 4, 6)


def direction(model: ng.LiveModel, layer: int) -> Feature:
    v = torch.randn(1, model.d_model, generator=torch.Generator().manual_seed(0))
    return Directions(model, f"resid_post.{layer}", v, "random")[0]


def wall(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def rows(model: ng.LiveModel, ids: Sequence[int], rounds: int) -> dict[str, float]:
    """CPU milliseconds of one bare decode step of 1, 2, ... rows, interleaved: medians."""
    prompt = torch.tensor([list(ids)])

    def job(_: object) -> dict[str, float]:
        taken: dict[int, list[float]] = {n: [] for n in ROWS}
        with torch.no_grad():
            caches = {
                n: model.hf(input_ids=prompt.expand(n, -1), use_cache=True).past_key_values
                for n in ROWS
            }
            for _ in range(rounds):
                for n in ROWS:
                    start = time.process_time()
                    model.hf(
                        input_ids=torch.full((n, 1), 77), past_key_values=caches[n], use_cache=True
                    )
                    taken[n].append((time.process_time() - start) * 1e3)
        return {f"rows_{n}": round(statistics.median(t), 1) for n, t in taken.items()}

    found: dict[str, float] = model.work(job).result()
    return found


def first_tokens(
    model: ng.LiveModel, ids: Sequence[int], positions: str, rounds: int
) -> tuple[list[float], list[float]]:
    """Seconds from ``start`` to the first and the second event, while another text is written."""
    session = Session(model, list(ids), max_new_tokens=64)
    feature = direction(model, LAYER)
    session.start([]).finish()
    first, second = [], []
    for i in range(rounds):
        start = time.perf_counter()
        setting = Setting(feature, "add", 0.01 * i, "norm", positions=positions)  # type: ignore[arg-type]
        events = iter(session.start([setting]))
        next(events)
        first.append(time.perf_counter() - start)
        next(events)
        second.append(time.perf_counter() - start)
    return first, second


def peeks(model: ng.LiveModel, ids: Sequence[int], layer: int, n: int) -> dict[str, object]:
    """Peeks one after another, each with another strength, at every token of the prompt."""
    peek = Peek(model, list(ids))
    feature = direction(model, layer)
    peek([])
    peek([Setting(feature, "add", 0.1, "norm")])
    each, cpu, whole = [], [], []
    for i in range(n):
        start = time.process_time()
        each.append(wall(lambda: peek([Setting(feature, "add", 0.01 * i, "norm")])))  # noqa: B023
        cpu.append(time.process_time() - start)
        whole.append(wall(lambda: model.run([list(ids)])))
    return {
        "layer": layer,
        "prompt": len(ids),
        "per_second": round(1 / statistics.median(each), 1),
        "median_ms": round(statistics.median(each) * 1e3, 1),
        "per_cpu_second": round(1 / statistics.median(cpu), 1),
        "whole_run_ms": round(statistics.median(whole) * 1e3, 1),
    }


class Page:
    """The page of a view: it asks, and notes when what it waits for was sent."""

    def __init__(self, view: Any) -> None:
        self.view = view
        self._sent: queue.Queue[tuple[float, Any]] = queue.Queue()
        self._ids = itertools.count(1)
        view.send = lambda content, *_: self._sent.put((time.perf_counter(), content))

    def ask(self, value: float) -> Callable[[str], float]:
        """Move the first slider; the function returned waits and tells the seconds until then."""
        number = next(self._ids)
        [slider] = self.view.sliders
        body = {**self.view.settings, "sliders": [{**slider, "value": value}]}
        start = time.perf_counter()
        message = {"v": 1, "view": "page", "id": number, "kind": "run", **body}
        self.view._on_message(self.view, message, [])

        def until(what: str) -> float:
            while True:
                at, content = self._sent.get(timeout=60)
                if content["id"] == number and content.get(what):
                    assert "error" not in content, content
                    return at - start

        return until


def view_first_tokens(model: ng.LiveModel, positions: str, rounds: int) -> list[float]:
    """Seconds from a ``run`` request to the first token sent, while another text is written."""
    setting = Setting(direction(model, LAYER), "add", 0.0, "norm", positions=positions)  # type: ignore[arg-type]
    page = Page(ng.Steer(model, [setting], prompt=PROMPT, max_new_tokens=64))
    first = []
    for i in range(rounds):
        until = page.ask(0.01 * (i + 1))
        first.append(until("event"))
        until("event")
    page.view.close()
    return first


def view_peeks(model: ng.LiveModel, prompt: str, layer: int, n: int) -> dict[str, object]:
    """Requests to a LogitPeek, each sent when the one before is answered."""
    page = Page(ng.LogitPeek(model, prompt, [Setting(direction(model, layer), "add", 0.0, "norm")]))
    each, cpu = [], []
    for i in range(n):
        start = time.process_time()
        each.append(page.ask(0.01 * (i + 1))("done"))
        cpu.append(time.process_time() - start)
    assert page.view.sliders[0]["value"] == 0.01 * n
    page.view.close()
    return {
        "layer": layer,
        "per_second": round(1 / statistics.median(each), 1),
        "median_ms": round(statistics.median(each) * 1e3, 1),
        "per_cpu_second": round(1 / statistics.median(cpu), 1),
    }


def main() -> None:
    given = arguments(new=32, pairs=8, peeks=20, threads=2)
    torch.set_num_threads(given.threads)  # before the model's thread starts, which inherits it
    model = ng.load("smollm2")
    ids = model.tokenize(PROMPT)[0][0].tolist()
    new = given.new
    feature = direction(model, LAYER)
    setting = Setting(feature, "add", 0.1, "norm")
    session = Session(model, ids, max_new_tokens=new)
    emit(what="bare decode step, CPU ms", dtype=model.dtype, **rows(model, ids, 12))

    def side_by_side() -> None:
        steered = session.start([setting]).finish()
        assert len(steered.steps) == new
        assert not torch.isnan(steered.steps[-1].kl).any()
        assert steered.steps[-1].change
        assert steered.steps[-1].activations

    cases: dict[str, tuple[Callable[[], object], Callable[[], object], float]] = {
        "(a) steered alone / hf.generate": (
            lambda: bare(model, ids, new),
            lambda: ours(model, ids, new, edits=setting.edits()),
            0.97,
        ),
        "(b) base + steered with readouts / hf.generate of two rows": (
            lambda: bare(model, ids, new, 2),
            side_by_side,
            0.85,
        ),
    }
    for what, (base, mine, required) in cases.items():
        taken = pairs(base, mine, given.pairs, warm=1)
        for clock in ("cpu", "wall"):
            found = speed(taken[clock])
            emit(
                what=f"{what}, {clock} time",
                new=new,
                threads=given.threads,
                dtype=model.dtype,
                **found,
                required_speed=required,
                holds=found["speed"] >= required,
            )
    step = statistics.median(wall(lambda: bare(model, ids, 8)) / 8 for _ in range(5))
    allowed = 2 * step + 0.03
    for positions in ("generated", "all"):
        first, second = first_tokens(model, ids, positions, 15)
        row: dict[str, object] = {}
        if positions == "generated":
            row = {
                "allowed_ms": round(allowed * 1e3, 1),
                "holds": statistics.median(first) <= allowed,
            }
        emit(
            what=f"(c) slider to first new token, {positions} positions, wall time",
            threads=given.threads,
            first_ms=round(statistics.median(first) * 1e3, 1),
            second_ms=round(statistics.median(second) * 1e3, 1),
            bare_step_ms=round(step * 1e3, 1),
            **row,
        )
    for positions in ("generated", "all"):
        first = view_first_tokens(model, positions, 15)
        emit(
            what=f"(e) Steer, request to first token, {positions} positions, wall time",
            threads=given.threads,
            first_ms=round(statistics.median(first) * 1e3, 1),
            bare_step_ms=round(step * 1e3, 1),
            **({"allowed_ms": round(allowed * 1e3, 1)} if positions == "generated" else {}),
        )
    for layer in (LAYER, 22, 29):
        found_peeks = peeks(model, ids, layer, given.peeks)
        emit(what="(d) peeks, SmolLM2", dtype=model.dtype, required=10, **found_peeks)
        at_view = view_peeks(model, PROMPT, layer, given.peeks)
        emit(what="(e) LogitPeek, SmolLM2", dtype=model.dtype, required=10, **at_view)
    model.close()
    zoo = ng.load("zoo/A")
    text = "The Congress shall have Power To lay and collect Taxes"
    ids = zoo.tokenize(text)[0][0].tolist()
    emit(what="(d) peeks, zoo/A", dtype=zoo.dtype, required=30, **peeks(zoo, ids, 0, given.peeks))
    at_view = view_peeks(zoo, text, 0, given.peeks)
    emit(what="(e) LogitPeek, zoo/A", dtype=zoo.dtype, required=30, **at_view)


if __name__ == "__main__":
    main()
