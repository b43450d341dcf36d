"""The states of the steering views."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import neuroglass as ng
from neuroglass.model.errors import describe
from tests.gallery.state import State

TEXT = "This morning I feel"
HEBREW = "בוקר טוב, היום אני"
REFUSED = ng.InputError(
    "A strength of 1e+09 (raw) moves h by 2.06e+07 times its own norm: nothing of the model's "
    "own would be left.",
    "Give at most 4.86e+03; 0.1 to 1 times ‖h‖ is usual.",
)

FOREIGN = '{"sliders": [{"feature": "zoo/A/neurons.0/neurons/7", "value": 2}]}'
# a person pastes settings of another model, and applies them
PASTE = """root => {
  root.querySelector(".ng-settings").open = true;
  const area = root.querySelector(".ng-json");
  area.value = TEXT;
  area.dispatchEvent(new Event("input", { bubbles: true }));
  [...root.querySelectorAll(".ng-settings button")].find((b) => b.textContent === "Apply").click();
}"""
OPEN = """root => { root.querySelector(".ng-settings").open = true; }"""
SLIP = """root => {
  const field = root.querySelector(".ng-strengths");
  field.value = "0.1, 0.2, a lot";
  field.dispatchEvent(new Event("change", { bubbles: true }));
}"""


def paste(text: str) -> dict[str, Any]:
    """What a state needs in which this text was pasted and refused."""
    asked = {"kind": "settings", "settings": text}
    return {"refused": (asked,), "act": PASTE.replace("TEXT", repr(text))}


def states(model: ng.LiveModel) -> Iterator[State]:
    """Steer, LogitPeek and Watch on one contrast direction."""
    happy = ng.contrast(
        model,
        ["I am so happy today", "What a wonderful, joyful day"],
        ["I am so sad today", "What a horrible, gloomy day"],
        "resid_post.15",
        name="happy",
    )
    add = ng.Setting(happy[0], "add", 0.3, "norm")
    error = {"error": describe(REFUSED)}

    def steer(prompt: Any = TEXT, features: Any = (add,), **options: Any) -> ng.Steer:
        return ng.Steer(model, features, prompt=prompt, **{"max_new_tokens": 16} | options)

    dosed = steer(tokens=[" happy"])
    dosed.dose_response(0, [0.1, 0.2, 0.4, 0.8], n=2)
    yield State("with a dose–response", dosed, kind="normal")
    yield State("no slider yet", steer(features=()), kind="empty")
    yield State("a strength was refused", dosed, error, kind="error")
    yield State("a long prompt", steer("The sea was grey, and " * 40), kind="long")
    yield State("Hebrew", steer(HEBREW), kind="right to left")
    yield State("320 px", dosed, kind="narrow", width=320)
    yield State("silent", dosed, kind="kernel gone", kernel="gone")
    yield State("saved: a slider through what was recorded", dosed, {"live": False})
    many = [add, model.head(3, 1), ng.Setting(model.neuron(20, 7), "clamp", 2.0)]
    two = steer(features=many, n=2, temperature=0.8, readout="logprob")
    yield State("three sliders, two samples, coloured by surprise", two)
    yield State("strengths with a slip", dosed, act=SLIP)
    yield State("settings of another model were pasted", steer(), **paste(FOREIGN))
    yield State("saved: settings to copy", dosed, {"live": False}, act=OPEN)
    chat = [{"role": "user", "content": "How are you?"}]
    yield State("chat: the template is shown", steer(chat))

    def peek(prompt: str = TEXT, features: Any = (add,), **options: Any) -> ng.LogitPeek:
        return ng.LogitPeek(model, prompt, list(features), **options)

    ten = peek()
    yield State("ten tokens", ten, kind="normal")
    yield State("no slider yet", peek(features=()), kind="empty")
    yield State("a strength was refused", ten, error, kind="error")
    yield State("a long prompt", peek("The sea was grey, and " * 40), kind="long")
    yield State("Hebrew", peek(HEBREW), kind="right to left")
    yield State("320 px", ten, kind="narrow", width=320)
    yield State("silent", ten, kind="kernel gone", kernel="gone")
    yield State("without a kernel", peek(k=4), {"live": False})
    yield State("settings of another model were pasted", ten, **paste(FOREIGN))

    def watch(text: str | None = TEXT, **options: Any) -> ng.Watch:
        made = ng.Watch(model, [happy[0], model.neuron(20, 7)], [1.0, 2.0])
        if text is not None:
            chosen = {"max_new_tokens": 16, "temperature": 0.8, "seed": 1} | options
            made.generate(text, **chosen).finish()
            made.refresh()
        return made

    fired = watch(n=2)
    yield State("tokens at which features fired", fired, kind="normal")
    yield State("nothing yet", watch(None), kind="empty")
    yield State("an error", fired, error, kind="error")
    yield State("eight samples", watch(n=8), kind="long")
    yield State("Hebrew", watch(HEBREW), kind="right to left")
    yield State("320 px", fired, kind="narrow", width=320)
    yield State("settings", fired, act=OPEN)
    yield State("settings that name no action", fired, **paste('{"action": "halt"}'))
