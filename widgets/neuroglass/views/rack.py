"""The rack: every feature that a view's sliders can hold, how large each is, and how it is found.

Handles, ids, searches and pairs of texts flow in; features flow out, with what the browser must
know of each: its modes, its units and where they are from, and the Python that names it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from neuroglass import zoo
from neuroglass.model.basis import Basis, Feature, Head, NeuronBasis
from neuroglass.model.errors import InputError
from neuroglass.model.zoo import zoo_texts
from neuroglass.steering.contrast import Contrast, contrast
from neuroglass.steering.setting import MODES, Setting
from neuroglass.steering.strength import UNITS, Scales, Steerable, find, id_of, scales
from neuroglass.views.sources import Sources

if TYPE_CHECKING:
    from neuroglass.features.store import Store
    from neuroglass.model.live import LiveModel
    from neuroglass.model.prompts import Prompt
    from neuroglass.steering.contrast import Method

FOUND = 12  # features that a search names
_HEAD = re.compile(r"heads?[ .]?(\d+)[ ./](\d+)")
_SHORT = 600  # characters of each text that a calibration reads where none are given


class Rack:
    """See the module.

    Args:
        model: the live model.
        bases: dictionaries and directions whose features can be added by number.
        store: of one of them: gives scales, and searches by what features fire at.
        texts: what a calibration reads; none: some of ``ng.zoo_texts()`` of every category.

    Attributes:
        scales: feature id -> what is known of it.

    Raises:
        InputError: a basis or store of another model, two bases of one name.
    """

    def __init__(
        self,
        model: LiveModel,
        bases: Sequence[Basis] = (),
        store: Store | None = None,
        texts: Sequence[str] = (),
    ) -> None:
        self.model = model
        self._sources = Sources(model, bases)
        self.bases = self._sources.bases
        self.scales: dict[str, Scales] = {}
        self._given = list(texts)
        self._fires: dict[int, list[str]] = {}  # of the store's features
        self._code = dict(self._sources.code)
        self.store = store
        if store is not None:
            if not store.has_basis:
                self.store = store = store.attach(model, *self._one_named(store.name))
            if not isinstance(store.basis, NeuronBasis):
                self._hold(store.basis)

    def _one_named(self, name: str) -> list[Basis]:
        return [self.bases[name]] if name in self.bases else []

    def _hold(self, basis: Basis) -> None:
        if isinstance(basis, NeuronBasis):
            return  # the model brings it
        have = self.bases.get(basis.name)
        if have is None:
            self._sources = Sources(self.model, [*self.bases.values(), basis])
            self.bases = self._sources.bases
            self._code = {**self._sources.code, **self._code}
        elif have is not basis and have.fingerprint != basis.fingerprint:
            raise InputError(f"There are two bases called {basis.name!r}.", "Rename one.")

    @property
    def texts(self) -> list[str]:
        """What a calibration reads."""
        return self._given or [t[:_SHORT] for some in zoo_texts().values() for t in some[:2]]

    def choices(self) -> dict[str, Any]:
        """What the browser offers for adding features and setting sliders."""
        model = self.model
        tokenizer = model.tokenizer
        return {
            "modes": dict(MODES),
            "units": dict(UNITS),
            "bases": [{"name": b.name, "size": b.n_features} for b in self.bases.values()],
            "layers": model.n_layers,
            "store": "" if self.store is None else self.store.name,
            "chat": tokenizer is not None and tokenizer.chat_template is not None,
            "context": model.context,
        }

    # -- features ----------------------------------------------------------------------------

    def take(self, given: Any) -> list[Setting]:
        """The settings of what a person names: a feature, a head, an id, a setting, directions.

        Raises:
            InputError: none of these, or of another model.
        """
        if isinstance(given, Contrast):
            self._hold(given)
            return given.settings(0.0)
        if isinstance(given, Setting):
            self.own(given.feature)
            return [given]
        feature = self.find(given) if isinstance(given, str) else given
        if not isinstance(feature, Feature | Head):
            raise InputError(
                f"{type(given).__name__} can't be steered.",
                "Give features, such as sae[123], model.neuron(0, 77) or model.head(0, 3).",
            )
        self.own(feature)
        return [self.idle(feature)]

    def own(self, feature: Steerable) -> None:
        """Take a handle's basis in, so that its features can be named.

        Raises:
            InputError: another model's, or a second basis of one name.
        """
        self.model.owns(feature.model, id_of(feature))
        if isinstance(feature, Feature):
            self._hold(feature.basis)

    def idle(self, feature: Steerable) -> Setting:
        """A setting that changes nothing yet."""
        if isinstance(feature, Head):
            return Setting(feature, "scale", 1.0)
        known = self.known(feature)
        return Setting(feature, "add", 0.0, "max" if known.max else "norm")

    def known(self, feature: Feature) -> Scales:
        """What is known of a feature without running the model."""
        if feature.id not in self.scales:
            stored = None
            if self.store is not None and self._stored(feature):
                stored = self.store[feature.index]
            source = f"store {self.store.name}" if self.store is not None else ""
            self.scales[feature.id] = scales(feature, stored, source=source)
        return self.scales[feature.id]

    def learn(self, found: Mapping[str, Scales]) -> None:
        """Keep what was measured; a largest activation and a deviation that are known stay."""
        for name, new in found.items():
            old = self.scales.get(name)
            if old is not None and old.max is not None and new.max is None:
                new = replace(old, norm=new.norm or old.norm)  # noqa: PLW2901 - the better of both
            self.scales[name] = new

    def about(self, feature: Steerable) -> dict[str, Any]:
        """What the browser must know of a feature."""
        made: dict[str, Any] = {"id": id_of(feature), "label": self.label(feature)}
        if isinstance(feature, Head):
            what = f"attention head {feature.index} of layer {feature.layer}"
            return made | {"what": what, "modes": ["scale", "ablate"], "units": {"raw": 1.0}}
        known = self.known(feature)
        return made | {
            "what": f"{feature.basis.name}, written at {feature.write_site}",
            "modes": list(MODES),
            "units": {unit: known.one(unit) for unit in UNITS},
            "source": known.source,
            "fires": self._fires_at(feature),
        }

    def label(self, feature: Steerable) -> str:
        """A short name: ``A-8x/123``, ``neurons.0/77``, ``head 0.3``."""
        if isinstance(feature, Head):
            return f"head {feature.layer}.{feature.index}"
        neurons = isinstance(feature.basis, NeuronBasis)
        return f"{feature.read_site if neurons else feature.basis.name}/{feature.index}"

    def _fires_at(self, feature: Feature) -> list[str]:
        """Tokens that it fires at most, from the store."""
        if self.store is None or not self._stored(feature):
            return []
        if feature.index not in self._fires:  # asked for at every move of a slider
            tokens = self.store.tokens(feature.index)["token"]
            self._fires[feature.index] = [str(t) for t in tokens.head(4)]
        return self._fires[feature.index]

    def _stored(self, feature: Feature) -> bool:
        """The store knows it."""
        store = self.store
        return store is not None and store.basis.fingerprint == feature.basis.fingerprint

    # -- searching ---------------------------------------------------------------------------

    def find(self, text: str) -> Steerable:
        """A feature or head by its id, or by what its slider is called.

        Raises:
            InputError: nothing here is called that.
        """
        name = text.strip()
        if head := _HEAD.fullmatch(name):
            return self.model.head(int(head[1]), int(head[2]))
        if name.isdecimal() and self.bases:
            name = f"{next(iter(self.bases))}/{name}"
        owner, _, index = name.rpartition("/")
        if owner in self.bases and index.isdecimal():
            basis = self.bases[owner]
            return find(f"{self.model.name}/{basis.read_site}/{owner}/{index}", self.model, [basis])
        if owner.count("/") >= 2:
            return find(name, self.model, list(self.bases.values()))
        if owner.startswith("neurons.") and index.isdecimal():
            return self.model.neuron(self.model.site(owner).layer or 0, int(index))
        have = [f"{b}/0" for b in self.bases]
        raise InputError(
            f"{text!r} is no feature here.",
            f"Write it as {', '.join([*have, 'neurons.0/77', 'head 0.3'])}, or as its whole id.",
        )

    def strongest(
        self, prompt: Prompt, place: str, position: int | None = None
    ) -> list[tuple[Steerable, str]]:
        """Features strongest on a prompt (inference search), at one of its tokens or on all.

        Args:
            prompt: what is read.
            place: a basis, or ``neurons.3``.
            position: the token; None: any that is not special or massive.

        Raises:
            InputError: no such place or token.
        """
        site = None if place in self.bases else self.model.site(place)
        source = self._sources.find(*((place, 0) if site is None else (site.name, site.layer or 0)))
        run = self.model.run(prompt, sites=[source.site], logits=False)
        values = source.read(run)
        pieces = run.pieces()[0]
        if position is not None and not 0 <= position < len(pieces):
            raise InputError(f"The prompt has no token {position}.")
        counted = (run.mask & ~run.masks["special"] & ~run.masks["massive"])[0].cpu().numpy()
        found: list[tuple[Steerable, str]] = []
        if position is not None:
            for index, value in values.at(position, FOUND):
                found.append((self._at(source.name, index), f"{value:.3g}"))
            return found
        for index in values.largest(counted, FOUND):
            column = values.column(index)
            best = int(abs(column).argmax())
            if column[best]:
                where = f"{column[best]:.3g} at “{pieces[best]}”"
                found.append((self._at(source.name, index), where))
        return found

    def _at(self, place: str, index: int) -> Steerable:
        return self.find(f"{place}/{index}")

    def stored(self, how: str, query: str) -> list[tuple[Steerable, str]]:
        """Features by what they fire at in the store's corpus: a token, or a text.

        Raises:
            InputError: no store, no such token.
        """
        if self.store is None:
            raise InputError("There is no store to search.", "Give one: store=ng.open_store(...).")
        if how == "token":
            rows = self.store.find(token=query, limit=FOUND)
            said = [
                f"{x:.0%} of its firings, {y:.0%} of the tokens"
                for x, y in zip(rows["share"], rows["on"], strict=True)
            ]
        else:
            rows = self.store.find(text=query, limit=FOUND)
            said = [f"{n} examples" for n in rows["examples"]]
        basis = self.store.basis
        return [(Feature(basis, int(i)), why) for i, why in zip(rows.index, said, strict=True)]

    def contrast(self, positive: str, negative: str, site: str, method: str) -> list[Setting]:
        """A direction from two fields of texts, one text a line; ready to be added at strength 1.

        Raises:
            InputError: see ``ng.contrast``.
        """
        plus, minus = (
            [line for line in field.split("\n") if line.strip()] for field in (positive, negative)
        )
        number = 1 + sum(isinstance(b, Contrast) for b in self.bases.values())
        while (name := f"contrast-{number}") in self.bases:
            number += 1
        made = contrast(
            self.model,
            plus,
            minus,
            site,
            method=cast("Method", method),  # contrast checks it
            name=name,
        )
        self._hold(made)
        self._code[name] = (
            f"ng.contrast(model, {plus!r}, {minus!r}, {site!r}, method={method!r}, name={name!r})"
        )
        return made.settings(1.0)

    # -- code --------------------------------------------------------------------------------

    def handles(self, features: Sequence[Steerable]) -> tuple[list[str], list[str]]:
        """Python that names features: lines that make their bases, and an expression for each."""
        needed = dict.fromkeys(
            f.basis.name for f in features if isinstance(f, Feature) and f.basis.name in self.bases
        )
        names = {b: re.sub(r"\W", "_", b).lower() for b in needed}
        names = {b: n if n.isidentifier() else f"basis_{n}" for b, n in names.items()}
        lines = [f"{names[b]} = {self._code[b]}" for b in needed]
        made = []
        for f in features:
            if isinstance(f, Head):
                made.append(f"model.head({f.layer}, {f.index})")
            elif f.basis.name in names:
                made.append(f"{names[f.basis.name]}[{f.index}]")
            else:
                made.append(f"model.neuron({f.read_site.layer}, {f.index})")
        return lines, made

    def code(self, settings: Sequence[Setting]) -> tuple[list[str], str, str]:
        """Python that makes settings: lines that come first, the list, and more arguments."""
        lines, handles = self.handles([s.feature for s in settings])
        more = ""
        if self.store is not None:
            name = self.store.name
            where = f"zoo/{name}" if name in zoo.stores() else str(self.store.folder)
            lines.append(f"store = ng.open_store({where!r}, model)")
            more = ", store=store"
        listed = [self._one(s, h) for s, h in zip(settings, handles, strict=True)]
        return lines, f"[{', '.join(listed)}]", more

    def _one(self, setting: Setting, handle: str) -> str:
        if setting.unit in {"max", "std"} and isinstance(setting.feature, Feature):
            one = self.known(setting.feature).one(setting.unit)
            if one is not None and not self._stored(setting.feature):
                # what a calibration has measured is not known to whoever runs the code
                setting = replace(setting, value=setting.value * one, unit="raw")
        return f"ng.Setting({setting.arguments(handle)})"
