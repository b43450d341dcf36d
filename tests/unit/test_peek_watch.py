"""``ng.LogitPeek`` and ``ng.Watch`` on the zoo model."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from neuroglass import SAE, InputError, LiveModel, LogitPeek, Setting, Watch, load
from tests.unit.conftest import RecordingComm, comm_of
from tests.unit.test_steer import answer, send

PROMPT = "The history of the old house"


@pytest.fixture(scope="module")
def model() -> Iterator[LiveModel]:
    opened = load()
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def sae(model: LiveModel) -> SAE:
    return SAE.load("zoo/A-8x", model)


def logits(model: LiveModel, edits: Any = ()) -> torch.Tensor:
    found = model.run(PROMPT, edits=edits).logits
    assert found is not None
    return found


def test_a_peek_shows_the_models_own_numbers(model: LiveModel, sae: SAE) -> None:
    setting = Setting(sae[5], "clamp", 1.0, "norm")
    view = LogitPeek(model, PROMPT, [setting], k=5)
    plain = logits(model)[0, -1].log_softmax(-1)
    known = view._rack.scales[sae[5].id]
    edited = logits(model, setting.edits(known))[0, -1].log_softmax(-1)
    rows = view.frame["rows"]
    assert 5 <= len(rows) <= 10
    for row in rows:
        assert row["base"] == pytest.approx(float(plain[row["id"]].exp()), rel=1e-3)
        assert row["steered"] == pytest.approx(float(edited[row["id"]].exp()), rel=1e-3)
    assert [r["steered"] for r in rows] == sorted((r["steered"] for r in rows), reverse=True)
    assert view.frame["rest"][0] == pytest.approx(1 - sum(r["base"] for r in rows), abs=1e-3)
    assert len(view.to_frame()) == len(rows)
    json.dumps(view.frame, allow_nan=False)
    assert "as it is" in view.fallback_html()
    assert repr(view) == "LogitPeek(1 slider on zoo/A)"


def test_of_many_moves_the_last_is_drawn(
    model: LiveModel, sae: SAE, comms: list[RecordingComm]
) -> None:
    view = LogitPeek(model, PROMPT, [sae[5]])
    [slider] = view.sliders
    numbers = [
        send(view, "run", text=PROMPT, k=10, sliders=[{**slider, "value": i / 20}])
        for i in range(20)
    ]
    answers = [answer(view, n) for n in numbers]
    assert not answers[-1].get("superseded")
    assert view.sliders[0]["value"] == 19 / 20
    assert view.frame["id"] == numbers[-1]
    drawn = [u["frame"]["id"] for u in comm_of(view).updates() if "frame" in u]
    assert drawn == sorted(drawn)
    error = answer(view, send(view, "run", text="", k=10, sliders=[]))["error"]
    assert "empty" in error["message"]
    assert answer(view, send(view, "run", text="x", k=99, sliders=[]))["error"]["hint"] == (
        "Give 1 to 50."
    )
    scope: dict[str, Any] = {"model": model}
    exec(view.code.replace("ng.LogitPeek(", "again = ng.LogitPeek("), scope)
    assert scope["again"].frame["rows"] == view.frame["rows"]


def test_a_peek_comes_back_from_its_state_live_or_still(
    model: LiveModel, sae: SAE, comms: list[RecordingComm]
) -> None:
    off = {"feature": sae[77].id, "on": False, "value": 2.0, "unit": "norm"}
    view = LogitPeek(model, PROMPT, [Setting(sae[5], "clamp", 1.0, "norm")], k=4, theme="dark")
    view.sliders = [*view.sliders, off]
    view.wait()
    state = json.loads(json.dumps(view.state))
    still = LogitPeek.from_state(state)
    assert not still.live
    assert still.frame == view.frame
    again = LogitPeek.from_state(state, model, bases=[sae])
    assert again.live
    assert again.frame["rows"] == view.frame["rows"]
    assert again.settings == view.settings
    assert (again.k, again.theme, again.sliders[1]["on"]) == (4, "dark", False)
    again.text = "Another house"
    again.wait()
    assert again.frame["rows"] != view.frame["rows"]
    with pytest.raises(InputError, match="A-8x"):
        LogitPeek.from_state(state, model)
    with pytest.raises(InputError, match="no state of a LogitPeek: it has n"):
        LogitPeek.from_state(state | {"n": 3}, model, bases=[sae])
    reply = answer(again, send(again, "settings", settings='{"k": 7}'))
    assert reply["settings"]["k"] == 7
    assert "error" not in answer(again, send(again, "run", **reply["settings"]))
    assert again.k == 7
    error = answer(again, send(again, "settings", settings='{"k": 99}'))["error"]
    assert error["hint"] == "Give 1 to 50."


def settled(view: Watch) -> dict[str, Any]:
    time.sleep(0.25)
    view.refresh()
    return dict(view.frame)


def test_a_watch_marks_what_fires_in_generations_and_runs(model: LiveModel, sae: SAE) -> None:
    view = Watch(model, [sae[5], model.neuron(0, 7)], 0.05)
    made = view.generate(PROMPT, max_new_tokens=8).finish()
    frame = settled(view)
    [text] = frame["texts"]
    ids = made.sequences[0]
    # the last token was written, not read
    assert text["pieces"] == model.pieces.many(ids[:-1])[0]
    x = model.run([ids[:-1]], sites=["neurons.0"])["neurons.0"][0]
    want = [
        (i, name)
        for name, values in (
            (sae[5].id, sae.activations(x, [5])[:, 0]),
            (model.neuron(0, 7).id, x[:, 7]),
        )
        for i, v in enumerate(values.tolist())
        if v > 0.05
    ]
    assert sorted((p, f) for _, _, p, f, _ in frame["firings"]) == sorted(want)
    assert len(view.to_frame()) == frame["total"] == len(want)
    with model.edit(view):
        model.run([PROMPT, "Another"])
    assert len(settled(view)["texts"]) == 3
    for _ in range(8):
        model.run(PROMPT, edits=[view])
    assert len(settled(view)["texts"]) == 6
    assert view.frame["older"] == 1 + 2 + 8 - 6
    view.clear()
    assert settled(view)["older"] == 0
    assert settled(view)["texts"] == []
    json.dumps(view.frame, allow_nan=False)


def test_a_watch_stops_and_clamps_and_leaves_the_model_as_it_was(model: LiveModel) -> None:
    before = logits(model)
    plain = model.generate(PROMPT, max_new_tokens=10).finish()
    feature = model.neuron(0, 7)
    x = model.run([plain.sequences[0]], sites=["neurons.0"])["neurons.0"][0, :, 7]
    limit = float(x[7:].max()) - 1e-4
    stop = Watch(model, [feature], limit, action="stop", positions="generated")
    ended = stop.generate(PROMPT, max_new_tokens=10).finish()
    assert len(ended.steps) <= len(plain.steps)
    clamp = Watch(model, [feature], 0.0, action="clamp", value=0.0)
    run = model.run(PROMPT, sites=["neurons.0"], edits=[clamp])
    assert float(run["neurons.0"][0, :, 7].max()) <= 1e-6
    assert torch.equal(logits(model), before)


def test_many_runs_send_few_pictures(model: LiveModel, comms: list[RecordingComm]) -> None:
    view = Watch(model, [model.neuron(0, 7)], 0.0)
    began = time.perf_counter()
    view.generate(PROMPT, max_new_tokens=100).finish()
    settled(view)
    took = time.perf_counter() - began
    frames = [u for u in comm_of(view).updates() if "frame" in u]
    assert len(frames) <= 3 + took / 0.1
    assert view.frame["texts"][0]["pieces"]


def test_a_watch_refuses_clearly_and_its_code_runs(model: LiveModel, sae: SAE) -> None:
    with pytest.raises(InputError, match="needs features"):
        Watch(model, [])
    with pytest.raises(InputError, match="Give a number"):
        Watch(model, [sae[5]], float("nan"))
    with pytest.raises(InputError, match="no action 'halt'"):
        Watch(model, [sae[5]], action="halt")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="2 thresholds for 1 features"):
        Watch(model, [sae[5]], [1, 2])
    with pytest.raises(InputError, match="is no feature here"):
        Watch(model, ["what"])
    other = load("zoo/B")
    with pytest.raises(InputError, match="zoo/B"):
        Watch(other, [sae[5]])
    other.close()
    view = Watch(model, [sae[5], "neurons.0/7"], [0.5, 1.0], action="clamp", value=2.0)
    scope: dict[str, Any] = {}
    exec(view.code.replace("ng.Watch(", "again = ng.Watch("), scope)
    assert [f.id for f in scope["again"]._inner.features] == [f.id for f in view._inner.features]
    assert scope["again"]._inner.limits == [0.5, 1.0]
    scope["model"].close()
    assert repr(view) == "Watch(2 features, 0 firings)"
    assert "A-8x" in view.fallback_html()


def test_a_watch_comes_back_from_its_state(model: LiveModel, sae: SAE) -> None:
    view = Watch(
        model, [sae[5], model.neuron(0, 7)], [0.1, -0.05], positions=slice(3, None), bases=[sae]
    )
    view.generate(PROMPT, max_new_tokens=6).finish()
    settled(view)
    state = json.loads(json.dumps(view.state))
    still = Watch.from_state(state)
    assert still.frame == view.frame
    assert repr(still) == "Watch(saved)"
    again = Watch.from_state(state, model, bases=[sae])
    assert again.live
    assert again.settings == view.settings
    assert again.firings == []
    again.generate(PROMPT, max_new_tokens=6).finish()
    assert [(f.position, f.feature, f.value) for f in again.firings] == [
        (f.position, f.feature, f.value) for f in view.firings
    ]
    assert len(again.firings) > 0
    assert min(f.position for f in again.firings) >= 3
    scope: dict[str, Any] = {"model": model}
    code = view.code.replace("model = ng.load()\n", "")
    exec(code.replace("ng.Watch(", "third = ng.Watch("), scope)
    assert scope["third"].settings == view.settings
    with pytest.raises(InputError, match="no state of a Watch"):
        Watch.from_state({"frame": {}, "k": 3}, model)


def test_a_watchs_settings_change_what_is_watched_from_then_on(
    model: LiveModel, sae: SAE, comms: list[RecordingComm]
) -> None:
    view = Watch(model, [model.neuron(0, 9)], -1.0, bases=[sae])
    view.generate(PROMPT, max_new_tokens=6).finish()
    fired = len(view.firings)
    assert fired > 0
    new = {"features": ["neurons.0/7"], "thresholds": -1.0, "action": "clamp", "value": 0.5}
    assert "error" not in answer(view, send(view, "settings", settings=json.dumps(new)))
    assert view.settings == {
        "features": [model.neuron(0, 7).id],
        "thresholds": [-1.0],
        "unit": "raw",
        "action": "clamp",
        "value": 0.5,
        "positions": "all",
        "skip_special": True,
    }
    assert view.frame["settings"] == view.settings
    assert view.title.endswith("clamp")
    assert "action='clamp'" in view.code
    view.generate(PROMPT, max_new_tokens=6).finish()
    table = view.to_frame()
    assert set(table["action"][:fired]) == {"mark"}
    assert set(table["action"][fired:]) == {"clamp"}
    assert set(table["text"][fired:]) == {1}
    before = view.settings
    for text, message in [
        ("{", "This is no JSON"),
        ('{"limit": 3}', "no setting 'limit'"),
        ('{"features": []}', "A watch needs features"),
        ('{"features": "neurons.0/7"}', "It must be a list of features, each by its id"),
        ('{"features": ["zoo/B/neurons.0/neurons/3"]}', "belongs to zoo/B"),
        ('{"features": ["neurons.0/7", "neurons.0/8"]}', "1 thresholds for 2 features"),
        ('{"thresholds": "high"}', "a number, or one for each feature"),
        ('{"thresholds": [true]}', "a number, or one for each feature"),
        ('{"thresholds": NaN}', "Give a"),
        ('{"unit": "inch"}', "no unit 'inch'"),
        ('{"unit": "max"}', "is not known yet"),
        ('{"action": "halt"}', "no action 'halt'"),
        ('{"value": "x"}', "It must be a number"),
        ('{"value": Infinity}', "finite"),
        ('{"positions": {"from": 1, "until": 2}}', "The positions are"),
        ('{"skip_special": 0}', "true or false"),
    ]:
        error = answer(view, send(view, "settings", settings=text))["error"]
        assert message in f"{error['message']} {error['hint']}", text
    assert view.settings == before
    assert view.error is None
