"""The logit lens against forwards written out by hand; its settings, questions, errors, exports."""

from __future__ import annotations

import html
import itertools
import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch

import neuroglass as ng
from neuroglass.views import lens, logit_lens
from neuroglass.views.codec import unpack
from tests.unit.conftest import TINY, RecordingComm, comm_of
from tests.unit.test_live_heatmap import answer
from tests.unit.written_out import forward, rms

TEXT = "The capital of France is Paris, and the capital of Italy is"
IDS = itertools.count(1)


@pytest.fixture(scope="module")
def zoo() -> Iterator[ng.LiveModel]:
    made = ng.load()
    yield made
    made.close()


def ask(view: ng.LogitLens, kind: str, **body: Any) -> dict[str, Any]:
    number = next(IDS)
    comm_of(view).receive({"v": 1, "view": "u", "id": number, "kind": kind, **body})
    return answer(view, number)


def check(frame: dict[str, Any], logits: torch.Tensor, targets: list[int]) -> None:
    """Every number of a frame against logits [sites, tokens, vocabulary] made by hand."""
    p = logits.double().softmax(-1)
    top = unpack(frame["top"])
    best = p.max(-1).values
    # a tie may fall either way
    np.testing.assert_allclose(p.gather(-1, torch.tensor(top).long()[..., None])[..., 0], best)
    np.testing.assert_allclose(np.exp(unpack(frame["logprobs"])), best, rtol=2e-4)
    entropy = -(p * p.clamp_min(1e-300).log()).sum(-1)
    np.testing.assert_allclose(unpack(frame["entropy"]), entropy, rtol=1e-3, atol=1e-4)
    ranks, chances = unpack(frame["ranks"]), unpack(frame["chances"])
    for i, target in enumerate(targets):
        if target < 0:
            assert (ranks[:, i] == 0).all()
            assert np.isnan(chances[:, i]).all()
            continue
        mine = p[:, i, target]
        # tokens that are as good as equal to the target may fall on either side
        above = (p[:, i] > 1.001 * mine[:, None]).sum(-1).numpy()
        upto = (p[:, i] > 0.999 * mine[:, None]).sum(-1).numpy()
        assert ((above < ranks[:, i]) & (ranks[:, i] <= upto + 1)).all()
        np.testing.assert_allclose(chances[:, i], mine.log(), rtol=1e-3, atol=1e-3)


# -- numbers ---------------------------------------------------------------------------------


def test_on_the_zoo_it_is_the_final_norm_and_the_head_by_hand(zoo: ng.LiveModel) -> None:
    view = ng.LogitLens(zoo, TEXT)
    assert view.sites == ["resid_pre.0", "resid_post.0"]
    tokens, _ = zoo.tokenize(TEXT)
    with torch.no_grad():
        first, last = zoo.hf(tokens, output_hidden_states=True).hidden_states
        norm: Any = zoo.hf.get_submodule("transformer.ln_f")
        centred = first[0] - first[0].mean(-1, keepdim=True)
        normed = norm.weight * centred * rms(centred, norm.eps) + norm.bias
        head: Any = zoo.hf.get_output_embeddings()
        logits = torch.stack([normed, last[0]]) @ head.weight.T  # `last` is behind the norm
    check(view.frame, logits, [*tokens[0, 1:].tolist(), -1])


@pytest.mark.model
def test_on_smollm2_it_is_a_forward_written_out(smollm2: ng.LiveModel) -> None:
    view = ng.LogitLens(smollm2, TEXT, target=" Rome")
    ids = smollm2.tokenize(TEXT)[0][0].tolist()
    hf: Any = smollm2.hf
    with torch.no_grad():
        made = forward(hf, ids)
        streams = torch.stack([made.sites[s] for s in view.sites])
        normed = hf.model.norm.weight * streams * rms(streams, hf.config.rms_norm_eps)
        logits = normed @ hf.lm_head.weight.T
    (rome,) = smollm2.prompts.plain([" Rome"])[0]
    check(view.frame, logits, [rome] * len(ids))
    # the top row is the model's own output, up to float32's rounding
    run = smollm2.run(TEXT)
    want = run.logits[0].log_softmax(-1).max(-1)  # type: ignore[index]
    np.testing.assert_array_equal(unpack(view.frame["top"])[-1], want.indices.numpy())
    np.testing.assert_allclose(unpack(view.frame["logprobs"])[-1], want.values, atol=1e-4)
    np.testing.assert_allclose(unpack(view.frame["entropy"])[-1], run.entropy[0], atol=1e-3)


