"""How a browser finds features: at once, or, where a model or a whole corpus is read, as a job.

A ``Wish`` flows in; the features that fit it flow out. What was read for a prompt is remembered, so
that another order of the same features reads nothing.
"""

from __future__ import annotations

from collections.abc import Generator, Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from neuroglass.features.browse import FeatureTable, Found
from neuroglass.features.query import Query
from neuroglass.model.worker import Job, Priority, Worker

if TYPE_CHECKING:
    import pandas as pd

    from neuroglass.features.store import Store

_PROMPTS = 4  # whose values are remembered
_FILES = Worker("neuroglass-files")  # reads corpora for texts; its thread starts with the first


@dataclass(frozen=True)
class Wish:
    """What is asked for.

    Attributes:
        query: what must hold.
        sort: a column; "": what the query is about.
        descending: largest first.
        subset: only these features; empty: all.
    """

    query: Query
    sort: str
    descending: bool
    subset: tuple[int, ...]


class Search:
    """Finds features of one store."""

    def __init__(self, store: Store) -> None:
        self.table = FeatureTable(store)
        self._prompts: dict[tuple[Any, ...], pd.DataFrame] = {}

    @staticmethod
    def _key(query: Query) -> tuple[Any, ...]:
        return query.prompt, query.tokens, query.by, query.bos

    def takes_long(self, wish: Wish) -> bool:
        """It must not be answered on the thread that asks."""
        unread = bool(wish.query.prompt) and self._key(wish.query) not in self._prompts
        return unread or self.table.takes_long(wish.query)

    def now(self, wish: Wish) -> Found:
        """The features; waited for where that takes long.

        Raises:
            InputError: see ``FeatureTable.check`` and ``find``.
        """
        if self.takes_long(wish):
            return self.job(wish, None).result()
        self.table.check(wish.query)
        values = self._prompts.get(self._key(wish.query)) if wish.query.prompt else None
        return self.table.find(wish.query, wish.sort or None, wish.descending, wish.subset, values)

    def job(self, wish: Wish, key: Hashable) -> Job[Found]:
        """The same as a job: on the model's thread for a prompt, else on that for files."""
        self.table.check(wish.query)
        work = self.table.store.model.work if wish.query.prompt else _FILES.submit
        job: Job[Found] = work(lambda _: self._steps(wish), priority=Priority.INTERACTIVE, key=key)
        return job

    def _steps(self, wish: Wish) -> Generator[None, None, Found]:
        query = wish.query
        if query.prompt and self._key(query) not in self._prompts:
            yield
            values = self.table.store.search(
                query.prompt, query.tokens or None, limit=None, by=query.by, bos=query.bos
            )
            while len(self._prompts) >= _PROMPTS:
                self._prompts.pop(next(iter(self._prompts)))
            self._prompts[self._key(query)] = values
        yield
        known = self._prompts.get(self._key(query)) if query.prompt else None
        return self.table.find(query, wish.sort or None, wish.descending, wish.subset, known)
