"""``ng.Steer`` on the zoo model: streams, newest-wins, sliders from every side, errors, results."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from neuroglass import (
    SAE,
    InputError,
    LiveModel,
    Setting,
    Site,
    Steer,
    Store,
    contrast,
    heatmap,
    link,
    load,
    open_store,
)
from tests.unit.conftest import RecordingComm, comm_of

IDS = itertools.count(1)
PROMPT = "The history of the old house"


@pytest.fixture(scope="module")
def model() -> Iterator[LiveModel]:
    opened = load()
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def sae(model: LiveModel) -> SAE:
    return SAE.load("zoo/A-8x", model)


@pytest.fixture(scope="module")
def store(model: LiveModel) -> Store:
    return open_store("zoo/A-8x", model)


@pytest.fixture(autouse=True)
def _intact(model: LiveModel) -> Iterator[None]:
    """Whatever a test does, the model computes what it did, bit by bit."""
    before = model.run(PROMPT).logits
    yield
    after = model.run(PROMPT).logits
    assert before is not None
    assert after is not None
    assert torch.equal(after, before)
    assert model.current_edits() == []


def steer(model: LiveModel, *features: Any, **options: Any) -> Steer:
    return Steer(model, features, prompt=PROMPT, **{"max_new_tokens": 12} | options)


def send(view: Any, kind: str, mounted: str = "u", **body: Any) -> int:
    number = next(IDS)
    comm_of(view).receive({"v": 1, "view": mounted, "id": number, "kind": kind, **body})
    return number


def run(view: Steer, mounted: str = "u", **changes: Any) -> int:
    return send(view, "run", mounted, **view.settings | changes)


def moved(view: Steer, value: float, **changes: Any) -> list[dict[str, Any]]:
    """The sliders, the first one moved."""
    return [{**view.sliders[0], "value": value, **changes}, *view.sliders[1:]]


def of(view: Any, number: int) -> list[dict[str, Any]]:
    return [m for m in comm_of(view).answers() if m["id"] == number]


def answer(view: Any, number: int) -> dict[str, Any]:
    """The last answer to a request, waited for."""
    for _ in range(1000):
        for message in of(view, number):
            if message["done"]:
                return message
        time.sleep(0.02)
    raise TimeoutError(f"no answer to request {number}")


def test_the_first_texts_are_there_at_once_and_are_the_models(model: LiveModel, sae: SAE) -> None:
    view = steer(model, Setting(sae[5], "clamp", 1.5, "norm"), scales_of(model), n=2)
    plain = model.generate(PROMPT, max_new_tokens=12).finish()
    made = "".join(e["base"]["pieces"][0] for e in view.frame["events"])
    assert made == "".join(plain.pieces()[0][len(view.frame["prompt"]["pieces"]) :])
    assert [len(e["base"]["ids"]) for e in view.frame["events"]] == [2] * 12
    json.dumps(view.frame, allow_nan=False)  # NaN would be lost on the way
    assert view.live


def scales_of(model: LiveModel) -> Setting:
    return Setting(model.neuron(0, 7), "add", 0.2, "norm")


def test_a_run_streams_its_tokens_in_order_then_sets_the_frame_once(
    model: LiveModel, sae: SAE, comms: list[RecordingComm]
) -> None:
    view = steer(model, sae[5])
    number = run(view, sliders=moved(view, 0.5, unit="norm"))
    assert "error" not in answer(view, number)
    messages = of(view, number)
    assert [m["seq"] for m in messages] == [0, *range(1, 13), 1]
    events = [m["event"] for m in messages if "event" in m]
    assert events == view.frame["events"]
    assert view.sliders[0]["value"] == 0.5
    assert (view.frame["view"], view.frame["id"]) == ("u", number)
    (update,) = [u for u in comm_of(view).updates() if "frame" in u]
    assert {"sliders", "code", "frame"} <= set(update)


def test_of_many_moves_the_last_wins_and_no_token_of_another_comes_after_it_began(
    model: LiveModel, sae: SAE, comms: list[RecordingComm]
) -> None:
    view = steer(model, sae[5], max_new_tokens=40)
    numbers = [run(view, sliders=moved(view, i / 20, unit="norm")) for i in range(20)]
    answers = [answer(view, n) for n in numbers]
    assert [bool(a.get("superseded")) for a in answers] == [True] * 19 + [False]
    assert view.sliders[0]["value"] == 19 / 20
    streamed = [m["id"] for m in comm_of(view).answers() if "event" in m]
    assert streamed == sorted(streamed)
    assert streamed.count(numbers[-1]) == 40
    frames = [u["frame"]["id"] for u in comm_of(view).updates() if "frame" in u]
    assert frames == [numbers[-1]]


def test_stop_ends_within_a_token_and_keeps_what_was_written(
    model: LiveModel, sae: SAE, comms: list[RecordingComm]
) -> None:
    view = steer(model, sae[5])
    number = run(view, max_new_tokens=200, sliders=moved(view, 0.5, unit="norm"))
    while len(of(view, number)) < 6:
        time.sleep(0.005)
    send(view, "cancel", target=number)
    assert answer(view, number)["cancelled"]
    assert 4 <= len(view.frame["events"]) < 150
    assert view.frame["stopped"]
    assert view.error is None
    assert len(view.to_frame()) == len(view.frame["events"])


def test_settings_from_python_run_the_model(model: LiveModel, sae: SAE) -> None:
    view = steer(model, sae[5])
    view.max_new_tokens = 5
    view.wait()
    assert len(view.frame["events"]) == 5
    view.sliders = moved(view, 3.0, mode="clamp", unit="norm")
    view.wait()
    first = view.result.texts
    again = view.settings
    view.text = "Another prompt"
    view.temperature = 0.7
    view.wait()
    assert view.result.texts != first
    view.settings = json.dumps(again)
    view.wait()
    assert view.result.texts == first


WRONG: list[tuple[str, str]] = [
    ("{'text': 1}", "This is no JSON: Expecting property name"),
    ('{\n "n": 2,\n}', "line 3, column 1"),
    ("", "This is no JSON"),
    ("[" * 100_000, "This JSON can't be read"),
    (f'{{"seed": {10**400}}}', "This JSON can't be read: a number has 401 digits"),
    ('{"n": 1000}', "Give 1 to 64"),
    ("[1, 2]", "Settings are a JSON object"),
    ('"text"', "Settings are a JSON object"),
    ('{"txet": "x"}', "no setting 'txet'. Did you mean 'text'"),
    ('{"edits": []}', "no setting 'edits'"),
    ('{"n": "three"}', "The setting 'n' is \"three\". It must be a whole number"),
    ('{"n": true}', "It must be a whole number"),
    ('{"n": 1.5}', "It must be a whole number"),
    ('{"temperature": "hot"}', "It must be a number"),
    ('{"chat": "yes"}', "It must be true or false"),
    ('{"text": ["a"]}', "It must be a text"),
    ('{"text": null}', "It must be a text"),
    ('{"stop": "x"}', "It must be a list of texts"),
    ('{"tokens": [3]}', "It must be a list of texts"),
    ('{"sliders": {}}', "It must be a list of sliders"),
    ('{"sliders": ["A-8x/5"]}', "It must be a list of sliders"),
    ('{"sliders": [{"mode": "add"}]}', "A setting is a JSON object with a feature's id"),
    ('{"messages": [{"role": "user"}]}', "A message needs a role and a content"),
    ('{"max_new_tokens": 4000}', "do not fit"),
    ('{"text": ""}', "The text is empty"),
]
WRONG_SLIDERS: list[tuple[dict[str, Any], str]] = [
    ({"feature": "zoo/B/neurons.0/neurons/3"}, "belongs to zoo/B, not to zoo/A"),
    ({"feature": "zoo/A/neurons.0/A-9x/3"}, "no basis 'A-9x' at neurons.0 here. Here are A-8x"),
    ({"feature": "zoo/A/neurons.0/A-8x/99999"}, "no feature 99999"),
    ({"strength": 2}, "no 'strength'"),
    ({"value": "much"}, "'much', no number"),
    ({"value": float("nan")}, "finite"),
    ({"value": 1e9}, "nothing of the model's own would be left"),
    ({"mode": ["add"]}, "'mode' of a setting is ['add']"),
    ({"unit": 3}, "'unit' of a setting is 3"),
    ({"on": "no"}, "'on' of a slider is 'no'"),
    ({"skip_special": 1}, "'skip_special' of a setting is 1"),
    ({"positions": {"from": "x"}}, "The positions are {'from': 'x'}"),
    ({"positions": None}, "The positions are None"),
    ({"layers": 5}, "The layers are 5"),
    ({"layers": ["a"]}, "The layers are ['a']"),
]


def test_pasted_settings_that_are_wrong_are_told_and_change_nothing(
    model: LiveModel, sae: SAE, comms: list[RecordingComm]
) -> None:
    view = steer(model, Setting(sae[5], "add", 0.5, "norm"))
    before = json.dumps(view.state)
    texts = [*WRONG]
    for change, message in WRONG_SLIDERS:
        slider = {"feature": sae[5].id, "value": 1.0, "unit": "norm", **change}
        texts.append((json.dumps({"sliders": [slider]}), message))
    for text, message in texts:
        error = answer(view, send(view, "settings", settings=text))["error"]
        assert error["type"] == "InputError", text
        assert message in f"{error['message']} {error['hint']}", text
        with pytest.raises(InputError):  # a cell is told the same
            view.settings = text
    assert json.dumps(view.state) == before
    assert "usable 'settings'" in answer(view, send(view, "settings"))["error"]["message"]


def test_pasted_settings_are_read_whole_and_run_by_the_page(
    model: LiveModel, sae: SAE, comms: list[RecordingComm]
) -> None:
    there = steer(model, Setting(sae[5], "clamp", 2.0, "norm"), temperature=0.7, seed=3)
    here = steer(model, stop=["xyz"], bases=[sae])
    reply = answer(here, send(here, "settings", settings=json.dumps(there.settings)))
    assert reply["settings"] == there.settings
    assert reply["known"][sae[5].id]["label"] == "A-8x/5"
    assert here.sliders == []  # nothing is changed before it is run
    assert "error" not in answer(here, send(here, "run", **reply["settings"]))
    assert here.settings == there.settings
    assert here.result.texts == there.result.texts
    # what a slider leaves out gets its default, and settings that are not named stay
    few = json.dumps({"sliders": [{"feature": sae[77].id, "positions": {"from": 2}}]})
    [slider] = answer(here, send(here, "settings", settings=few))["settings"]["sliders"]
    assert slider == Setting(sae[77], positions=slice(2, None)).to_json() | {"on": True}
    here.settings = few
    here.wait()
    assert here.sliders == [slider]
    assert here.seed == 3
    here.sliders = [{"feature": sae[77].id}]
    here.wait()
    assert here.sliders == [Setting(sae[77]).to_json() | {"on": True}]


def test_edits_of_the_model_are_in_both_texts(model: LiveModel, sae: SAE) -> None:
    edit = Setting(model.neuron(0, 7), "add", 60.0).edits()
    view = steer(model, sae[5], edits=edit)
    plain = model.generate(PROMPT, edits=edit, max_new_tokens=12).finish().texts
    assert view.result.texts == (plain, plain)


BAD: list[tuple[dict[str, Any], str]] = [
    ({"text": ""}, "The text is empty"),
    ({"max_new_tokens": 300}, "do not fit"),
    ({"max_new_tokens": 0}, "max_new_tokens"),
    ({"temperature": -1}, "temperature"),
    ({"top_p": 0}, "top_p"),
    ({"n": 0}, "whole number"),
    ({"seed": -3}, "whole number"),
    ({"stop": [""]}, "stop"),
    ({"tokens": [" the old house"]}, "is 6 tokens"),
    ({"chat": True}, "no chat template"),
    ({"sliders": "x"}, "usable 'sliders'"),
    ({"sliders": [3]}, "usable 'sliders'"),
]


@pytest.mark.parametrize(("body", "message"), BAD)
def test_bad_settings_are_told_in_the_widget_and_the_texts_stay(
    body: dict[str, Any], message: str, model: LiveModel, sae: SAE, comms: list[RecordingComm]
) -> None:
    view = steer(model, sae[5])
    before = view.frame
    error = answer(view, run(view, **body))["error"]
    assert message in error["message"] + " " + error["hint"]
    assert view.frame is before
    assert view.error == error
    answer(view, run(view))
    assert view.error is None


@pytest.mark.parametrize(
    ("slider", "message"),
    [
        ({"value": None}, "is None, no number"),
        ({"value": float("nan")}, "finite"),
        ({"value": 1e9, "unit": "raw"}, "nothing of the model's own would be left"),
        ({"value": 1, "unit": "max"}, "is not known yet"),
        ({"mode": "turn"}, "no mode 'turn'"),
        ({"unit": "inch"}, "no unit 'inch'"),
        ({"feature": "zoo/B/neurons.0/neurons/3"}, "belongs to zoo/B"),
        ({"feature": "zoo/A/neurons.0/A-8x/99999"}, "99999"),
        ({"feature": "what"}, "no feature's id"),
        ({"positions": "backwards"}, "positions"),
        ({"strength": 3}, "no 'strength'"),
    ],
)
def test_bad_sliders_are_told_in_the_widget(
    slider: dict[str, Any], message: str, model: LiveModel, sae: SAE, comms: list[RecordingComm]
) -> None:
    view = steer(model, sae[5])
    error = answer(view, run(view, sliders=moved(view, **{"value": 1.0, **slider})))["error"]
    assert message in error["message"] + " " + error["hint"]
    assert view.sliders[0]["value"] == 0


def test_contradicting_clamps_are_told_and_end_what_was_being_written(
    model: LiveModel, sae: SAE, comms: list[RecordingComm]
) -> None:
    view = steer(model, sae[5])
    going = run(view, max_new_tokens=200)
    clamps = moved(view, 1.0, mode="clamp", unit="raw") + moved(view, 2.0, mode="clamp", unit="raw")
    error = answer(view, run(view, sliders=clamps))["error"]
    assert "Two settings (clamp and clamp)" in error["message"]
    assert answer(view, going)["cancelled"]
    assert view.error == error  # not wiped by the texts that were under way


def test_constructor_refuses_clearly(model: LiveModel, sae: SAE) -> None:
    other = load("zoo/B")
    with pytest.raises(InputError, match="zoo/B"):
        steer(model, other.neuron(0, 3))
    other.close()
    with pytest.raises(InputError, match="The text is empty"):
        Steer(model, [sae[5]], prompt="")
    with pytest.raises(InputError, match="can't be steered"):
        steer(model, 3)
    with pytest.raises(InputError, match="last message must be the user's"):
        Steer(model, prompt=[{"role": "assistant", "content": "x"}])
    with pytest.raises(TypeError, match="no keyword 'themes'"):
        steer(model, themes="dark")


def test_features_come_by_name_by_search_and_from_texts(
    model: LiveModel, sae: SAE, store: Store, comms: list[RecordingComm]
) -> None:
    view = steer(model, sae[5], store=store)

    def search(how: str, query: str, **more: Any) -> list[dict[str, Any]]:
        reply = answer(view, send(view, "search", how=how, query=query, **more))
        return list(reply.get("found") or [reply["error"]])

    for name in ("77", "A-8x/77", "zoo/A/neurons.0/A-8x/77"):
        (one,) = search("id", name)
        assert one["id"] == "zoo/A/neurons.0/A-8x/77"
        assert one["units"]["max"] == pytest.approx(store[77].row["max"])
    assert search("id", "head 0.3")[0]["slider"]["mode"] == "scale"
    assert search("id", "neurons.0/9")[0]["units"]["max"] is None
    assert "is no feature here" in search("id", "what")[0]["message"]
    found = search("now", "A-8x")
    x = model.run(PROMPT, sites=["neurons.0"])["neurons.0"][0]
    acts = sae.activations(x, range(sae.n_features))
    assert int(found[0]["label"].split("/")[1]) == int(acts.amax(0).argmax())
    at = search("now", "A-8x", position=3)
    assert int(at[0]["label"].split("/")[1]) == int(acts[3].argmax())
    assert search("now", "neurons.0", position=3)[0]["label"].startswith("neurons.0/")
    assert "no token 99" in search("now", "A-8x", position=99)[0]["message"]
    token = search("token", " the")
    assert token[0]["label"] == f"A-8x/{store.find(token=' the').index[0]}"
    assert search("text", "king")[0]["why"].endswith("examples")

    both = {"positive": "a happy day\nwhat joy", "negative": "a sad day\nwhat grief"}
    reply = answer(view, send(view, "contrast", site="resid_post.0", method="mean", **both))
    assert 0 <= reply["separation"] <= 1
    new = reply["found"][0]
    assert new["label"] == "contrast-1/0"
    number = run(view, sliders=[*view.sliders, new["slider"]])
    assert "error" not in answer(view, number)
    scope: dict[str, Any] = {"model": model}
    code = view.code.replace("model = ng.load()\n", "").replace("ng.Steer(", "again = ng.Steer(")
    exec(code, scope)
    assert scope["again"].frame["events"] == view.frame["events"]
    error = answer(
        view, send(view, "contrast", site="resid_post.0", method="mean", **both | {"negative": ""})
    )
    assert "positive and negative" in error["error"]["message"]


def test_a_linked_view_and_python_add_features(model: LiveModel, sae: SAE) -> None:
    view = steer(model, sae[5])
    other = heatmap(model, PROMPT, site=sae, features=[77])
    tie = link(other, view, "feature")
    other.features = [78]
    other.wait()
    view.wait()
    assert "zoo/A/neurons.0/A-8x/78" in [s["feature"] for s in view.sliders]
    tie.unlink()
    view.feature = "zoo/B/neurons.0/A-8x/1"
    assert view.error is not None
    assert "belongs to" in view.error["message"]
    made = contrast(model, ["up up"], ["down down"], "resid_post.0", name="updown")
    view.add(made, model.head(0, 2)).wait()
    assert [s["mode"] for s in view.sliders[-2:]] == ["add", "scale"]


def test_calibration_makes_the_units_known(model: LiveModel, comms: list[RecordingComm]) -> None:
    view = steer(model, model.neuron(0, 7), texts=["A short text.", "Another one, longer."])
    (feature,) = [s["feature"] for s in view.sliders]
    assert view.known[feature]["units"]["max"] is None
    number = send(view, "calibrate", features=[feature])
    known = answer(view, number)["known"][feature]
    assert [m["progress"] for m in of(view, number) if "progress" in m] == [[1, 2], [2, 2]]
    acts = [model.run(t, sites=["neurons.0"])["neurons.0"][..., 7].max() for t in view._rack.texts]
    assert known["units"]["max"] == pytest.approx(float(max(acts)))
    assert view.known[feature] == known
    assert "error" not in answer(view, run(view, sliders=moved(view, 0.5, unit="max")))


def test_a_sweep_shows_progress_can_be_cancelled_and_is_kept(
    model: LiveModel, sae: SAE, comms: list[RecordingComm]
) -> None:
    view = steer(model, Setting(sae[5], "clamp", 0.5, "norm"))
    number = send(view, "dose", slider=0, values=[0.2, 2.0], n=2)
    assert "error" not in answer(view, number)
    done = [m["progress"] for m in of(view, number) if "progress" in m]
    assert done[-1][0] == done[-1][1]
    assert [p["value"] for p in view.sweep["points"]] == [0.2, 2.0]
    assert [len(p["texts"]) for p in view.sweep["points"]] == [2, 2]
    assert view.dose is not None
    assert len(view.dose.to_frame()) == 6
    json.dumps(view.sweep, allow_nan=False)
    number = send(view, "dose", slider=0, values=[], n=3)
    send(view, "cancel", target=number)
    assert answer(view, number)["cancelled"]
    assert len(view.sweep["points"]) == 2
    error = answer(view, send(view, "dose", slider=7, values=[], n=3))["error"]
    assert "no slider 7" in error["message"]
    head = steer(model, model.head(0, 1))
    with pytest.raises(InputError, match="A sweep needs a feature"):
        head.dose_response()


def test_state_and_pages(model: LiveModel, sae: SAE, tmp_path: Any) -> None:
    view = steer(model, Setting(sae[5], "clamp", 0.5, "norm"), tokens=[" the"])
    view.dose_response(values=[0.5, 1.0], n=1)
    state = json.loads(json.dumps(view.state))
    still = Steer.from_state(state)
    assert not still.live
    assert still.frame == view.frame
    again = Steer.from_state(state, model, bases=[sae])
    assert again.live
    assert again.frame["events"] == view.frame["events"]
    assert again.sweep == view.sweep
    with pytest.raises(InputError, match="no basis 'A-8x' at neurons.0"):
        Steer.from_state(state, model, bases=[contrast(model, ["a"], ["b"], "resid_post.0")])
    with pytest.raises(InputError, match="no state of a Steer: it has k"):
        Steer.from_state(state | {"k": 3}, model, bases=[sae])
    page = view.to_html(tmp_path / "steer.html").read_text()
    assert "ng-steer" in page
    assert "steered" in view.fallback_html()
    assert repr(view).startswith("Steer(1 slider on zoo/A)")


class Broken:
    """An edit that fails while the model runs."""

    def bind(self, *_: Any) -> list[Any]:
        return [self]

    reads = writes = Site("neurons", 0)

    def read(self, x: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("broken on purpose")

    def write(self, x: torch.Tensor, *_: Any) -> torch.Tensor:
        return x


def test_an_error_while_the_model_writes_is_told_and_leaves_nothing_behind(
    model: LiveModel, sae: SAE
) -> None:
    view = steer(model, sae[5])
    before = view.frame
    view.edits = [Broken()]
    with pytest.raises(RuntimeError, match="broken on purpose"):
        view.wait()
    assert view.error is not None
    assert "broken on purpose" in view.error["message"]
    assert view.frame == before
    view.edits = []
    view.wait()
    assert view.error is None


def test_closing_ends_the_texts(model: LiveModel, sae: SAE, comms: list[RecordingComm]) -> None:
    view = steer(model, sae[5])
    run(view, max_new_tokens=200, sliders=moved(view, 1.0, mode="clamp", unit="norm"))
    job = view._runs["u"].steered.job
    view.close()
    for _ in range(200):
        if job.done:
            break
        time.sleep(0.01)
    assert job.done


@pytest.mark.model
def test_chat_shows_the_template(smollm2: LiveModel) -> None:
    view = Steer(
        smollm2,
        [smollm2.neuron(20, 7)],
        prompt=[{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}],
        max_new_tokens=3,
    )
    assert view.chat
    assert view.text == "Hi"
    shown = "".join(view.frame["prompt"]["pieces"])
    assert shown.startswith("<|im_start|>system\nBe brief.<|im_end|>")
    assert shown.endswith("<|im_start|>assistant\n")
    view.chat = False
    view.wait()
    assert "".join(view.frame["prompt"]["pieces"]) == "Hi"