@pytest.mark.parametrize("kind", TINY)
def test_in_every_family_the_last_row_is_the_models_output(
    kind: str, load_tiny: Callable[..., ng.LiveModel]
) -> None:
    model = load_tiny(kind)
    ids = (torch.arange(20) * 7 % 90)[None]
    sites = [f"resid_post.{i}" for i in range(model.n_layers)]
    run = model.run(ids, sites=sites)
    streams = torch.stack([run[s][0] for s in sites])
    wanted = ids[0].roll(-1)
    wanted[-1] = -1
    read = model.work(lambda _: lens.read_out(model, streams, wanted)).result()
    assert run.logits is not None
    # soft-caps and scales are in the model's own logits (Gemma 2's cap is 1 here)
    log_p = run.logits[0].log_softmax(-1)
    torch.testing.assert_close(read.logprobs[-1], log_p.max(-1).values, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(read.entropy[-1], run.entropy[0], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(read.chances[-1, :-1], run.logprobs[0, 1:], atol=1e-5, rtol=1e-4)
    assert torch.equal(read.ranks[-1, :-1], run.ranks[0, 1:].long())
    # a lower row: the model's own modules, one vector at a time
    norm = model.family.norm
    assert norm is not None
    with torch.no_grad():
        for i in (0, 11):
            h = model.hf.get_submodule(norm)(streams[0, i])
            logits = model.hf.get_output_embeddings()(h)
            cap = getattr(
                model.hf.config.get_text_config(decoder=True), "final_logit_softcapping", None
            )
            logits = logits if cap is None else cap * (logits / cap).tanh()
            want = logits.log_softmax(-1).max()
            torch.testing.assert_close(read.logprobs[0, i], want, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("cap", [0.5, 5.0])
def test_a_soft_cap_is_part_of_it(cap: float, load_tiny: Callable[..., ng.LiveModel]) -> None:
    model = load_tiny("gemma2", final_logit_softcapping=cap)
    ids = torch.arange(2, 12)[None]
    run = model.run(ids, sites=["resid_post.2"])
    read = model.work(lambda _: lens.read_out(model, run["resid_post.2"], ids[0])).result()
    assert run.logits is not None
    torch.testing.assert_close(read.logprobs[0], run.logits[0].log_softmax(-1).max(-1).values)


def test_edits_are_in_it(zoo: ng.LiveModel) -> None:
    edit = ng.Scale("resid_post.0", 0.0)
    view = ng.LogitLens(zoo, TEXT, edits=[edit])
    plain = ng.LogitLens(zoo, TEXT)
    last = unpack(view.frame["entropy"])[-1]
    assert np.ptp(last) < 1e-5  # nothing is left but the norm's bias
    assert not np.allclose(last, unpack(plain.frame["entropy"])[-1])
    np.testing.assert_array_equal(
        unpack(view.frame["entropy"])[0], unpack(plain.frame["entropy"])[0]
    )
    assert "edits=edits)" in view.code


# -- settings --------------------------------------------------------------------------------


def test_the_target_is_the_next_token_a_text_or_an_id(zoo: ng.LiveModel) -> None:
    view = ng.LogitLens(zoo, TEXT)
    ids = zoo.tokenize(TEXT)[0][0].tolist()
    assert unpack(view.frame["targets"]).tolist() == [*ids[1:], -1]
    assert view.frame["chosen"] is None
    (the,) = zoo.prompts.plain([" the"])[0]
    for target in (" the", the):
        view.target = target
        view.wait()
        assert unpack(view.frame["targets"]).tolist() == [the] * len(ids)
        assert view.frame["chosen"] == [the, " the"]
        assert f"target={target!r})" in view.code
    assert (unpack(view.frame["ranks"]) > 0).all()


def test_settings_from_python_run_the_model_and_the_code_makes_it_again(
    zoo: ng.LiveModel,
) -> None:
    view = ng.LogitLens(zoo, TEXT)
    view.text = 'It\'s "here"\n'
    view.sites = ["resid_mid.0"]
    view.wait()
    assert view.frame["labels"] == ["resid_mid.0"]
    assert "".join(view.frame["pieces"]).endswith(view.text)
    scope: dict[str, Any] = {}
    line = view.code.splitlines()[-1]
    exec("import neuroglass as ng\nagain = " + line, {"model": zoo}, scope)
    assert scope["again"].frame == view.frame


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"target": "antidisestablishmentarianism"}, "tokens, not one"),
        ({"target": 4096}, "Ids go from 0 to 4095"),
        ({"target": -1}, "Ids go from 0"),
        ({"target": True}, "one token, or an id"),
        ({"target": None}, "one token, or an id"),
        ({"sites": []}, "No site was named"),
        ({"sites": ["resid_post.1"]}, "no layer 1"),
        ({"sites": ["mlp_out.0"]}, "not the residual stream"),
        ({"sites": "resid_post.0"}, "sites is a list"),
        ({"text": "a b " * 200}, "reads at most 256"),
        ({"text": 3}, "must be a string"),
        ({"selected": (9, 0)}, "There is no cell"),
        ({"colour": "rank"}, "colour_by"),
    ],
)
def test_what_can_not_be_is_refused_and_says_why(
    settings: dict[str, Any], message: str, zoo: ng.LiveModel
) -> None:
    text = settings.pop("text", TEXT)
    with pytest.raises((ng.InputError, TypeError), match=message):
        ng.LogitLens(zoo, text, **settings)


