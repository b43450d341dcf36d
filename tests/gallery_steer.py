"""The steering views in every state, for ``tests/gallery.py``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import neuroglass as ng
from neuroglass.model.errors import describe
from neuroglass.views.base import View

State = tuple[str, View, dict[str, Any]]


def steer_states(model: ng.LiveModel) -> Iterator[State]:
    """States of Steer, LogitPeek and Watch; `model` is SmolLM2."""
    happy = ng.contrast(
        model,
        ["I am so happy today", "What a wonderful, joyful day"],
        ["I am so sad today", "What a horrible, gloomy day"],
        "resid_post.15",
        name="happy",
    )
    add = ng.Setting(happy[0], "add", 0.3, "norm")
    text = "This morning I feel"

    def steer(prompt: Any = text, features: Any = (add,), **options: Any) -> ng.Steer:
        return ng.Steer(model, features, prompt=prompt, **{"max_new_tokens": 24} | options)

    view = steer(tokens=[" happy"])
    view.dose_response(0, [0.1, 0.2, 0.4, 0.8], n=2)
    yield "steering, with a dose–response", view, {}
    yield "saved: a slider through what was recorded", view, {"live": False}
    yield "steering, narrow, 320 px", view, {"px": 320}
    yield "steering, kernel silent", view, {"gallery": "dead"}
    refused = ng.InputError(
        "A strength of 1e+09 (raw) moves h by 2.06e+07 times its own norm: nothing of the model's "
        "own would be left.",
        "Give at most 4.86e+03; 0.1 to 1 times ‖h‖ is usual.",
    )
    yield "steering, a strength was refused", view, {"error": describe(refused)}
    yield "no slider yet", steer(features=()), {}
    many = [add, model.head(3, 1), ng.Setting(model.neuron(20, 7), "clamp", 2.0)]
    yield (
        "three sliders, two samples, coloured by surprise",
        steer(features=many, n=2, temperature=0.8, readout="logprob"),
        {},
    )
    chat = [{"role": "user", "content": "How are you?"}]
    yield "chat: the template is shown", steer(chat), {}
    yield "right to left", steer("בוקר טוב, היום אני"), {}
    yield "a long prompt", steer("The sea was grey, and " * 60, max_new_tokens=12), {}

    yield "next token", ng.LogitPeek(model, text, [add]), {}
    yield "next token, narrow, 320 px", ng.LogitPeek(model, text, [add]), {"px": 320}
    yield "next token, no kernel", ng.LogitPeek(model, text, [add], k=4), {"live": False}

    watch = ng.Watch(model, [happy[0], model.neuron(20, 7)], [1.0, 2.0])
    yield "watch, nothing yet", ng.Watch(model, [happy[0]], 1.0), {}
    watch.generate(text, max_new_tokens=30, n=2, temperature=0.8, seed=1).finish()
    watch.refresh()
    yield "watch: tokens at which features fired", watch, {}
    yield "watch, narrow, 320 px", watch, {"px": 320}
