"""``ng.FeatureMap``: the features of a store in the plane, near each other where they point alike.

A store flows in; what its features write, in two dimensions by PCA or UMAP, flows to the page with
every column that points can be coloured by. Selections flow back as traits.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import traitlets as t

from neuroglass.features import plane as planes
from neuroglass.features.plane import Plane
from neuroglass.features.store import Store
from neuroglass.model.errors import InputError, nearest
from neuroglass.model.worker import Cancelled
from neuroglass.views import map_frame, map_picture
from neuroglass.views.base import bundle
from neuroglass.views.protocol import Request
from neuroglass.views.stored import StoreView

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

_AT_ONCE = 1e10  # multiplications that one may wait for: about a second
ATTACH = "attach a model: store.attach(model)"


class FeatureMap(StoreView):
    """Features as points: what they write, in two dimensions.

    Each direction is brought to length 1 and compared at the site that the basis writes to (of
    neurons, where each is an axis of its own, in the residual stream). PCA centres them; the sign
    of an axis is such that the component's largest coordinate is positive. UMAP (``pip install
    'neuroglass[umap]'``) runs in a process of its own, with the parameters of *Towards
    Monosemanticity*: n_neighbors 15, cosine, min_dist 0.05, and a fixed seed.

    A map needs the model once; then it is kept with the store's annotations and opens without.

    Args:
        store: from ``ng.open_store`` or ``ng.harvest``.
        method: ``"pca"`` or ``"umap"``.
        colour: a numeric column of ``store.to_frame()``, ``score`` or ``rating`` of its
            annotations, a name of `columns`, or ``"firing"`` (on, ultralow, dead), ``"commonest
            token"``, ``"list"``, ``"store"``.
        subset: features that are selected.
        feature: the one that is pointed out: index, id or handle.
        others: further stores of the same model and write site, in the same space and with another
            shape of marker.
        columns: values of your own, one for each feature, by name.
        parameters: of the method, in place of the above.
        **traits: ``title``, ``theme``.

    Traits:
        method, colour, subset, feature: as above. Settable; names that ``ng.link`` joins.
        progress: how far the making of a map is; ``""``: none is being made.
        frame: what the page draws.

    Raises:
        InputError: unknown column, feature or parameter; stores that do not fit together.
        TypeError: an unknown keyword.
    """

    _esm = bundle("feature_map", "js")
    _css = bundle("feature_map", "css")
    _handlers: ClassVar[dict[str, str]] = {
        **StoreView._handlers,
        "list": "_on_list",
        "stop": "_on_stop",
    }

    method = t.Unicode("pca").tag(sync=True)
    colour = t.Unicode("density").tag(sync=True)
    subset: t.List[Any] = t.List(t.Int()).tag(sync=True)
    progress = t.Unicode("").tag(sync=True)
    lists: t.List[Any] = t.List(t.Unicode()).tag(sync=True)
    frame = t.Dict().tag(sync=True)
    # of a picture from a state: nothing
    _stores: tuple[Store, ...] = ()
    _plane: Plane | None = None
    _thread: threading.Thread | None = None
    _failed: Exception | None = None
    _stopped = threading.Event()

    def __init__(
        self,
        store: Store,
        *,
        method: str = "pca",
        colour: str = "density",
        subset: Sequence[Any] = (),
        feature: Any = None,
        others: Sequence[Store] = (),
        columns: Mapping[str, Any] | None = None,
        parameters: Mapping[str, Any] | None = None,
        **traits: Any,
    ) -> None:
        for one in (store, *others):
            if not isinstance(one, Store):
                raise InputError(
                    f"A map is of a store, not of {type(one).__name__}.",
                    "store = ng.open_store('zoo/A-8x')",
                )
        self._stores = (store, *others)
        self._given = dict(parameters or {})
        self._columns = {name: _own(name, v, store) for name, v in (columns or {}).items()}
        planes.parameters_of(method, self._given)
        planes.space_of(self._stores)
        self._table = map_frame.table_of(self._stores, self._columns)
        self._begin(
            store,
            method=method,
            colour=colour,
            subset=[store.index(f) for f in subset],
            feature=feature,
            **traits,
        )
        self.lists = list(store.annotations.lists())
        self._start()
        self.observe(lambda _: self._start(), names=["method", "attached"])
        self.observe(lambda _: self._write_code(), names=["method", "colour"])
        self._write_code()

    @classmethod
    def from_state(cls, state: Mapping[str, Any], store: Store | None = None) -> FeatureMap:
        """The view that `state` describes: with a `store` one that goes on, else a picture."""
        if store is None:
            return super().from_state(state)
        names = ("method", "colour", "subset", "feature", "theme", "title")
        return cls(store, **{k: state[k] for k in names if k in state})

    def attach(self, store: Store, *others: Store) -> None:
        """Go on with the same stores and their live model; a map that is not there yet is made.

        Raises:
            InputError: other stores than those of the view.
        """
        given = {s.folder: s for s in (store, *others)}
        self._stores = tuple(given.get(s.folder, s) for s in self._stores)
        super().attach(store)

    # -- traits ------------------------------------------------------------------------------

    @t.validate("method")
    def _check_method(self, proposal: Any) -> Any:
        if self._has_store:
            planes.parameters_of(proposal["value"], self._given)
        return proposal["value"]

    @t.validate("colour")
    def _check_colour(self, proposal: Any) -> Any:
        if self._has_store:
            known = [*map_frame.numeric(self._table), *self._category_names()]
            if proposal["value"] not in known:
                raise InputError(
                    f"There is no column {proposal['value']!r} here.",
                    nearest(proposal["value"], known),
                )
        return proposal["value"]

    @t.validate("subset")
    def _check_subset(self, proposal: Any) -> Any:
        value = list(dict.fromkeys(proposal["value"]))
        if self._has_store and value:
            n = self._stores[0].n_features
            bad = [v for v in (min(value), max(value)) if not 0 <= v < n]
            if bad:
                self._stores[0].index(bad[0])
        return value

    @property
    def _has_store(self) -> bool:
        return bool(self._stores)

    def _category_names(self) -> list[str]:
        made = map_frame.categories(self._stores, self._table)
        return [c["key"] for c in made]

    def _write_code(self) -> None:
        lines = [self._store_code()]
        model = ", model" if self.store.has_basis else ""
        names = []
        for k, other in enumerate(self._stores[1:], 1):
            names.append(f"other_{k}")
            lines.append(f"other_{k} = ng.open_store({_address(other)!r}{model})")
        call = f"ng.FeatureMap(store, method={self.method!r}, colour={self.colour!r}"
        call += f", others=[{', '.join(names)}]" if names else ""
        call += f", parameters={self._given!r}" if self._given else ""
        call += ", columns=...)  # values of your own" if self._columns else ")"
        self.code = "\n".join([*lines, call])

    # -- making ------------------------------------------------------------------------------

    def _start(self) -> None:
        """Show the map that is kept, or make it: at once if it is quick, else on a thread."""
        self._halt()
        self._failed = None
        parameters = planes.parameters_of(self.method, self._given)
        found = planes.kept(self._stores, self.method, parameters)
        if found is not None:
            self._show(found)
            return
        if not all(s.has_basis for s in self._stores):
            if self._plane is not None:
                self._plane = None
                self.frame = {}
            return  # the page says what to do
        stop = self._stopped = threading.Event()
        method = self.method
        if planes.cost(self._stores, method) <= _AT_ONCE:
            self._make(method, parameters, stop, lambda _: None)
            return

        def tell(text: str) -> None:
            with self._lock:
                if not stop.is_set():
                    self.progress = text

        tell(f"{method.upper()} begins")
        self._thread = threading.Thread(
            target=self._make, args=(method, parameters, stop, tell), daemon=True
        )
        self._thread.start()

    def _make(
        self,
        method: str,
        parameters: dict[str, Any],
        stop: threading.Event,
        tell: Callable[[str], None],
    ) -> None:
        try:
            made = planes.make(self._stores, method, parameters, tell, stop)
        except Cancelled:
            return  # who stopped it has said so
        except Exception as error:
            with self._writing():
                if not stop.is_set():
                    self._failed = error
                    self.progress = ""
                    self._show_error(error)
            return
        notice = ""
        try:
            planes.keep(self._stores, made)
        except OSError as error:
            notice = f"The map is not kept: {error}."
        with self._writing():
            if not stop.is_set():
                self._show(made, notice)

    def _show(self, made: Plane, notice: str = "") -> None:
        with self._writing():
            self._plane = made
            self.progress = ""
            self.set_trait("error", None)
            self.frame = map_frame.frame(self._stores, made, self._table, notice)

    def stop(self) -> None:
        """End the making of a map, and go back to the one that is shown.

        If none is being made, nothing happens.
        """
        self._halt()
        if self._plane is not None and self._plane.method != self.method:
            self.method = self._plane.method

    def _halt(self) -> None:
        self._stopped.set()
        with self._writing():
            self.progress = ""

    def wait(self, timeout: float = 600.0) -> None:
        """Wait until the map is made.

        Raises:
            TimeoutError: it takes longer than `timeout` seconds.
            InputError: it failed, there is no model.
        """
        if self._thread is not None:
            self._thread.join(timeout)
            if self._thread.is_alive():
                raise TimeoutError(f"The map is not made within {timeout:g} s.")
        if self._failed is not None:
            raise self._failed
        self._need_map()

    # -- requests ----------------------------------------------------------------------------

    def _on_stop(self, request: Request) -> None:
        self.stop()
        self._answer(request)

    def _on_list(self, request: Request) -> None:
        """Put features on a list; lists are a column that points may be coloured by."""
        name, features = request.get("name", str).strip(), request.integers("features")
        annotations = self._stores[0].annotations
        annotations.put(name, *features)
        with self._writing():
            self.lists = list(annotations.lists())
            self.refresh()
        self._answer(request, name=name, count=len(annotations.lists()[name]))

    def refresh(self) -> None:
        """Read again what was said of the features: explanations, scores, lists.

        Raises:
            InputError: this is a picture without its store.
        """
        if not self._has_store:
            raise InputError("This is a picture.", "FeatureMap.from_state(state, store)")
        self._table = map_frame.table_of(self._stores, self._columns)
        if self._plane is not None:
            self._show(self._plane)

    # -- the same elsewhere --------------------------------------------------------------------

    def _need_map(self) -> None:
        if not self.frame:
            raise InputError("There is no map yet.", f"To make one, {ATTACH}.")

    def to_frame(self) -> pd.DataFrame:
        """One row for each point: store, feature, x, y, ``subset`` (selected), and all columns.

        Raises:
            InputError: there is no map yet, or this is a picture without its store.
        """
        import pandas as pd

        self._need_map()
        if self._plane is None:
            raise InputError("This is a picture.", "FeatureMap.from_state(state, store)")
        table = self._table
        own = table["store"] == self._stores[0].name
        front: dict[str, Any] = {
            "store": table["store"],
            "feature": table["feature"],
            "x": self._plane.xy[:, 0],
            "y": self._plane.xy[:, 1],
            "subset": own & table["feature"].isin(self.subset),
        }
        rest = table.drop(columns=["store", "feature"])
        return pd.concat([pd.DataFrame(front), rest], axis=1)

    def plot(self) -> go.Figure:
        """The map as a plotly figure to keep, coloured as the view is.

        Raises:
            InputError: there is no map yet.
        """
        self._need_map()
        return map_picture.figure(self.frame, self.colour, self.title)

    def __repr__(self) -> str:
        n = sum(one["n"] for one in self.frame.get("stores", []))
        what = f"{n:,} features by {self.frame['method']}" if self.frame else "no map yet"
        return f"FeatureMap({what}; {len(self.subset):,} selected)"

    def fallback_html(self) -> str:
        """A small picture of how many features lie where."""
        return map_picture.picture(self.frame, self.title) if self.frame else ""


def _own(name: str, values: Any, store: Store) -> np.ndarray[Any, Any]:
    """A column of the user's, checked."""
    made = np.asarray(values, np.float64)
    if made.shape != (store.n_features,):
        raise InputError(
            f"The column {name!r} has shape {made.shape}; {store.name} has {store.n_features} "
            "features.",
            "One number for each; NaN where there is none.",
        )
    return made


def _address(store: Store) -> str:
    from neuroglass import zoo

    home = zoo.path("stores").resolve()
    folder = store.folder.resolve()
    return f"zoo/{folder.name}" if folder.parent == home else str(store.folder)
