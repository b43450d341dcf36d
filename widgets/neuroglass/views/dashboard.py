"""``ng.FeatureDashboard``: everything that is known of one feature, and everything one may ask.

A store and a feature flow in; its page flows out (see ``feature_page``). What the store's files say
is there at once; new texts, causal effects, rules over the whole corpus and steering are asked of
the live model, where there is one.
"""

from __future__ import annotations

import html
import threading
import time
from collections import OrderedDict
from collections.abc import Generator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import traitlets as t

from neuroglass.features.rules import Fit, Predicate, Rule, Verdicts, fit
from neuroglass.features.trace import Trace
from neuroglass.model.errors import InputError
from neuroglass.model.tokens import whole_characters
from neuroglass.views.base import View, bundle, ref
from neuroglass.views.feature_page import (
    Pieces,
    excerpt,
    excerpts_at,
    number,
    page_of,
    rounded,
    stretch,
)
from neuroglass.views.protocol import Request
from neuroglass.views.remarking import Remarking
from neuroglass.views.runs import mask_bits
from neuroglass.views.stored import Tell

if TYPE_CHECKING:
    import pandas as pd

    from neuroglass.features.store import Store

_MORE = 20  # examples in one answer
_EFFECTS = 40  # excerpts whose effects are asked for at once
_TOKENS = 4096  # in an excerpt at most
_SAY = 0.25  # seconds between what a long answer tells
_KEPT = 8  # traces, verdicts: of the features and rules looked at last
_PAUSE = 0.25  # seconds after a page, before the next one is made ahead of its reader
_STEERED = 40  # new tokens of the text that is steered from a page


