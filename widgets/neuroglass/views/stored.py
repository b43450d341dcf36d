"""What the views of a store share: questions to its files, and to its model where there is one."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from typing import TYPE_CHECKING, Any

import traitlets as t

from neuroglass import zoo
from neuroglass.model.errors import InputError
from neuroglass.model.worker import Job, Priority
from neuroglass.views.base import View
from neuroglass.views.protocol import Request, reply

if TYPE_CHECKING:
    from neuroglass.features.store import Store

Tell = Callable[..., None]
Steps = Callable[[Tell], Generator[None, None, Any]]


class FeatureId(t.TraitType[str, Any]):
    """The id of a feature of the view's store, "" for none; set by index, id or handle."""

    default_value = ""
    info_text = "a feature of the store"

    def validate(self, obj: Any, value: Any) -> str:
        """The id.

        Raises:
            InputError: the store has no such feature.
        """
        if value is None or value == "":
            return ""
        store = getattr(obj, "store", None)  # a picture from a state has none
        return str(value) if store is None else str(store.id(store.index(value)))


class StoreView(View):
    """Base of the views of a store.

    What the store's files say is answered at once, in the handler of a request. What needs the
    model is a job on its thread (``_ask_model``).

    Traits, beside those of every view:
        attached: the store has its live model and basis.
        feature: id of the selected feature, "" for none. Settable by index, id or handle.
        base: what the ids of the store's features begin with, ``model/site/basis/``.
    """

    attached = t.Bool(False).tag(sync=True)
    feature = FeatureId().tag(sync=True)
    base = t.Unicode("").tag(sync=True)

    def _begin(self, store: Store, **traits: Any) -> None:
        """Become a view of a store; in place of ``View.__init__``."""
        self.store = store
        meta = store.meta
        title = traits.pop(
            "title", f"{store.name} · {meta['model']} · {meta['basis']['read_site']}"
        )
        base = store.id(0)[:-1]
        View.__init__(self, title=title, attached=store.has_basis, base=base, **traits)
        self.set_trait("live", True)

    @property
    def index(self) -> int | None:
        """The index of the selected feature; None where none is."""
        return self.store.index(self.feature) if self.feature else None

    def attach(self, store: Store) -> None:
        """Go on with the same store and its live model: ``view.attach(store.attach(model))``.

        Raises:
            InputError: it is another store.
        """
        if store.folder != self.store.folder or store.meta != self.store.meta:
            raise InputError(f"{store!r} is not the store of this view.")
        self.store = store
        self.attached = store.has_basis

    def _store_code(self) -> str:
        """Python that opens the store again, as ``store``."""
        folder, lines = self.store.folder, ["import neuroglass as ng", ""]
        shipped = folder.parent == zoo.path("stores")
        call = f"ng.open_store({(f'zoo/{folder.name}' if shipped else str(folder))!r}"
        if not self.store.has_basis:
            return "\n".join([*lines, f"store = {call})"])
        return "\n".join([*lines, f"model = {self.store.model.code}", f"store = {call}, model)"])

    def _ask_model(
        self,
        request: Request,
        steps: Steps,
        use: Callable[[Any], Mapping[str, Any]] = dict,
    ) -> None:
        """Answer a request with the value of a job on the model's thread.

        Of the requests of one kind of one mounted view, the newest wins.

        Args:
            request: what is answered.
            steps: makes the job's generator; it may call ``tell(**body)`` on the way: an answer
                before the last.
            use: makes the answer's body of the value, under the lock.

        Raises:
            InputError: the store has no model.
        """
        model = self._need_model()
        sent = 0

        def tell(**body: Any) -> None:
            nonlocal sent
            sent += 1
            self.send(reply(request.view, request.id, sent, done=False, **body))

        job: Job[Any] = model.work(
            lambda _: steps(tell),
            priority=Priority.INTERACTIVE,
            key=(self.model_id, request.view, request.kind),
        )
        self._answer_with(request, job, use)

    def _need_model(self) -> Any:
        if not self.store.has_basis:
            raise InputError(
                "This needs the live model.", "Attach one: view.attach(store.attach(model))."
            )
        return self.store.model
