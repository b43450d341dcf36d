"""The numbers of the logit lens: read out on the model's thread, packed for the page, told again.

Residual vectors flow in; a few numbers per vector come out (``read_out``), a frame for the browser
(``frame``), and from that frame, with or without a model, the table, the figure and the fallback.
"""

from __future__ import annotations

import html
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from neuroglass.model.directions import to_logits
from neuroglass.model.errors import InputError
from neuroglass.views.codec import pack, unpack

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

    from neuroglass.model.live import LiveModel

_PART = 64  # cells per step: bounds the memory of [cells, vocabulary], and how long a key waits
_SMALL = (14, 32)  # tokens and sites in the fallback
_CUT = 18  # characters of a piece in the fallback


@dataclass(frozen=True)
class Reading:
    """What each site says at each token, [sites, tokens]; the target may be missing (-1).

    Attributes:
        top: the likeliest next token, int64.
        logprobs: its log-probability, nats, float32.
        entropy: of the whole distribution, nats, float32.
        ranks: of the target: 1 is the likeliest, of equally likely ones all have the best; 0 where
            it is missing; int64.
        chances: log-probability of the target, nats, float32; NaN where it is missing.
    """

    top: torch.Tensor
    logprobs: torch.Tensor
    entropy: torch.Tensor
    ranks: torch.Tensor
    chances: torch.Tensor


def read_out(
    model: LiveModel, streams: torch.Tensor, targets: torch.Tensor
) -> Generator[None, None, Reading]:
    """Read residual vectors out through final norm and head, as steps of a job.

    Args:
        model: whose worker runs this.
        streams: [sites, tokens, d_model].
        targets: token ids, [tokens]; -1 where there is none.
    """
    # sites and tokens together: each part reads the whole unembedding once
    x, wanted = streams.flatten(0, 1), targets.repeat(len(streams))
    parts = []
    for at in range(0, len(x), _PART):
        yield
        parts.append(_read_part(model, x[at : at + _PART], wanted[at : at + _PART]))
    columns = zip(*parts, strict=True)
    return Reading(*(torch.cat(c).cpu().view(streams.shape[:2]) for c in columns))


@torch.no_grad()
def _read_part(
    model: LiveModel, x: torch.Tensor, targets: torch.Tensor
) -> tuple[torch.Tensor, ...]:
    log_p = to_logits(model, x).float().log_softmax(-1)  # [tokens, vocabulary]
    best, top = log_p.max(-1)
    # a token of probability 0 adds nothing
    entropy = -(log_p.exp() * log_p.clamp_min(-1e4)).sum(-1)
    chances = log_p.gather(-1, targets.clamp_min(0).unsqueeze(-1))
    ranks = (log_p > chances).sum(-1) + 1
    none = targets < 0
    return (
        top,
        best,
        entropy,
        ranks.masked_fill(none, 0),
        chances.squeeze(-1).masked_fill(none, torch.nan),
    )


def strongest(model: LiveModel, x: torch.Tensor, k: int) -> list[dict[str, Any]]:
    """The `k` likeliest next tokens that one residual vector stands for."""
    best = to_logits(model, x[None])[0].float().log_softmax(-1).topk(min(k, model.vocabulary))
    return [
        {"id": i, "piece": model.pieces.one(i)[0], "logprob": value}
        for i, value in zip(best.indices.tolist(), best.values.tolist(), strict=True)
    ]


def one_token(model: LiveModel, text: str) -> int:
    """The id of a text that is one token.

    Raises:
        InputError: it is several; names them, and the spelling with a space where that is one.
    """
    with_space = f" {text}"
    ids, spaced = model.prompts.plain([text, with_space])
    if len(ids) == 1:
        return ids[0]
    pieces = ", ".join(repr(p) for p in model.pieces.many(ids[:6])[0])
    more = ", …" if len(ids) > 6 else ""
    hint = "Choose one of them."
    if len(spaced) == 1:
        hint = f"With a space before it, {with_space!r}, it is one."
    raise InputError(f"{text!r} is {len(ids)} tokens, not one: {pieces}{more}.", hint)


# -- the frame -------------------------------------------------------------------------------


def frame(
    model: LiveModel,
    sites: Sequence[str],
    about: Mapping[str, Any],
    ids: torch.Tensor | None = None,
    targets: torch.Tensor | None = None,
    read: Reading | None = None,
) -> dict[str, Any]:
    """Everything that the browser draws; `about` is what the view adds."""
    shown = [] if ids is None else ids.tolist()
    wanted = [] if targets is None else targets.tolist()

    def grid(name: str, dtype: str) -> Any:
        return pack(np.zeros((len(sites), 0)) if read is None else getattr(read, name), dtype)

    named = {i for i in wanted if i >= 0}
    if read is not None:
        named |= set(read.top.unique().tolist())
    pieces, kinds = model.pieces.many(shown)
    return {
        "notice": None,
        **about,
        "sites": list(sites),
        "labels": [_label(s) for s in sites],
        "pieces": pieces,
        "kinds": pack(kinds, "u8"),
        "ids": pack(shown, "i32"),
        "targets": pack(wanted, "i32"),
        "top": grid("top", "i32"),
        "logprobs": grid("logprobs", "f32"),
        "entropy": grid("entropy", "f32"),
        "ranks": grid("ranks", "i32"),
        "chances": grid("chances", "f32"),
        "names": {str(i): model.pieces.one(i)[0] for i in sorted(named)},
        "vocabulary": model.vocabulary,
    }


def _label(site: str) -> str:
    """What stands beside a row: the layer's number alone, after a layer."""
    return "input" if site == "resid_pre.0" else site.removeprefix("resid_post.")