class FeatureDashboard(Remarking):
    """A feature's page: statistics, histogram, logits, examples, relatives, what was said of it.

    With the store's model: the effect of taking the feature away at each token of the examples,
    your own text as you type, rules checked over the whole corpus, its nearest in other stores,
    and steering from here.

    Args:
        store: from ``ng.open_store`` or ``ng.harvest``.
        feature: index, id or handle.
        others: further stores in which to look for features that go with this one, by name.
        predicates: rules of yours that the page offers by name: regular expressions, or functions
            ``fn(tokens, i)``; see ``store.predicate``.
        prompt: what a steered text begins with; by default the feature's strongest example.
        **traits: ``text``, ``rule``, ``theme``, ``title``.

    Traits, beside those of ``StoreView``:
        feature: settable: the page of another feature is drawn.
        text: the text of yours that the feature is tried on. Settable.
        rule: the rule that is checked: a regular expression, or the name of a predicate. Settable.
        frame: the page. said: explanations, rating, note and lists of the feature.

    Raises:
        InputError: no such feature, a predicate that is none, a store that is damaged.
    """

    _esm = bundle("dashboard", "js")
    _css = bundle("dashboard", "css")
    _handlers: ClassVar[dict[str, str]] = {
        **Remarking._handlers,
        "run": "_on_run",
        "examples": "_on_examples",
        "range": "_on_range",
        "effects": "_on_effects",
        "changed": "_on_changed",
        "text": "_on_text",
        "rule": "_on_rule",
        "matches": "_on_matches",
        "explain": "_on_explain",
        "steer": "_on_steer",
    }

    text = t.Unicode("").tag(sync=True)
    rule = t.Unicode("").tag(sync=True)
    predicates: t.List[str] = t.List(t.Unicode()).tag(sync=True)
    others: t.List[str] = t.List(t.Unicode()).tag(sync=True)
    frame = t.Dict().tag(sync=True)
    said = t.Dict().tag(sync=True)
    steered = t.Instance(View, allow_none=True).tag(
        sync=True,
        to_json=lambda view, _: view and ref(view),
        from_json=lambda _, page: page.steered,
    )

    def __init__(
        self,
        store: Store,
        feature: Any = 0,
        *,
        others: Mapping[str, Store] | None = None,
        predicates: Mapping[str, str | Predicate] | None = None,
        prompt: str = "",
        **traits: Any,
    ) -> None:
        index = store.index(feature)
        self._rules = {name: Rule.of(rule) for name, rule in (predicates or {}).items()}
        self._others = dict(others or {})
        self._prompt = prompt
        self._traces: OrderedDict[int, Trace] = OrderedDict()
        self._verdicts: OrderedDict[str, Verdicts] = OrderedDict()
        self._effects: OrderedDict[tuple[int, ...], pd.DataFrame] = OrderedDict()
        self._ahead: dict[int, dict[str, Any]] = {}
        self._soon: threading.Timer | None = None
        self._drawing = False
        self.store = store
        self._begin(
            store,
            feature=index,
            predicates=list(self._rules),
            others=list(self._others),
            **self._made(index, ("", 0)),
            **traits,
        )
        self.observe(self._on_feature, names=["feature"])

    @classmethod
    def from_state(
        cls, state: Mapping[str, Any], store: Store | None = None, **options: Any
    ) -> FeatureDashboard:
        """What `state` describes: with its `store` a page that answers, else a picture."""
        if store is None:
            return super().from_state({**state, "steered": None})
        kept = {name: state[name] for name in ("text", "rule", "theme", "title")}
        return cls(store, state["feature"], **kept, **options)

    @property
    def state(self) -> dict[str, Any]:
        """As of every view; the steered text is not in it."""
        return super().state | {"steered": None}

    def hosted(self) -> Sequence[View]:
        """The sliders, if steering was begun from here."""
        return () if self.steered is None else (self.steered,)

    # -- the page ----------------------------------------------------------------------------

    def _made(self, index: int, origin: tuple[str, int]) -> dict[str, Any]:
        page = self._ahead.pop(index, None) or page_of(self.store, index)
        said = self.store.annotations.of(index)
        frame = page | {"said": said, "view": origin[0], "id": origin[1]}
        return {"frame": frame, "said": said, "code": self._code(index)}

    def _look_ahead(self, store: Store, index: int) -> None:
        """Make the page that comes next if its reader goes on in this direction."""
        try:
            page = page_of(store, index)
        except InputError:
            return  # whoever turns to it is told what is wrong
        with self._lock:
            if store is self.store:
                self._ahead = {index: page}

    def _code(self, index: int) -> str:
        return f"{self._store_code()}\nng.FeatureDashboard(store, {index})"

    def _show(self, index: int, origin: tuple[str, int] = ("", 0)) -> None:
        made = self._made(index, origin)
        with self._writing():
            self._drawing = True
            try:
                self.feature = index
                for name, value in made.items():
                    setattr(self, name, value)
                self.set_trait("error", None)
                self.steered = None
            finally:
                self._drawing = False

    def _on_feature(self, change: Any) -> None:
        if not self._drawing and change["new"]:
            self._show(self.store.index(change["new"]))

    def _on_run(self, request: Request) -> None:
        before = self._now()
        if self._soon is not None:
            self._soon.cancel()
        try:
            self._show(self.store.index(request.get("feature", int)), (request.view, request.id))
        except InputError as error:
            self._show_error(error)
            raise
        self._answer(request)
        after = 2 * self._now() - before
        if abs(after - self._now()) == 1 and 0 <= after < self.store.n_features:
            # not at once: it would hold up what was just sent, and who presses on
            self._soon = threading.Timer(_PAUSE, self._look_ahead, (self.store, after))
            self._soon.daemon = True
            self._soon.start()

    def attach(self, store: Store) -> None:
        """Go on with the same store and its live model: ``view.attach(store.attach(model))``."""
        super().attach(store)
        self._ahead = {}
        self._traces.clear()
        self._verdicts.clear()
        self._effects.clear()
        self._show(self._now())

    def _now(self) -> int:
        assert self.index is not None
        return self.index

    # -- examples ----------------------------------------------------------------------------

    def _on_examples(self, request: Request) -> None:
        """More of some groups: those after as many as the page has."""
        index, groups = request.get("feature", int), request.get("groups", dict)
        context = request.optional("context", int, 0) or None
        if context is not None and not 1 <= context <= _TOKENS:
            raise InputError(f"A context of {context} tokens.", f"Give 1 to {_TOKENS}.")
        words, shown = Pieces(self.store), []
        for group, first in groups.items():
            if not isinstance(first, int):
                raise InputError("How many of a group are there is a number.")
            found = self.store.examples(index, str(group), context=context)
            some = found[first : first + _MORE].to_dict("records")
            shown += [excerpt(words, e) for e in some]
        self._answer(request, examples=shown, pieces=words.pieces, kinds=words.kinds)

    def _on_range(self, request: Request) -> None:
        """Examples with a value in a range: those that are kept, or from the whole corpus."""
        index = self.store.index(request.get("feature", int))
        low, high = (float(request.get(n, (int, float))) for n in ("low", "high"))
        if not low <= high:
            raise InputError(f"From {low} to {high} is no range.")
        trace = self._trace(index) if self.store.has_basis else None
        if not request.optional("search", bool, False) and not (trace and trace.tokens):
            found = self.store.examples(index, None)
            inside = found[
                (found["value"] >= low) & (found["value"] <= high) & (found["value"] > 0)
            ]
            inside = inside.drop_duplicates(["document", "position"]).sort_values(
                "value", ascending=False
            )
            words = Pieces(self.store)
            shown = [excerpt(words, e) for e in inside.head(_MORE).to_dict("records")]
            self._answer(request, examples=shown, pieces=words.pieces, kinds=words.kinds,
                         found=len(inside), tokens=0)  # fmt: skip
            return

        def steps(tell: Tell) -> Generator[None, None, Any]:
            assert trace is not None
            if request.optional("search", bool, False):
                yield from self._read_on(trace, lambda: tell(tokens=trace.tokens))
            return self._within(trace, low, high)

        self._ask_model(request, steps)

    def _within(self, trace: Trace, low: float, high: float) -> dict[str, Any]:
        place, value = trace.between(low, high)
        words = Pieces(self.store)
        known = dict(zip(trace.read[trace.at].tolist(), trace.value.tolist(), strict=True))
        shown = excerpts_at(
            self.store, words, place[:_MORE], known, "range", self.store.corpus.room
        )
        return {
            "examples": shown, "pieces": words.pieces, "kinds": words.kinds,
            "found": len(value), "tokens": trace.tokens,
        }  # fmt: skip

    def _trace(self, index: int) -> Trace:
        if index not in self._traces:
            self._traces[index] = Trace(self.store, index)
        trace: Trace = _kept(self._traces, index)
        return trace

    @staticmethod
    def _read_on(trace: Trace, tell: Any) -> Generator[None, None, None]:
        """Read the rest of the corpus; what was read stays if this is cancelled."""
        said = 0.0
        for _ in trace.more():
            if time.monotonic() - said > _SAY:
                tell()
                said = time.monotonic()
            yield

    # -- effects -----------------------------------------------------------------------------

    def _on_effects(self, request: Request) -> None:
        """What each token of excerpts loses without the feature; one answer for each excerpt."""
        index = self.store.index(request.get("feature", int))
        which = request.get("which", list)
        if len(which) > _EFFECTS:
            raise InputError(f"{len(which)} examples at once.", f"Give {_EFFECTS} at most.")
        places = [_place(one) for one in which]

        def steps(tell: Tell) -> Generator[None, None, Any]:
            for k, place in enumerate(places):
                found = self._effect(index, *place)
                tell(which=k, effect=rounded(found["effect"].tolist()))
                yield
            return {}

        self._ask_model(request, steps)

    def _effect(self, index: int, document: int, start: int, n: int) -> pd.DataFrame:
        key = (index, document, start, n)
        if key not in self._effects:
            ids = stretch(self.store, document, start, n)
            whole = self.store.live.ablation(index, ids)
            self._effects[key] = whole.iloc[len(ids) - n :].reset_index(drop=True)
        found: pd.DataFrame = _kept(self._effects, key, 200)
        return found

    def _on_changed(self, request: Request) -> None:
        """The tokens whose probability after a token the feature changes most."""
        index = self.store.index(request.get("feature", int))
        document, start, n = _place(request.get("which", list))
        position = request.get("position", int)
        if not 0 <= position < n:
            raise InputError(f"The excerpt has no token {position}.")

        def steps(_: Tell) -> Generator[None, None, Any]:
            row = self._effect(index, document, start, n).iloc[position]
            yield
            return {
                "kl": number(row["kl"]),
                "effect": number(row["effect"]),
                **{
                    name: [[piece, number(by)] for piece, by in row[name]]
                    for name in ("promoted", "demoted")
                },
            }

        self._ask_model(request, steps)

    # -- own text ----------------------------------------------------------------------------

    def _on_text(self, request: Request) -> None:
        index = self.store.index(request.get("feature", int))
        text = whole_characters(request.get("text", str))
        if not text:
            self._answer(request, text="", pieces=[], kinds=[], values=[], masked=[], effect=None)
            return

        def steps(_: Tell) -> Generator[None, None, Any]:
            model, basis = self.store.model, self.store.basis
            run = model.run(text, sites=[basis.read_site], logits=False)
            yield
            x = run[basis.read_site][0].float()
            values = self.store[index].feature.activations(x.flatten(1))
            pieces, kinds = run.pieces()
            found: dict[str, Any] = {
                "text": text,
                "pieces": pieces,
                "kinds": [int(k) for k in kinds],
                "values": rounded(values.tolist()),
                "masked": mask_bits(run).tolist(),
                "effect": None,
            }
            if request.optional("effects", bool, False) and len(pieces) > 1:
                yield
                effect = self.store.live.ablation(index, text)["effect"]
                found["effect"] = rounded(effect.tolist())
            return found

        self._ask_model(request, steps)

    # -- rules -------------------------------------------------------------------------------

    def _on_rule(self, request: Request) -> None:
        """How well a rule predicts the feature: over the corpus with a model, else estimated."""
        index = self.store.index(request.get("feature", int))
        given = request.get("rule", str)
        rule = self._rules.get(given) or Rule.of(given)
        if not self.store.has_basis:
            found = self.store.predicate(index, rule)
            self._answer(request, fit=_fit_json(found), exact=False, stacked=None,
                         tokens=found.tokens, total=self.store.n_tokens)  # fmt: skip
            return
        trace = self._trace(index)
        if given not in self._verdicts:
            self._verdicts[given] = Verdicts(self.store, rule)
        verdicts = _kept(self._verdicts, given)
        edges = self._edges(index)

        def now() -> dict[str, Any]:
            verdicts.catch_up(trace.batches)
            found = fit(verdicts.values[trace.read], trace.at, trace.value)
            stacked = {
                kind: [part.tolist() for part in trace.stacked(verdicts.values, bins)]
                for kind, bins in edges.items()
            }
            return {"fit": _fit_json(found), "exact": True, "stacked": stacked,
                    "tokens": trace.tokens, "total": self.store.n_tokens}  # fmt: skip

        def steps(tell: Tell) -> Generator[None, None, Any]:
            if trace.tokens:
                tell(**now())
                yield
            yield from self._read_on(trace, lambda: tell(**now()))
            return now()

        self._ask_model(request, steps)

    def _edges(self, index: int) -> dict[str, Any]:
        """The histogram's bins; None of them where the page shows none."""
        linear = self.store.histogram(index)
        page = self.frame["histogram"] if self.frame.get("feature") == index else {}
        log = page.get("log", {}).get("edges", [])
        return {
            "linear": np.r_[linear["low"], linear["high"].tail(1)],
            "log": np.array(log if len(log) > 1 else [0.0, 1.0]),
        }

    # -- others ------------------------------------------------------------------------------

    def _on_matches(self, request: Request) -> None:
        """The features of other stores that go with this one most."""
        index = self.store.index(request.get("feature", int))

        def steps(_: Tell) -> Generator[None, None, Any]:
            rows = []
            for name, other in self._others.items():
                best = self.store.correlated(other, features=[index]).iloc[0]
                yield
                rows.append(
                    [
                        name,
                        int(best["other"]),
                        number(best["pearson"], 3),
                        number(best["cosine"], 3),
                    ]
                )
            return {"matches": rows}

        self._ask_model(request, steps)

    def _on_explain(self, request: Request) -> None:
        index = self.store.index(request.get("feature", int))
        self.store.annotations.explain(index, request.get("text", str))
        self._answer(request)

    def _rows_drawn(self) -> list[int]:
        return []  # what is said stands in a trait of its own

    def _heard(self, features: Sequence[int]) -> None:
        with self._lock:
            if self.index in features:
                self.said = self.store.annotations.of(self._now())

    # -- steering ----------------------------------------------------------------------------

    def _on_steer(self, request: Request) -> None:
        """Put sliders on this feature into the page."""
        index = self.store.index(request.get("feature", int))
        self._need_model()
        from neuroglass.views.steer import Steer

        view = Steer(
            self.store.model,
            [self.store[index].feature],
            prompt=self._prompt or self._beginning(index),
            store=self.store,
            max_new_tokens=_STEERED,
            theme=self.theme,
        )
        self.steered = view
        self._answer(request)

    def _beginning(self, index: int) -> str:
        """The text of the strongest example up to where the feature is on."""
        found = self.store.examples(index, "top")
        if not len(found):
            return "The"
        e = found.iloc[0]
        raw = b"".join(self.store.token_bytes[i] for i in e["ids"][: e["at"] + 1])
        return raw.decode("utf-8", "ignore").strip("\n") or "The"

    # -- results -----------------------------------------------------------------------------

    def to_frame(self) -> pd.DataFrame:
        """The feature's examples; see ``Store.examples``."""
        return self.store.examples(self._now(), None)

    def fallback_html(self) -> str:
        """Statistics and the strongest examples, for pages without scripts."""
        page = self.frame
        if not page:
            return ""
        pieces = page["pieces"]

        def line(e: Mapping[str, Any]) -> str:
            on = set(e["i"])
            words = (html.escape(pieces[k]) for k in e["t"])
            marked = (f"<mark>{w}</mark>" if i in on else w for i, w in enumerate(words))
            return f"<li><code>{''.join(marked)}</code> {e['v']}</li>"

        top = [line(e) for e in page["examples"] if e["g"] == "top"]
        return (
            f"<p><b>{html.escape(page['name'])}</b>: on at {page['stats']['density']:.3%} of "
            f"{page['n_tokens']:,} tokens, largest value {page['stats']['max']}</p>"
            f"<ol>{''.join(top)}</ol>"
        )

    def __repr__(self) -> str:
        return f"FeatureDashboard({self.feature})"


def _place(given: Any) -> tuple[int, int, int]:
    """Document, start and length of an excerpt, as the page sends it."""
    whole = isinstance(given, list) and len(given) == 3
    if not whole or not all(isinstance(v, int) and not isinstance(v, bool) for v in given):
        raise InputError("An excerpt is document, start and length.")
    document, start, n = given
    if n > _TOKENS:
        raise InputError(f"An excerpt of {n} tokens.", f"Give {_TOKENS} at most.")
    return document, start, n


def _fit_json(found: Fit) -> dict[str, Any]:
    return {
        "specificity": number(found.specificity, 4),
        "sensitivity": number(found.sensitivity, 4),
        "pearson": number(found.pearson, 4),
        "tokens": found.tokens,
        "on": found.on,
        "holds": found.holds,
        "both": found.both,
    }


def _kept(cache: OrderedDict[Any, Any], key: Any, most: int = _KEPT) -> Any:
    """An entry, now the newest; the oldest go."""
    cache.move_to_end(key)
    while len(cache) > most:
        cache.popitem(last=False)
    return cache[key]
