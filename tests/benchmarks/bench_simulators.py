"""Simulation by language models: seconds for a window of 64 tokens.

    python -m tests.benchmarks.bench_simulators [--windows 4 --pairs 3 --threads 1 --chat 1]

Expected value over SmolLM2, the beginning of the prompt kept, against one bare Hugging Face pass of
the whole prompt of the same window (baseline), in interleaved pairs; then one window through a real
OpenAI-compatible server on this machine (xllamacpp, one thread, greedy, SmolLM2 as it ships), which
writes the numbers as JSON. Its failures are counted: it is a small model.
"""

from __future__ import annotations

import time

import numpy as np
import torch
import xllamacpp

import neuroglass as ng
from neuroglass.explanation.chat_json import ChatJSON
from neuroglass.explanation.expected import ExpectedValue
from neuroglass.explanation.openai_chat import OpenAIChat
from neuroglass.explanation.records import Window
from neuroglass.model import smollm2
from tests.benchmarks.common import arguments, emit, english, pairs, ratio

TEXT = "names of modules and files"
TOKENS = 64


def windows_of(model: ng.LiveModel, n: int) -> list[Window]:
    ids = model.prompts.plain([english(n * TOKENS * 8)])[0]
    found = []
    for at in range(0, n * TOKENS, TOKENS):
        some = tuple(ids[at : at + TOKENS])
        pieces = tuple(model.pieces.many(some)[0])
        found.append(Window(-1, at, some, pieces, np.zeros(TOKENS), "random"))
    return found


def expected(model: ng.LiveModel, windows: list[Window], n: int) -> None:
    simulator = ExpectedValue(model)
    prompts = [simulator.prompt(TEXT, w.pieces)[0] for w in windows]

    def bare() -> None:
        def job(_: object) -> None:
            with torch.no_grad():
                for ids in prompts:
                    model.hf(input_ids=torch.tensor([ids]), use_cache=False, logits_to_keep=1)

        model.work(job).result()

    failures = sum(s.values is None for s in simulator.simulate(TEXT, windows))
    taken = pairs(bare, lambda: simulator.simulate(TEXT, windows), n, warm=1)
    each = [ours / len(windows) for _, ours in taken["wall"]]
    emit(
        bench="expected value, 64 tokens",
        seconds_per_window=round(float(np.median(each)), 3),
        bare_seconds_per_prompt=round(
            float(np.median([b / len(windows) for b, _ in taken["wall"]])), 3
        ),
        prompt_tokens=int(np.mean([len(p) for p in prompts])),
        windows=len(windows),
        failures=failures,
        threads=torch.get_num_threads(),
        **{f"wall_{k}": v for k, v in ratio(taken["wall"]).items()},
    )


def by_chat(windows: list[Window], n: int) -> None:
    weights = smollm2.packaged()
    assert weights, smollm2.INSTALL
    settings = xllamacpp.CommonParams()
    settings.model.path, settings.hostnames, settings.port = str(weights), ["127.0.0.1"], 0
    settings.n_ctx, settings.n_parallel, settings.warmup, settings.ui = 8192, 1, False, False
    settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = 1
    server = xllamacpp.Server(settings)
    chat = OpenAIChat("smollm2", f"{server.listening_address}/v1", timeout=600)
    for window in windows[:n]:
        start = time.perf_counter()
        [found] = ChatJSON(chat).simulate(TEXT, [window])
        emit(
            bench="chat JSON through a server, 64 tokens",
            seconds=round(time.perf_counter() - start, 1),
            tokens_read_and_written=chat.budget.spent_tokens,
            failure=found.failure,
            note=found.note,
        )


def main() -> None:
    options = arguments(windows=4, pairs=3, threads=1, chat=1)
    torch.set_num_threads(options.threads)
    model = ng.load("smollm2")
    windows = windows_of(model, max(options.windows, options.chat))
    expected(model, windows[: options.windows], options.pairs)
    model.close()
    by_chat(windows, options.chat)


if __name__ == "__main__":
    main()
