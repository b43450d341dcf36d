"""Links: what follows what, how often, and what is told when it can't."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

import neuroglass as ng
from neuroglass.views.base import ref
from tests.unit.conftest import RecordingComm, comm_of


def words(n: int = 4) -> ng.TokenHeatmap:
    return ng.TokenHeatmap([f" {i}" for i in range(n)], list(range(n)))


@pytest.fixture(scope="module")
def zoo() -> Iterator[ng.LiveModel]:
    model = ng.load()
    yield model
    model.close()


def count_runs(monkeypatch: pytest.MonkeyPatch, *views: ng.LiveTokenHeatmap) -> Counter[str]:
    """Counts the pictures that each view makes."""
    made: Counter[str] = Counter()
    for name, view in zip("ab", views, strict=False):

        def steps(*args: Any, _of: Any = view._steps, _name: str = name) -> Any:
            made[_name] += 1
            return _of(*args)

        monkeypatch.setattr(view, "_steps", steps)
    return made


def test_any_number_of_views_follow_the_token_by_default() -> None:
    a, b, c = words(), words(), words()
    link = ng.link(a, b, c)
    b.token = 2
    assert [v.token for v in (a, b, c)] == [2, 2, 2]
    assert c.selected == (0, 2)
    c.selected = (0, 1)
    assert (a.token, b.selected) == (1, (0, 1))
    a.token = None
    assert b.selected is None
    assert repr(link) == "Link(3 views: token)"
    link.unlink()
    link.unlink()
    a.token = 3
    assert b.token is None


def test_at_first_the_others_take_what_the_first_has() -> None:
    a, b = words(), words()
    a.token, b.token = 1, 3
    ng.link(a, b)
    assert b.token == 1


def test_a_place_that_a_view_does_not_have_does_not_come_back() -> None:
    long, short = words(9), words(3)
    ng.link(long, short)
    long.token = 7
    assert long.selected == (0, 7)
    assert short.selected is None
    long.token = 1
    assert short.selected == (0, 1)


def test_what_is_linked_stands_in_each_state_for_pages_without_a_kernel() -> None:
    a, b = words(), words()
    first, second = ng.link(a, b), ng.link(a, b, "theme", "token")
    token, theme = ({"name": name, "refs": [ref(b)]} for name in ("token", "theme"))
    assert a._links == [token, theme, token]
    first.unlink()
    assert a._links == [theme, token]
    second.unlink()
    assert a._links == b._links == []


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (lambda a: (a, words(), "tokens"), "no trait 'tokens'", "'token'"),
        (lambda a: (a,), "two views", "ng.link"),
        (lambda a: (a, a), "two views", "ng.link"),
        (lambda a: (a, 3), "int is no view", "ipywidgets"),
    ],
)
def test_what_can_not_be_linked_is_an_error(arguments: Any, message: str, hint: str) -> None:
    with pytest.raises(ng.InputError, match=message) as error:
        ng.link(*arguments(words()))
    assert hint in (error.value.hint or "")


def test_a_linked_click_is_one_message_each(comms: list[RecordingComm]) -> None:
    a, b = words(), words()
    ng.link(a, b)
    for comm in comms:
        comm.sent.clear()
    comm_of(a).receive_state(selected=[0, 2], token=2)
    # b hears of both at once: with one of them alone the page would make up the other
    assert comm_of(b).updates() == [{"token": 2, "selected": (0, 2)}]
    assert all("token" not in u or u["token"] == 2 for u in comm_of(a).updates())


def test_a_change_of_the_text_runs_each_model_once(
    zoo: ng.LiveModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = ng.heatmap(zoo, "w1 w2"), ng.heatmap(zoo, "w1 w2", site="resid_post.0")
    made = count_runs(monkeypatch, a, b)
    ng.link(a, b, "text", "token")
    assert made == {}  # they had the same text
    a.text = "w3 w4 w5"
    a.wait()
    b.wait()
    assert (a.frame["text"], b.frame["text"]) == ("w3 w4 w5", "w3 w4 w5")
    assert made == {"a": 1, "b": 1}
    b.token = 2
    assert a.selected == (0, 2)
    b.text = "w1"
    a.wait()
    b.wait()
    assert made == {"a": 2, "b": 2}
    assert a.token is None  # the shorter text has no third token


def test_typing_in_the_browser_runs_each_model_once(
    zoo: ng.LiveModel, comms: list[RecordingComm], monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = ng.heatmap(zoo, "w1 w2"), ng.heatmap(zoo, "w1 w2")
    ng.link(a, b, "text")
    made = count_runs(monkeypatch, a, b)
    request = {"v": 1, "view": "page", "id": 1, "kind": "run", "text": "w7 w8"}
    request |= {"site": a.site, "layer": a.layer, "features": list(a.features)}
    comm_of(a).receive(request)
    a.wait()
    b.wait()
    assert b.frame["text"] == "w7 w8"
    assert made == {"a": 1, "b": 1}


def test_edits_are_linked_too(zoo: ng.LiveModel) -> None:
    a, b = ng.heatmap(zoo, "w1 w2"), ng.heatmap(zoo, "w1 w2")
    plain = [bytes(r["values"]["data"]) for r in b.frame["rows"]]
    ng.link(a, b, "edits")
    edit = ng.Ablate("neurons.0")
    a.edits = [edit]
    b.wait()
    assert b.edits == [edit]
    assert [bytes(r["values"]["data"]) for r in b.frame["rows"]] != plain
    assert "edits" not in [one["name"] for one in a._links]


def test_a_text_that_one_view_refuses_is_told_there_and_the_others_go_on(
    zoo: ng.LiveModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b, c = (ng.heatmap(zoo, "w1") for _ in range(3))
    ng.link(a, b, c, "text")

    def refuse(_: Any) -> None:
        raise ng.InputError("Too long for this one.")

    monkeypatch.setattr(b, "_check", refuse)
    a.text = "w2"
    for view in (a, c):
        view.wait()
    assert b.error["message"] == "Too long for this one."
    assert (b.text, c.text) == ("w1", "w2")


def test_threads_at_both_ends_come_to_rest_with_equal_texts(zoo: ng.LiveModel) -> None:
    a, b = ng.heatmap(zoo, "w1"), ng.heatmap(zoo, "w1")
    ng.link(a, b, "text", "token")

    def type_into(view: ng.LiveTokenHeatmap, seed: int) -> None:
        pick = random.Random(seed)
        for _ in range(40):
            view.text = " ".join(f"w{pick.randrange(9)}" for _ in range(pick.randrange(1, 6)))
            view.token = 0

    threads = [threading.Thread(target=type_into, args=(v, i)) for i, v in enumerate((a, b))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive(), "the views wait for each other"
    for view in (a, b, a):
        view.wait()
    a.text = "w3 w4"
    a.wait()
    b.wait()
    assert a.frame["text"] == b.frame["text"] == a.text == b.text == "w3 w4"