def test_a_target_with_a_space_before_it_is_proposed(zoo: ng.LiveModel) -> None:
    plain, spaced = zoo.prompts.plain(["would", " would"])
    assert (len(plain), len(spaced)) != (1, 1)
    with pytest.raises(ng.InputError, match="With a space before it, ' would', it is one"):
        ng.LogitLens(zoo, TEXT, target="would")


def test_no_model_and_edits_of_another_model(
    zoo: ng.LiveModel, load_tiny: Callable[..., ng.LiveModel]
) -> None:
    with pytest.raises(ng.InputError, match="needs a live model"):
        ng.LogitLens("smollm2", TEXT)  # type: ignore[arg-type]
    other = load_tiny("gpt2")
    edit = ng.Ablate(other.neuron(0, 5))
    with pytest.raises(ng.InputError, match="belongs to"):
        ng.LogitLens(zoo, TEXT, edits=[edit])
    view = ng.LogitLens(zoo, TEXT)
    before = view.frame
    view.edits = [edit]
    with pytest.raises(ng.InputError, match="belongs to"):
        view.wait()
    assert "belongs to" in view.error["message"]
    assert view.frame is before


def test_no_text_is_an_empty_picture(zoo: ng.LiveModel) -> None:
    view = ng.LogitLens(zoo, "")
    assert view.frame["pieces"] == []
    assert view.to_frame().empty
    assert view.fallback_html() == ""
    view.plot()
    view.text = "now"
    view.wait()
    assert view.error is None
    assert view.frame["pieces"]


def test_of_a_long_text_the_first_tokens_are_read_out_and_it_is_said(
    zoo: ng.LiveModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logit_lens, "COLUMNS", 5)
    view = ng.LogitLens(zoo, TEXT)
    ids = zoo.tokenize(TEXT)[0][0].tolist()
    assert view.frame["notice"] == f"The first 5 of {len(ids)} tokens are read out."
    assert unpack(view.frame["targets"]).tolist() == ids[1:6]  # what comes next is known
    assert len(view.frame["pieces"]) == 5


# -- questions -------------------------------------------------------------------------------