def has_cell(made: Mapping[str, Any], row: int, position: int) -> bool:
    """A frame has this row and this token."""
    inside = 0 <= row < len(made.get("sites", []))
    return inside and 0 <= position < len(made.get("pieces", []))


# -- the same numbers elsewhere --------------------------------------------------------------


def _names(made: Mapping[str, Any], ids: npt.NDArray[Any]) -> list[Any]:
    """Pieces of ids; None where there is none."""
    return [made["names"].get(str(i)) for i in ids.ravel().tolist()]


def table(made: Mapping[str, Any]) -> pd.DataFrame:
    """See ``LogitLens.to_frame``."""
    import pandas as pd

    rows, n = len(made["sites"]), len(made["pieces"])
    ranks = unpack(made["ranks"]).ravel()
    return pd.DataFrame(
        {
            "site": np.repeat(np.array(made["sites"], dtype=object), n),
            "position": np.tile(np.arange(n), rows),
            "token": list(made["pieces"]) * rows,
            "prediction": _names(made, unpack(made["top"])),
            "probability": np.exp(unpack(made["logprobs"]).ravel()),
            "entropy": unpack(made["entropy"]).ravel(),
            "target": _names(made, unpack(made["targets"])) * rows,
            "rank": pd.array([r or None for r in ranks.tolist()], dtype="Int64"),
            "target_probability": np.exp(unpack(made["chances"]).ravel()),
        }
    )


def visible(piece: str) -> str:
    """A piece with its line breaks, tabs, and the spaces at its edges made visible."""
    shown = piece.replace("\n", "⏎").replace("\t", "⇥")
    inner = shown.strip(" ")
    if not inner:
        return "·" * len(shown)
    start = len(shown) - len(shown.lstrip(" "))
    return "·" * start + inner + "·" * (len(shown) - start - len(inner))


def figure(made: Mapping[str, Any], colour_by: str, title: str) -> go.Figure:
    """See ``LogitLens.plot``."""
    import plotly.graph_objects as go

    # plotly reads tags in labels, and entities: a token is text
    def text(pieces: Sequence[str | None]) -> list[str]:
        return ["–" if p is None else html.escape(visible(p), quote=False) for p in pieces]

    sites, n = made["sites"], len(made["pieces"])
    shape = (len(sites), n)
    ranks = unpack(made["ranks"]).astype(float)
    ranks[ranks == 0] = np.nan
    probability, chances = np.exp(unpack(made["logprobs"])), np.exp(unpack(made["chances"]))
    targets = np.tile(np.array(text(_names(made, unpack(made["targets"]))), object), shape[0])
    customdata = np.dstack(
        [probability, unpack(made["entropy"]), targets.reshape(shape), ranks, chances]
    )
    by_rank = colour_by == "rank"
    figure = go.Figure(
        go.Heatmap(
            z=np.log10(ranks) if by_rank else probability,
            zmin=0,
            zmax=np.log10(made["vocabulary"]) if by_rank else 1,
            colorscale=[[0, "#ffffff"], [0.5, "#ffbe85"], [1, "#ee6a12"]],
            reversescale=by_rank,
            text=np.array(text(_names(made, unpack(made["top"]))), object).reshape(shape),
            texttemplate="%{text}",
            customdata=customdata,
            hovertemplate=(
                "%{y}, after %{x}<br>%{text} %{customdata[0]:.1%}"
                "<br>entropy %{customdata[1]:.3g} nats"
                "<br>target %{customdata[2]}: rank %{customdata[3]}, %{customdata[4]:.2%}"
                "<extra></extra>"
            ),
            colorbar={"title": "log10 rank of target" if by_rank else "probability"},
        )
    )
    figure.update_layout(title=html.escape(title), height=120 + 24 * shape[0])
    figure.update_xaxes(
        title="token", tickvals=list(range(n)), ticktext=text(made["pieces"]), side="top"
    )
    figure.update_yaxes(title="site", tickvals=list(range(shape[0])), ticktext=sites)
    return figure


def html_table(made: Mapping[str, Any]) -> str:
    """The first tokens and some of the sites as a small table, the last site on top."""
    tokens, sites = made["pieces"], made["sites"]
    n = min(len(tokens), _SMALL[0])
    rows = np.unique(np.linspace(0, len(sites) - 1, min(len(sites), _SMALL[1])).astype(int))
    top, logprobs = unpack(made["top"]), unpack(made["logprobs"])

    def cell(piece: str | None, tag: str = "td", colour: str = "") -> str:
        shown = visible(piece or "")
        cut = shown if len(shown) <= _CUT else shown[: _CUT - 1] + "…"
        style = f' style="background:#e08214{colour}"' if colour else ""
        return f"<{tag}{style}>{html.escape(cut, quote=False)}</{tag}>"

    head = "".join(cell(p, "th") for p in tokens[:n])
    lines = [f"<tr><th></th>{head}</tr>"]
    for r in reversed(rows.tolist()):
        cells = "".join(
            cell(made["names"].get(str(i)), colour=f"{round(float(np.exp(p)) * 153):02x}")
            for i, p in zip(top[r, :n].tolist(), logprobs[r, :n].tolist(), strict=True)
        )
        lines.append(f"<tr><th>{html.escape(made['labels'][r])}</th>{cells}</tr>")
    left_out = ["each cell: the likeliest next token after that layer"]
    if n < len(tokens):
        left_out.append(f"first {n} of {len(tokens)} tokens")
    if len(rows) < len(sites):
        left_out.append(f"{len(rows)} of {len(sites)} sites")
    return (
        f'<table style="font-family:monospace">{"".join(lines)}</table>'
        f"<small>{'; '.join(left_out)}</small>"
    )
