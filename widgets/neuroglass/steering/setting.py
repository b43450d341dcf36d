"""Settings: one feature, how it is changed, how much and where. What a row of sliders stands for.

Settings flow in from sliders, cells or JSON; edits of the live model flow out, after everything
that can be wrong with a number, a unit or a pair of settings has been refused.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from numbers import Real
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from neuroglass.model.basis import Basis, Directions, Feature, Head
from neuroglass.model.edits import Ablate, Add, Cap, Clamp, Edit, Orthogonal, Scale
from neuroglass.model.errors import InputError, nearest
from neuroglass.model.positions import Positions
from neuroglass.steering.strength import UNITS, Scales, Steerable, Unit, find, id_of

if TYPE_CHECKING:
    from neuroglass.model.live import LiveModel

Mode: TypeAlias = Literal["add", "clamp", "scale", "ablate", "orthogonal", "cap"]
# mode -> formula, for a menu; f: the feature's activation, d: its direction (output scale included)
MODES: dict[Mode, str] = {
    "add": "h + v·d",
    "clamp": "h + (v - f)·d: the feature is v, all else stays",
    "scale": "h + (v - 1)·f·d: the feature is v times what it was",
    "ablate": "h - f·d: the feature is 0",
    "orthogonal": "(I - P)h + v·P·h, P = d·dᵀ/‖d‖²: what lies along d, times v",
    "cap": "h - max(0, ⟨h,d⟩/‖d‖² - v)·d: at most v along d",
}
_FACTOR = {"scale", "orthogonal"}  # v is a pure number: units mean nothing
HUGE = 100.0  # times ‖h‖: nothing of the model is left


@dataclass(frozen=True)
class Setting:
    """One feature and what is done with it.

    Attributes:
        feature: a feature of any basis (or a store's, with its model attached), or a head
            (``scale`` and ``ablate`` only).
        mode: a key of ``MODES``.
        value: v, in `unit`.
        unit: a key of ``UNITS``. ``scale`` and ``orthogonal`` take a pure number, ``ablate`` none.
        positions: as in ``ng.Add``: "all", "prompt", "generated", positions, or a slice:
            ``slice(5, None)`` is from token 5 on.
        skip_special: leave special tokens as they are.
        layers: layers whose site of the same name is changed, in place of the feature's own. Along
            its direction only: ``add``, ``orthogonal``, ``cap``, or any mode of ``Directions``.

    Raises:
        InputError: a value is NaN, infinite or of no known mode, unit or layer.
    """

    feature: Steerable
    mode: Mode = "add"
    value: float = 0.0
    unit: Unit = "raw"
    positions: Positions = "all"
    skip_special: bool = True
    layers: tuple[int, ...] | None = field(default=None)

    def __post_init__(self) -> None:
        inner = getattr(self.feature, "feature", None)  # of a store
        if isinstance(inner, Feature):
            object.__setattr__(self, "feature", inner)
        if not isinstance(self.feature, Feature | Head):
            raise InputError(
                f"{type(self.feature).__name__} can't be steered.",
                "Give a feature, such as sae[123], model.neuron(5, 77) or ng.contrast(...)[0].",
            )
        if self.mode not in MODES:
            raise InputError(f"There is no mode {self.mode!r}.", nearest(self.mode, MODES))
        if self.unit not in UNITS:
            raise InputError(f"There is no unit {self.unit!r}.", nearest(self.unit, UNITS))
        if isinstance(self.value, bool) or not isinstance(self.value, Real):
            raise InputError(f"The strength is {self.value!r}, no number.", "Give a number.")
        if not math.isfinite(self.value):
            raise InputError(
                f"The strength of {id_of(self.feature)} is {self.value}.", "Give a finite number."
            )
        object.__setattr__(self, "value", float(self.value))
        if isinstance(self.feature, Head) and self.mode not in {"scale", "ablate"}:
            raise InputError(
                f"A head has no direction of its own to {self.mode}.",
                "Use 'scale' or 'ablate', or a direction at its head_out.",
            )
        if self.mode in _FACTOR and self.unit != "raw":
            raise InputError(
                f"{self.mode!r} multiplies by a pure number: the unit {self.unit!r} means nothing.",
                "Leave the unit out.",
            )
        if self.layers is not None:
            object.__setattr__(self, "layers", tuple(self.layers))
            if not self.layers:
                raise InputError("layers are empty.", "Name some, or None for the feature's own.")
            self._placed()

    # -- places ----------------------------------------------------------------------------------

    def _placed(self) -> list[Steerable]:
        """The feature at each of its layers.

        Raises:
            InputError: it can't be moved there.
        """
        feature = self.feature
        if self.layers is None:
            return [feature]
        if isinstance(feature, Head) or feature.write_site.layer is None:
            raise InputError(f"{id_of(feature)} belongs to one place.", "Leave layers out.")
        movable = self.mode in {"add", "orthogonal", "cap"} or isinstance(feature.basis, Directions)
        out: list[Steerable] = []
        for layer in dict.fromkeys(self.layers):
            site = feature.model.site(f"{feature.write_site.name}.{layer}")
            if layer == feature.write_site.layer and feature.read_site == feature.write_site:
                out.append(feature)
            elif not movable:
                raise InputError(
                    f"{self.mode!r} reads {feature.basis.name}, which belongs to layer "
                    f"{feature.write_site.layer}, not to layer {layer}.",
                    "Use 'add', 'orthogonal' or 'cap' at other layers.",
                )
            else:
                name = f"{feature.basis.name}-{feature.index}-at-{layer}"
                out.append(Directions(feature.model, site, feature.direction[None], name)[0])
        return out

    # -- numbers ---------------------------------------------------------------------------------

    def in_units(self, scales: Scales | None = None) -> dict[Unit, float | None]:
        """The strength in every unit; None where a unit is not known yet, or means nothing."""
        known = scales if scales is not None else self._bare()
        if self.mode in _FACTOR or self.mode == "ablate":
            return {unit: self.value if unit == "raw" else None for unit in UNITS}
        return known.convert(self.value, self.unit)

    def _bare(self) -> Scales:
        if isinstance(self.feature, Head):
            return Scales(1.0)
        return Scales(float(self.feature.direction.float().norm()))

    def amount(self, scales: Scales | None = None) -> tuple[float, bool]:
        """V as an edit takes it, and whether it is a fraction of ‖h‖.

        Raises:
            InputError: the unit is not known yet; the strength is more than 100 times ‖h‖.
        """
        if self.mode in _FACTOR or self.mode == "ablate":
            return self.value, False
        known = scales if scales is not None else self._bare()
        one = 1.0 if self.unit == "norm" else known.one(self.unit)
        if one is None:
            raise InputError(
                f"{UNITS[self.unit][2:]} of {id_of(self.feature)} is not known yet.",
                "Take it from a store, or measure it: ng.calibrate(model, [feature], texts).",
            )
        value = self.value * one
        share: float | None = abs(value)
        if self.unit != "norm":
            share = known.norm and abs(value) * known.direction / known.norm
        if self.mode != "cap" and share is not None and share > HUGE:
            raise InputError(
                f"A strength of {self.value:,.4g} ({self.unit}) moves h by {share:,.3g} times its "
                f"own norm{f' (‖h‖ is about {known.norm:.3g})' if known.norm else ''}: nothing of "
                "the model's own would be left.",
                f"Give at most {abs(self.value) * HUGE / share:.3g}; 0.1 to 1 times ‖h‖ is usual.",
            )
        return value, self.unit == "norm"

    # -- edits -----------------------------------------------------------------------------------

    def edits(
        self,
        scales: Scales | None = None,
        *,
        rows: Sequence[int] | None = None,
        values: Sequence[float] | None = None,
    ) -> list[Edit]:
        """What it does to the model: one edit per layer.

        Args:
            scales: for units other than raw and ‖h‖.
            rows: rows of the batch; None: all.
            values: a v for every row of the batch in place of one for all.

        Raises:
            InputError: see ``amount``.
        """
        amount, of_norm = self.amount(scales)
        value: float | list[float] = amount
        if values is not None:
            value = [self.with_value(v).amount(scales)[0] for v in values]
            if isinstance(self.feature, Head):
                raise InputError("A head has one strength for all rows.")
        where: dict[str, Any] = {
            "positions": self.positions,
            "skip_special": self.skip_special,
            "rows": rows,
        }
        made: list[Edit] = []
        for feature in self._placed():
            match self.mode:
                case "add":
                    made.append(Add(feature, strength=value, of_norm=of_norm, **where))
                case "clamp":
                    made.append(Clamp(feature, value, of_norm=of_norm, **where))
                case "cap":
                    made.append(Cap(feature, value, of_norm=of_norm, **where))
                case "scale":
                    made.append(Scale(feature, value, **where))
                case "orthogonal":
                    made.append(Orthogonal(feature, value, **where))
                case "ablate":
                    made.append(Ablate(feature, **where))
        return made

    def code(self) -> str:
        """The Python that makes it, the feature as its id."""
        feature = repr(id_of(self.feature))
        return f"ng.Setting.of({self.arguments(feature)}, model=model, bases=[])"

    def arguments(self, feature: str) -> str:
        """The arguments that make it, as Python; `feature` stands for the feature."""
        parts = [feature, repr(self.mode)]
        if self.mode != "ablate":
            parts.append(f"{self.value:g}")
        if self.unit != "raw":
            parts.append(f"unit={self.unit!r}")
        if self.positions != "all":
            parts.append(f"positions={self.positions!r}")
        if not self.skip_special:
            parts.append("skip_special=False")
        if self.layers is not None:
            parts.append(f"layers={self.layers!r}")
        return ", ".join(parts)

    # -- JSON ------------------------------------------------------------------------------------

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values; the feature as its id."""
        return {
            "feature": id_of(self.feature),
            "mode": self.mode,
            "value": self.value,
            "unit": self.unit,
            "positions": positions_json(self.positions),
            "skip_special": self.skip_special,
            "layers": None if self.layers is None else list(self.layers),
        }

    @classmethod
    def from_json(
        cls, data: Mapping[str, Any], model: LiveModel, bases: Sequence[Basis] = ()
    ) -> Setting:
        """Read what ``to_json`` wrote.

        Args:
            data: the JSON object.
            model: the live model.
            bases: dictionaries and directions among which features are looked up.

        Raises:
            InputError: an unknown key or feature, a feature of another model, a bad value.
        """
        if not isinstance(data, Mapping) or not isinstance(data.get("feature"), str):
            raise InputError("A setting is a JSON object with a feature's id.", "See to_json().")
        known = cls.__dataclass_fields__
        if wrong := [k for k in data if k not in known]:
            raise InputError(f"A setting has no {wrong[0]!r}.", nearest(wrong[0], known))
        given = dict(data)
        for name, words in (("mode", MODES), ("unit", UNITS)):
            if not isinstance(given.get(name, ""), str):
                raise InputError(f"{name!r} of a setting is {given[name]!r}.", nearest("", words))
        if not isinstance(given.get("skip_special", True), bool):
            raise InputError(
                f"'skip_special' of a setting is {given['skip_special']!r}.",
                "It must be true or false.",
            )
        given["positions"] = positions_from_json(given.get("positions", "all"))
        if given.get("layers") is not None:
            if not _whole(given["layers"]):
                raise InputError(
                    f"The layers are {given['layers']!r}.", "Give whole numbers, such as [3, 4]."
                )
            given["layers"] = tuple(given["layers"])
        given["feature"] = find(given["feature"], model, bases)
        return cls(**given)

    @classmethod
    def of(
        cls,
        feature: Steerable | str,
        mode: Mode = "add",
        value: float = 0.0,
        *,
        model: LiveModel | None = None,
        bases: Sequence[Basis] = (),
        **options: Any,
    ) -> Setting:
        """As ``Setting(...)``, with the feature as its id if you like.

        Raises:
            InputError: as ``Setting``; an id without a model.
        """
        if isinstance(feature, str):
            if model is None:
                raise InputError("A feature's id needs its model.", "Give model=.")
            feature = find(feature, model, bases)
        return cls(feature, mode, value, **options)

    def with_value(self, value: float) -> Setting:
        """The same with another strength."""
        return replace(self, value=value)

    def __repr__(self) -> str:
        unit = "" if self.unit == "raw" else f" {UNITS[self.unit].split(',')[0]}"
        value = "" if self.mode == "ablate" else f" {self.value:g}{unit}"
        return f"Setting({self.mode} {id_of(self.feature)}{value}, {self.positions})"


def positions_json(positions: Positions) -> Any:
    """Positions as plain JSON: a name, a number, a list, or ``{"from": 5, "to": None}``."""
    if isinstance(positions, slice):
        return {"from": positions.start or 0, "to": positions.stop}
    return positions if isinstance(positions, str | int) else [int(p) for p in positions]


def positions_from_json(given: Any) -> Positions:
    """Read what ``positions_json`` wrote.

    Raises:
        InputError: it is something else.
    """
    if isinstance(given, str) or _whole([given]) or _whole(given):
        return given  # type: ignore[no-any-return]
    if isinstance(given, Mapping) and set(given) <= {"from", "to"}:
        first, last = given.get("from", 0), given.get("to")
        if _whole([first]) and (last is None or _whole([last])):
            return slice(first, last)
    raise InputError(
        f"The positions are {given!r}.",
        'Give "all", "prompt", "generated", positions such as [0, 3], or {"from": 5, "to": null}.',
    )


def _whole(given: Any) -> bool:
    return isinstance(given, list) and all(
        isinstance(x, int) and not isinstance(x, bool) for x in given
    )


def edits_of(
    settings: Sequence[Setting],
    model: LiveModel,
    scales: Mapping[str, Scales] | None = None,
    *,
    rows: Sequence[int] | None = None,
) -> list[Edit]:
    """The edits of several settings, in their order.

    Args:
        settings: what is done.
        model: whose features they must be.
        scales: feature id -> scales, for units.
        rows: rows of the batch that are changed; None: all.

    Raises:
        InputError: no settings but something else; a feature of another model; two settings that
            set one feature at the same tokens; a unit that is not known; a huge strength.
    """
    if isinstance(settings, Setting) or not all(isinstance(s, Setting) for s in settings):
        raise InputError("settings is a list of ng.Setting.", "Write [ng.Setting(feature, ...)].")
    made: list[Edit] = []
    for i, one in enumerate(settings):
        model.owns(one.feature.model, id_of(one.feature))
        for other in settings[:i]:
            if _conflict(one, other):
                raise InputError(
                    f"Two settings ({other.mode} and {one.mode}) set {id_of(one.feature)} at the "
                    "same tokens.",
                    "Keep one of them, or give them different positions or layers.",
                )
        made += one.edits((scales or {}).get(id_of(one.feature)), rows=rows)
    return made


def _conflict(one: Setting, other: Setting) -> bool:
    """Whether both set one feature at the same tokens. Numbered positions: ``bind`` compares."""
    if not {one.mode, other.mode} <= {"clamp", "ablate"}:
        return False
    if id_of(one.feature) != id_of(other.feature) or not _layers(one) & _layers(other):
        return False
    if isinstance(one.feature, Feature) and isinstance(other.feature, Feature):
        mine, theirs = one.feature.basis, other.feature.basis
        if mine is not theirs and mine.fingerprint != theirs.fingerprint:
            return False  # two bases of one name
    both = [one.positions, other.positions]
    return all(isinstance(p, str) for p in both) and set(map(str, both)) != {"prompt", "generated"}


def _layers(setting: Setting) -> set[int | None]:
    feature = setting.feature
    own = feature.write_site.layer if isinstance(feature, Feature) else feature.layer
    return {own} if setting.layers is None else set(setting.layers)
