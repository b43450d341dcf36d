"""``ng.heatmap``: the token heatmap with a live model behind it.

Text, site and features flow in, from the browser or from Python; the model runs on its own thread;
one frame flows out. Only the newest request of a view is ever drawn.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt
import traitlets as t

from neuroglass.model.errors import InputError
from neuroglass.model.live import LiveModel
from neuroglass.model.run import Run
from neuroglass.model.sites import SITES, WHOLE_MODEL, Site
from neuroglass.model.tokens import whole_characters
from neuroglass.model.worker import Job
from neuroglass.views import frame as frames
from neuroglass.views.codec import pack
from neuroglass.views.frame import Floats
from neuroglass.views.heatmap import TokenHeatmap, has_place
from neuroglass.views.live import LiveView, Origin, Picture, Settings
from neuroglass.views.protocol import Request
from neuroglass.views.runs import mask_bits, sequence_of
from neuroglass.views.sources import Quantity, Source, Sources, Values, key_of

if TYPE_CHECKING:
    from neuroglass.model.basis import Basis
    from neuroglass.model.edits import Edit

AUTO_ROWS = 3  # features chosen when none are named
NO_DIFFERENCE = 1e-4  # of the values' range: the least that a scale of differences spans
STRONGEST = 8  # features named for a selected token


@dataclass(frozen=True)
class _Settings(Settings):
    """See the traits; `features` empty: the strongest ones are chosen."""

    site: str = ""
    layer: int = 0
    features: tuple[int, ...] = ()
    locked: tuple[str, ...] = ()
    compare: str = ""
    across: bool = False


@dataclass(frozen=True)
class _Row:
    """A row to be drawn: a quantity, or a feature of a source."""

    key: str  # "" where it can't be kept by name
    label: str
    source: Source | None  # None: a quantity
    what: int | Quantity
    locked: bool

    def values(self, run: Run, read: Mapping[str, Values]) -> Floats:
        """[tokens]."""
        if isinstance(self.what, Quantity):
            return np.asarray(self.what.of(run)[0].numpy())
        assert self.source is not None
        return read[self.source.name].column(self.what)


@dataclass(frozen=True)
class _Drawn:
    """What stays in the kernel of a drawn row."""

    source: Source | None
    text: int  # which of the texts
    values: Floats  # exact


@dataclass(frozen=True)
class _Picture(Picture):
    """Keeps exact values, and all features of each source read, for later questions."""

    rows: tuple[_Drawn, ...] = ()
    read: tuple[Mapping[str, Values], ...] = field(default=(), repr=False)  # per text


class LiveTokenHeatmap(LiveView, TokenHeatmap):
    """Text that the reader edits, coloured by what the model does with it. See ``heatmap``.

    Traits, all readable and settable; one that asks for another picture runs the model, and
    ``wait()`` waits for it:
        text, edits: what the model reads, and how it is changed while it reads.
        compare: a second text, drawn below the first with their difference; "" for none.
        site, layer, features: what the rows are of.
        across: the first feature in every layer, a row each.
        locked: rows that stay when the site changes, by key (``"neurons.0/12"``, ``"A-8x/77"``,
            ``"surprise"``, ``"entropy"``, ``"rank"``).
        feature: the id of the feature in focus; one of this model and its bases becomes a row.
        selected, token, scale, theme: as in ``TokenHeatmap``.
    """

    _made_of = _Settings
    _handlers: ClassVar[dict[str, str]] = {**TokenHeatmap._handlers, **LiveView._handlers}
    _picture: _Picture | None

    def __init__(
        self,
        model: LiveModel,
        text: str,
        *,
        site: str | Site | Basis | None = None,
        features: Sequence[int] = (),
        bases: Sequence[Basis] = (),
        locked: Sequence[str] = (),
        compare: str = "",
        across: bool = False,
        edits: Sequence[Edit] = (),
        **traits: Any,
    ) -> None:
        if not isinstance(model, LiveModel):
            raise InputError(
                f"A live heatmap needs a live model, not {type(model).__name__}.",
                "Make one: model = ng.load().",
            )
        for name, value in (("text", text), ("compare", compare)):
            if not isinstance(value, str):
                raise InputError(f"The {name} must be a string, not {type(value).__name__}.")
        name, layer = "neurons", model.n_layers // 2
        if site is not None and not isinstance(site, str | Site):
            bases = [*bases, *([] if any(b is site for b in bases) else [site])]
            site = getattr(site, "name", None)
        self._sources = Sources(model, bases)
        if isinstance(site, str) and site in self._sources.bases:
            name, layer = site, 0
        elif site is not None:
            place = model.site(site)
            name, layer = place.name, place.layer or 0
        settings = _Settings(
            text=whole_characters(text),
            edits=tuple(edits),
            site=name,
            layer=layer,
            features=tuple(features),
            locked=tuple(locked),
            compare=whole_characters(compare),
            across=across,
        )
        traits.setdefault("scale", "row")
        self._begin(model, settings, choices=self._sources.choices(), **traits)
        self._show_focus()

    @classmethod
    def from_state(
        cls, state: Mapping[str, Any], model: LiveModel | None = None, bases: Sequence[Basis] = ()
    ) -> TokenHeatmap:
        """The view that `state` describes: live with a `model` (and its bases), else a picture."""
        if model is None:
            return TokenHeatmap.from_state(state)
        names = ("scale", "theme", "selected", "locked", "compare", "across", "wrap", "arrange")
        keep = {k: state[k] for k in names if k in state}
        name = state["site"]
        in_layer = name not in WHOLE_MODEL and name in SITES
        site = f"{name}.{state['layer']}" if in_layer else name
        return cls(model, state["text"], site=site, features=state["features"], bases=bases, **keep)

    # -- settings ----------------------------------------------------------------------------

    def _check(self, settings: _Settings) -> None:
        source = self._sources.find(settings.site, settings.layer)
        source.check(settings.features)
        for key in settings.locked:
            self._sources.row(key)
        if len(set(settings.locked)) < len(settings.locked):
            raise InputError(f"A row is locked twice: {', '.join(settings.locked)}.")
        if settings.across:
            source.at_layer(0)

    @t.validate("site", "layer", "features", "locked", "compare", "across")
    def _check_setting(self, proposal: Any) -> Any:
        return self._checked(proposal)

    def _changed(self, settings: _Settings, name: str) -> _Settings:
        # another site has other features
        return replace(settings, features=()) if name == "site" else settings

    def _read(self, request: Request) -> _Settings:
        return _Settings(
            text=whole_characters(request.get("text", str)),
            site=request.get("site", str),
            layer=request.get("layer", int),
            features=tuple(request.integers("features")),
            locked=tuple(request.strings("locked")),
            compare=whole_characters(request.optional("compare", str, "")),
            across=request.optional("across", bool, False),
        )

    @t.validate("feature")
    def _check_feature(self, proposal: Any) -> Any:
        if self.live and not self._ours and proposal["value"]:
            self._sources.locate(proposal["value"])
        return proposal["value"]

    @t.observe("feature")
    def _on_feature(self, change: Any) -> None:
        """A linked view shows another feature: it becomes the first row."""
        if not self.live or self._ours or change["new"] in ("", self._focus()):
            return
        site, layer, index = self._sources.locate(change["new"])
        now = self._with("text", self.text)
        same = (site, layer) == (now.site, now.layer)
        others = [i for i in now.features if i != index] if same else []
        self._start(replace(now, site=site, layer=layer, features=(index, *others)))

    def _focus(self) -> str:
        """The id of the feature in focus: of the selected row, else of the first row."""
        rows = self.frame.get("rows", [])
        if self.selected is not None and self.selected[0] < len(rows):
            return str(rows[self.selected[0]].get("id", ""))
        return next((str(r["id"]) for r in rows if not r["locked"] and r["id"]), "")

    def _show_focus(self) -> None:
        if self.feature != (focus := self._focus()):
            self.set_trait("feature", focus)

    @t.observe("selected")
    def _on_selected(self, _: Any) -> None:
        if self.live and not self._ours:
            self._show_focus()

    # -- running -----------------------------------------------------------------------------

    def _before_drawing(self, picture: _Picture) -> None:
        if self.selected is not None and not has_place(picture.frame, self.selected):
            self.set_trait("selected", None)

    def _draw(self, picture: _Picture) -> Mapping[str, Any]:
        with self._writing():
            body = super()._draw(picture)
            self._show_focus()
        return body

    def _steps(
        self, job: Job[Any], settings: _Settings, origin: Origin
    ) -> Generator[None, None, Picture]:
        source = self._sources.find(settings.site, settings.layer)
        texts = [text for text in (settings.text, settings.compare) if text]
        if not settings.text:
            empty = _frame(settings, origin, source, [], [])
            return _Picture(settings, empty, self._code_of(settings))
        kept = [self._sources.row(key) for key in settings.locked]
        layers = source.layers() if settings.across else [source]
        sources = {s.name: s for s in [*layers, *(r[0] for r in kept if isinstance(r, tuple))]}
        sites = list(dict.fromkeys(s.site for s in sources.values()))
        runs: list[Run] = []
        for text in texts:
            runs.append((yield from self.model.steps(text, sites, job, edits=settings.edits)))
            yield
        read = [{name: s.read(run) for name, s in sources.items()} for run in runs]
        masked = [mask_bits(run) for run in runs]
        if not settings.features:
            own = [r[1] for r in kept if isinstance(r, tuple) and r[0].name == source.name]
            features = read[0][source.name].largest(masked[0] == 0, AUTO_ROWS + len(kept))
            chosen = [i for i in features if i not in own][: 1 if settings.across else AUTO_ROWS]
            settings = replace(settings, features=tuple(chosen))
        yield
        seqs = [sequence_of(run) for run in runs]
        pairs = _aligned(runs) if len(runs) == 2 else None
        if pairs is not None:
            for seq, other in zip(seqs, pairs, strict=True):
                seq["aligned"] = pack(other, "i32")
        rows = self._rows_of(settings, kept, layers)
        exact = len(rows) * sum(len(seq["pieces"]) for seq in seqs) <= frames.EXACT
        drawn: list[_Drawn] = []
        made: list[dict[str, Any]] = []
        for row in rows:
            columns = [row.values(run, values) for run, values in zip(runs, read, strict=True)]
            made += self._draw_row(row, columns, masked, pairs, exact)
            drawn += [_Drawn(row.source, i, column) for i, column in enumerate(columns)]
            if pairs is not None:
                drawn.append(_Drawn(row.source, 1, frames.unpack_row(made[-1])))
            yield
        picture = _frame(settings, origin, source, seqs, made)
        return _Picture(settings, picture, self._code_of(settings), tuple(drawn), tuple(read))

    def _rows_of(
        self,
        settings: _Settings,
        kept: Sequence[tuple[Source, int] | Quantity],
        layers: Sequence[Source],
    ) -> list[_Row]:
        rows: list[_Row] = []
        for key, one in zip(settings.locked, kept, strict=True):
            if isinstance(one, tuple):
                rows.append(_Row(key, one[0].label(one[1]), one[0], one[1], True))
            else:
                rows.append(_Row(key, one.label, None, one, True))
        features = settings.features[:1] if settings.across else settings.features
        for source in layers:
            for i in features:
                key = key_of(source, i) if self._sources.known(source) else ""
                rows.append(_Row(key, source.label(i), source, i, False))
        return rows

    def _draw_row(
        self,
        row: _Row,
        columns: Sequence[Floats],
        masked: Sequence[npt.NDArray[np.uint8]],
        pairs: Sequence[npt.NDArray[np.int32]] | None,
        exact: bool,
    ) -> list[dict[str, Any]]:
        """The row over each text, and their difference where there are two."""
        feature = row.what if isinstance(row.what, int) else None
        signed = row.source is not None and not row.source.positive
        about: dict[str, Any] = {"feature": feature, "locked": row.locked, "exact": exact}
        if row.source is not None and feature is not None and self._sources.known(row.source):
            about["feature_id"] = self._sources.id_of(row.source, feature)
        made = [
            frames.row(
                row.label if i == 0 else f"{row.label} · second text",
                column,
                seq=i,
                key=row.key if i == 0 else "",
                masked=bits,
                signed=signed,
                **about,
            )
            for i, (column, bits) in enumerate(zip(columns, masked, strict=True))
        ]
        if pairs is None:
            return made
        frames.share_domain(made)  # the two are there to be compared
        there = pairs[1]
        change = np.where(there >= 0, columns[1] - columns[0][np.maximum(there, 0)], np.nan)
        label = f"{row.label} · second − first"
        made.append(
            frames.row(
                label, change.astype(np.float32), seq=1, masked=masked[1], signed=True, **about
            )
        )
        # texts of different length are summed in another order: that much is no difference
        frames.widen(made[-1], NO_DIFFERENCE * made[0]["domain"][1])
        return made

    def _on_detail(self, request: Request) -> None:
        row, position = request.get("row", int), request.get("position", int)
        self._check_selected({"value": (row, position)})
        picture = self._picture
        if picture is None or row >= len(picture.rows):
            self._answer(request, value=frames.value_at(self.frame, row, position), strongest=[])
            return
        drawn = picture.rows[row]
        value = float(drawn.values[position])
        source = drawn.source or self._sources.find(self.site, self.layer)
        strongest = []
        if (values := picture.read[drawn.text].get(source.name)) is not None:
            known = self._sources.known(source)
            strongest = [
                {"feature": i, "value": v, "key": key_of(source, i) if known else ""}
                for i, v in values.at(position, STRONGEST)
            ]
        self._answer(request, value=None if math.isnan(value) else value, strongest=strongest)

    def _code_of(self, made: _Settings) -> str:
        """Python that makes this picture again."""
        basis = self._sources.code.get(made.site)
        lines = []
        if basis is None:
            name = made.site if made.site in WHOLE_MODEL else f"{made.site}.{made.layer}"
            site = repr(name)
        else:
            site = "basis"
            lines.append(f"basis = {basis}")
        arguments = f"{made.text!r}, site={site}, features={list(made.features)}"
        if made.locked:
            arguments += f", locked={list(made.locked)}"
        if made.compare:
            arguments += f", compare={made.compare!r}"
        if made.across:
            arguments += ", across=True"
        others = {k.rpartition("/")[0] for k in made.locked} - {made.site}
        if more := sorted(others & set(self._sources.bases)):
            lines += [f"basis_{i} = {self._sources.code[name]}" for i, name in enumerate(more)]
            arguments += f", bases=[{', '.join(f'basis_{i}' for i in range(len(more)))}]"
        return self._code(lines, f"ng.heatmap(model, {arguments})", made.edits)


def heatmap(
    model: LiveModel,
    text: str,
    *,
    site: str | Site | Basis | None = None,
    features: Sequence[int] = (),
    bases: Sequence[Basis] = (),
    locked: Sequence[str] = (),
    compare: str = "",
    across: bool = False,
    edits: Sequence[Edit] = (),
    **traits: Any,
) -> LiveTokenHeatmap:
    """Show a text coloured by features of a live model; edit it in the widget, or from Python.

    Args:
        model: from ``ng.load``.
        text: the first text; may be empty.
        site: e.g. ``"neurons.10"``, or a dictionary; None: the MLP neurons of the middle layer.
        features: indices at that site, one row each; none: the three strongest on this text.
        bases: dictionaries and directions that can be chosen beside the sites.
        locked: rows above those, which stay when the site changes, by key: ``"surprise"``,
            ``"entropy"``, ``"rank"``, or features of any site and basis, as ``"neurons.10/659"``.
        compare: a second text: every row is drawn over it too, on the same scale, and the
            difference where tokens of the two correspond.
        across: draw the first feature in every layer of its site, a row each. A dictionary or a
            direction is read out of the other layers as if they were its own.
        edits: changes made to the model while it reads, as in ``model.run(edits=...)``.
        **traits: ``scale``, ``theme``, ``selected``, ``wrap``, ``arrange``, as in ``TokenHeatmap``.

    Raises:
        InputError: unknown site, basis or feature, text longer than the context, no tokenizer.
    """
    return LiveTokenHeatmap(
        model,
        text,
        site=site,
        features=features,
        bases=bases,
        locked=locked,
        compare=compare,
        across=across,
        edits=edits,
        **traits,
    )


def _frame(
    settings: _Settings,
    origin: Origin,
    source: Source,
    seqs: list[dict[str, Any]],
    rows: list[dict[str, Any]],
) -> dict[str, Any]:
    return frames.frame(
        seqs,
        rows,
        request=origin,
        notice=_notice(settings),
        text=settings.text,
        site=settings.site,
        layer=settings.layer,
        features=settings.features,
        locked=settings.locked,
        source=source.name,
        compare=settings.compare,
        across=settings.across,
    )


def _notice(settings: _Settings) -> str | None:
    left_out = len(settings.features) - 1
    if settings.across and left_out > 0:
        return f"Every layer of the first feature; {left_out} more are not shown."
    return None


def _aligned(runs: Sequence[Run]) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """For each token of either text its counterpart in the other, or -1: blocks of equal ids."""
    a, b = (run.tokens[0].tolist() for run in runs)
    there, here = np.full(len(a), -1, np.int32), np.full(len(b), -1, np.int32)
    # exact is quadratic at worst: beyond this, tokens that are everywhere start no block
    matcher = difflib.SequenceMatcher(None, a, b, autojunk=len(a) * len(b) > 4_000_000)
    for i, j, n in matcher.get_matching_blocks():
        there[i : i + n] = np.arange(j, j + n)
        here[j : j + n] = np.arange(i, i + n)
    return there, here