def test_requests_run_answer_and_say_what_a_target_is(
    zoo: ng.LiveModel, comms: list[RecordingComm]
) -> None:
    view = ng.LogitLens(zoo, TEXT)
    assert "error" not in ask(view, "run", text="We shall", target=" be")
    assert (view.text, view.target) == ("We shall", " be")
    (update,) = [u for u in comm_of(view).updates() if "frame" in u]
    assert {"text", "target", "code"} <= set(update)
    (the,) = zoo.prompts.plain([" the"])[0]
    assert ask(view, "target", target=" the")["token"] == the
    assert "not one" in ask(view, "target", target="qqqqq")["error"]["message"]
    assert view.error is None  # a question is no failed run
    last = len(view.frame["pieces"]) - 1
    named = ask(view, "detail", row=1, position=last)["strongest"]
    assert len(named) == 10
    best = zoo.run("We shall").top(10)
    assert [s["id"] for s in named] == best[0][0, -1].tolist()
    np.testing.assert_allclose([s["logprob"] for s in named], best[1][0, -1], atol=1e-5)
    assert named[0]["piece"] == zoo.pieces.one(named[0]["id"])[0]
    for body in ({"row": 2, "position": 0}, {"row": 0, "position": 99}, {"row": -1, "position": 0}):
        assert "no cell" in ask(view, "detail", **body)["error"]["message"]


def test_a_selection_follows_the_linked_token_and_goes_with_the_text(zoo: ng.LiveModel) -> None:
    view = ng.LogitLens(zoo, TEXT)
    heat = ng.heatmap(zoo, TEXT, features=[5])
    ng.link(view, heat, "text", "token")
    heat.selected = (0, 3)
    assert (view.token, view.selected) == (3, (1, 3))
    view.selected = (0, 2)
    assert heat.selected == (0, 2)
    view.text = "Of"
    view.wait()
    heat.wait()
    assert heat.text == "Of"
    assert view.selected is None
    assert view.token is None


# -- the same numbers elsewhere ---------------------------------------------------------------


def test_table_figure_and_state_have_the_same_numbers(zoo: ng.LiveModel) -> None:
    view = ng.LogitLens(zoo, TEXT, selected=(1, 2))
    table = view.to_frame()
    n = len(view.frame["pieces"])
    assert len(table) == 2 * n
    row = table[(table.site == "resid_post.0") & (table.position == 2)].iloc[0]
    assert row.token == view.frame["pieces"][2]
    assert row.prediction == view.frame["names"][str(unpack(view.frame["top"])[1, 2])]
    assert row.probability == np.exp(unpack(view.frame["logprobs"])[1, 2])
    assert row["rank"] == unpack(view.frame["ranks"])[1, 2]
    assert table["rank"].isna().sum() == 2  # the last token has no next one
    figure = view.plot()
    np.testing.assert_array_equal(figure.data[0].z, np.exp(unpack(view.frame["logprobs"])))
    view.colour_by = "rank"
    z = view.plot().data[0].z
    np.testing.assert_allclose(z[1, 2], np.log10(row["rank"]))
    assert np.isnan(z[0, -1])

    state = json.loads(json.dumps(view.state))
    static = ng.LogitLens.from_state(state)
    assert not static.live
    assert (static.frame, static.selected) == (view.frame, (1, 2))
    assert static.to_frame().equals(table)
    again = ng.LogitLens.from_state(state, zoo)
    assert again.live
    assert (again.frame, again.colour_by) == (view.frame, "rank")


def test_fallback_and_figure_hold_tokens_as_text_and_say_what_is_left_out(
    zoo: ng.LiveModel,
) -> None:
    view = ng.LogitLens(zoo, "<script>alert(1)</script> & <b>x</b> " * 6)
    made = view.fallback_html()
    assert len(made) < 50_000
    assert "<script" not in made
    assert "<b>" not in made
    assert f"first 14 of {len(view.frame['pieces'])} tokens" in made
    labels = view.plot().layout.xaxis.ticktext
    assert "".join(labels).count("<") == 0
    assert "&lt;" in "".join(labels)
    assert html.unescape(labels[-1]) == lens.visible(view.frame["pieces"][-1])


@pytest.mark.model
def test_the_fallback_of_many_layers_is_small(smollm2: ng.LiveModel) -> None:
    made = ng.LogitLens(smollm2, "<&> " * 12).fallback_html()
    assert len(made) < 50_000
    assert "resid" not in made
