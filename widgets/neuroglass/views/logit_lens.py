"""``ng.LogitLens``: what a live model would predict if it stopped after each of its layers.

A text flows in; the residual stream after every layer goes through the model's own final norm and
unembedding ("interpreting GPT: the logit lens", nostalgebraist 2020); one frame flows out: for each
layer and token the likeliest next token, its probability, the entropy, and the rank of a token that
can be chosen. The last layer's row is the model's own output.

The vocabulary never leaves the kernel: a few cells at a time are read out and reduced.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import torch
import traitlets as t

from neuroglass.model.errors import InputError
from neuroglass.model.live import LiveModel
from neuroglass.model.sites import Site
from neuroglass.model.tokens import whole_characters
from neuroglass.model.worker import Job, Priority
from neuroglass.views import lens
from neuroglass.views.base import bundle
from neuroglass.views.live import LiveView, Origin, Picture, Settings
from neuroglass.views.protocol import Request
from neuroglass.views.selectable import Selectable

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

    from neuroglass.model.edits import Edit

COLUMNS = 1024  # tokens read out; the text may be longer
TOP = 10  # predictions named for a selected cell
STREAM = ("resid_pre", "resid_mid", "resid_post")  # the sites that are the residual stream


@dataclass(frozen=True)
class _Settings(Settings):
    """See the traits; `sites` empty: all layers."""

    target: str | int = ""
    sites: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Picture(Picture):
    """Keeps the residual stream, for questions about single cells."""

    streams: torch.Tensor | None = field(default=None, repr=False)  # [sites, tokens, d_model]


class LogitLens(LiveView, Selectable):
    """Layers × tokens: what the model would say next if it stopped there; the last layer on top.

    Each cell reads the residual stream at one site out through the model's own final norm (with the
    scale that it takes for that very vector), its head and its soft-cap. The top row equals the
    model's output up to the rounding of its dtype, unless an edit changes the logits themselves.

    Args:
        model: from ``ng.load``.
        text: may be empty. The first 1,024 tokens are read out.
        target: a token whose rank and probability are told everywhere: a string that is one token
            (``" Paris"``) or an id; ``""``: at each token the one that really comes next.
        sites: where the residual stream is read, in this order from below: ``resid_pre``,
            ``resid_mid``, ``resid_post`` of any layers. None: before the first layer and after
            every layer.
        edits: changes made to the model while it reads, as in ``model.run(edits=...)``.
        **traits: ``colour_by``, ``selected``, ``token``, ``theme``.

    Traits, all readable and settable; a change of the first four runs the model, and ``wait()``
    waits for the picture:
        text, target, sites, edits: as above.
        selected: (row, position) of the pinned cell, rows from 0 in the order of `sites`, or None.
        token: the position alone, for links with other views of the same text.
        colour_by: ``"probability"`` of the likeliest token, or ``"rank"`` of the target.

    Raises:
        InputError: unknown site, a target that is no single token, a text beyond the context, an
            edit of another model.
        TypeError: an unknown keyword.
    """

    _esm = bundle("logit_lens", "js")
    _css = bundle("logit_lens", "css")
    _made_of = _Settings
    _handlers: ClassVar[dict[str, str]] = {
        **LiveView._handlers,
        "detail": "_on_detail",
        "target": "_on_target",
    }
    _picture: _Picture | None

    target: Any = t.Union([t.Int(), t.Unicode()], default_value="").tag(sync=True)
    sites: Any = t.List(t.Unicode()).tag(sync=True)
    colour_by = t.Enum(["probability", "rank"], default_value="probability").tag(sync=True)

    def __init__(
        self,
        model: LiveModel,
        text: str,
        *,
        target: str | int = "",
        sites: Sequence[str | Site] | None = None,
        edits: Sequence[Edit] = (),
        **traits: Any,
    ) -> None:
        if not isinstance(model, LiveModel):
            raise InputError(
                f"A logit lens needs a live model, not {type(model).__name__}.",
                "Make one: model = ng.load().",
            )
        if not isinstance(text, str):
            raise InputError(f"The text must be a string, not {type(text).__name__}.")
        read = _all_layers(model) if sites is None else [str(s) for s in model.sites(sites)]
        settings = _Settings(whole_characters(text), tuple(edits), target, tuple(read))
        self._begin(model, settings, **traits)

    @classmethod
    def from_state(cls, state: Mapping[str, Any], model: LiveModel | None = None) -> LogitLens:
        """The view that `state` describes: live with a `model`, else a picture."""
        if model is None:
            return super().from_state(state)
        names = ("target", "sites", "theme", "selected", "colour_by")
        return cls(model, state["text"], **{k: state[k] for k in names if k in state})

    # -- settings ----------------------------------------------------------------------------

    def _check(self, settings: _Settings) -> None:
        sites = self.model.sites(settings.sites)
        if not sites:
            raise InputError("No site was named.", "For example sites=['resid_post.0'].")
        for site in sites:
            if site.name not in STREAM:
                raise InputError(
                    f"{site} is not the residual stream: the final norm and the head would make "
                    "no predictions of it.",
                    f"Sites that are: {', '.join(STREAM)}.",
                )
        self._chosen(settings.target)

    @t.validate("target", "sites")
    def _check_setting(self, proposal: Any) -> Any:
        return self._checked(proposal)

    def _read(self, request: Request) -> _Settings:
        return _Settings(
            text=whole_characters(request.get("text", str)),
            target=request.get("target", (str, int)),
            sites=tuple(self.sites),
        )

    def _chosen(self, target: str | int) -> int | None:
        """The id of the chosen token; None: the next one, at each token.

        Raises:
            InputError: it is no single token; names those that it is.
        """
        if isinstance(target, str):
            return lens.one_token(self.model, whole_characters(target)) if target else None
        if isinstance(target, bool) or not isinstance(target, int):
            raise InputError(
                f"The target is {target!r}.", "Give a text that is one token, or an id."
            )
        if not 0 <= target < self.model.vocabulary:
            raise InputError(
                f"Token id {target} is not in the vocabulary.",
                f"Ids go from 0 to {self.model.vocabulary - 1}.",
            )
        return target

    @t.validate("selected")
    def _check_selected(self, proposal: Any) -> Any:
        value = proposal["value"]
        if value is not None and self.frame and not lens.has_cell(self.frame, *value):
            raise InputError(
                f"There is no cell {tuple(value)}.",
                f"Rows: {len(self.frame['sites'])}, tokens: {len(self.frame['pieces'])}, from 0.",
            )
        return value

    def _has_place(self, row: int, position: int) -> bool:
        return lens.has_cell(self.frame, row, position)

    def _row_for_token(self) -> int:
        return len(self.sites) - 1  # the last layer

    # -- running -----------------------------------------------------------------------------

    def _before_drawing(self, picture: _Picture) -> None:
        if self.selected is not None and not lens.has_cell(picture.frame, *self.selected):
            self.selected = None

    def _steps(
        self, job: Job[Any], settings: _Settings, origin: Origin
    ) -> Generator[None, None, Picture]:
        model, chosen = self.model, self._chosen(settings.target)
        code = self._code_of(settings)
        about = {
            "view": origin[0],
            "id": origin[1],
            "text": settings.text,
            "target": settings.target,
            "chosen": None if chosen is None else [chosen, model.pieces.one(chosen)[0]],
        }
        if not settings.text:
            return _Picture(settings, lens.frame(model, settings.sites, about), code)
        run = yield from model.steps(
            settings.text, settings.sites, job, edits=settings.edits, logits=False
        )
        ids = run.tokens[0]
        total = len(ids)
        targets = ids.roll(-1) if chosen is None else torch.full_like(ids, chosen)
        if chosen is None:
            targets[-1] = -1  # nothing comes next
        ids, targets = ids[:COLUMNS], targets[:COLUMNS]
        streams = torch.stack([run[site][0, :COLUMNS] for site in settings.sites])
        read = yield from lens.read_out(model, streams, targets)
        if total > COLUMNS:
            about["notice"] = f"The first {COLUMNS:,} of {total:,} tokens are read out."
        frame = lens.frame(model, settings.sites, about, ids, targets, read)
        return _Picture(settings, frame, code, streams)

    def _on_target(self, request: Request) -> None:
        """Which token would this be? Asked before a run, so that half a word is no failed run."""
        chosen = self._chosen(request.get("target", str))
        self._answer(request, token=chosen)

    def _on_detail(self, request: Request) -> None:
        row, position = request.get("row", int), request.get("position", int)
        streams = self._picture.streams if self._picture is not None else None
        if streams is None or not lens.has_cell(self.frame, row, position):
            raise InputError(f"There is no cell {(row, position)}.", "The text has changed.")
        x = streams[row, position]
        job = self.model.work(
            lambda _: lens.strongest(self.model, x, TOP),
            priority=Priority.INTERACTIVE,
            key=(self.model_id, request.view, "detail"),
        )
        self._answer_with(request, job, lambda strongest: {"strongest": strongest})

    def _code_of(self, made: _Settings) -> str:
        """Python that makes this picture again."""
        call = f"ng.LogitLens(model, {made.text!r}"
        if made.target != "":
            call += f", target={made.target!r}"
        if list(made.sites) != _all_layers(self.model):
            call += f", sites={list(made.sites)}"
        return self._code([], f"{call})", made.edits)

    # -- the same numbers elsewhere ------------------------------------------------------------

    def to_frame(self) -> pd.DataFrame:
        """A line per site and token, in the order of `sites`.

        Columns: site, position, token; prediction, its probability, the entropy (nats); target (at
        this token), its rank (1: the likeliest) and probability; missing where nothing comes next.
        """
        return lens.table(self.frame)

    def plot(self) -> go.Figure:
        """The picture as a plotly figure to keep: colours are ``colour_by``."""
        return lens.figure(self.frame, self.colour_by, self.title)

    def __repr__(self) -> str:
        tokens, sites = (len(self.frame.get(name, [])) for name in ("pieces", "sites"))
        return f"LogitLens({tokens} tokens; {sites} sites)"

    def fallback_html(self) -> str:
        """A table of predictions; says what it leaves out."""
        return lens.html_table(self.frame) if self.frame.get("pieces") else ""


def _all_layers(model: LiveModel) -> list[str]:
    return ["resid_pre.0", *(f"resid_post.{i}" for i in range(model.n_layers))]
