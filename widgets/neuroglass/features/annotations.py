"""What people and programs say of a store's features: explanations, scores, ratings, notes, lists.

Nothing is ever changed or taken away: each remark is a line of JSON that is added to a file, with
an id, an author and a time, and the newest line of its kind counts. Each process writes a file of
its own, so that two notebooks with one store never write into each other's lines; a line that is
still being written is not read yet.
"""

from __future__ import annotations

import json
import os
import threading
import uuid
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from getpass import getuser
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from neuroglass import zoo
from neuroglass.features.remarks import Kind, checked, number
from neuroglass.model.errors import InputError, nearest

if TYPE_CHECKING:
    import pandas as pd

    from neuroglass.features.store import Store

RATINGS = (1, 5)  # the least and the largest
Listener = Callable[[Sequence[int]], None]


def home(store: Store) -> Path:
    """Where a store's annotations are: in its folder; outside of it where that can't be written.

    Those of the zoo's stores are in the user's data folder ($NEUROGLASS_DATA, else
    $XDG_DATA_HOME/neuroglass or ~/.local/share/neuroglass): packages are replaced by updates.
    """
    folder = store.folder
    shipped = folder.resolve().is_relative_to(zoo.path("stores").resolve())
    if not shipped and os.access(folder, os.W_OK):
        return folder
    if own := os.environ.get("NEUROGLASS_DATA"):
        base = Path(own)
    else:
        data = os.environ.get("XDG_DATA_HOME")
        base = (Path(data) if data else Path.home() / ".local" / "share") / "neuroglass"
    basis, corpus = store.meta["basis"], str(store.meta["corpus"])
    name = f"{basis['name']}-{store.meta['fingerprint'][:8]}-{basis['fingerprint'][:8]}"
    return base / "stores" / f"{name}-{corpus[:8]}"


class Annotations:
    """See the module. ``store.annotations`` is this.

    Args:
        folder: where the files are; it is made when something is written.
        n_features: of the store.
    """

    def __init__(self, folder: Path, n_features: int) -> None:
        self.folder = folder
        self._n = n_features
        self._lock = threading.Lock()
        self._writer = uuid.uuid4().hex[:12]
        self._read: dict[Path, tuple[int, list[dict[str, Any]]]] = {}  # bytes read, their rows
        self._sorted: dict[Kind, tuple[int, list[dict[str, Any]]]] = {}
        self._made: dict[str, tuple[tuple[Any, ...], Any]] = {}  # of which rows, what
        self._heard: list[weakref.WeakMethod[Listener]] = []

    def __repr__(self) -> str:
        counts = ", ".join(f"{len(self._rows(k))} {k}" for k in get_args(Kind))
        return f"Annotations({counts} in {str(self.folder)!r})"

    # ------------------------------------------------------------------ writing

    def explain(
        self,
        feature: int,
        text: str,
        *,
        author: str = "",
        parent: str = "",
        **more: Any,
    ) -> dict[str, Any]:
        """Add an explanation.

        Args:
            feature: index.
            text: in words, or a pattern.
            author: a person or the name of a model; by default the user's.
            parent: id of the explanation that it was made from.
            **more: whatever else belongs to it, as JSON.

        Returns:
            The row as written; its ``id`` is what scores refer to.

        Raises:
            InputError: it is empty, there is no such feature, the folder can't be written.
        """
        if not text.strip():
            raise InputError("An explanation without words explains nothing.")
        return self._add("explanations", feature, author, text=text, parent=parent, **more)

    def score(
        self, feature: int, explanation: str, name: str, value: float | None, **more: Any
    ) -> dict[str, Any]:
        """Add a score of an explanation; None is one that could not be computed.

        Args:
            feature: index.
            explanation: its id.
            name: what was computed, as "correlation".
            value: the score.
            **more: interval, simulator, split, … as JSON.

        Raises:
            InputError: there is no such explanation of this feature.
        """
        known = {row["id"] for row in self._rows("explanations") if row["feature"] == feature}
        if explanation not in known:
            raise InputError(f"Feature {feature} has no explanation {explanation!r}.")
        if value is not None and (value := number(value)) is None:
            raise InputError(
                "A score must be a finite number.", "None says that it could not be computed."
            )
        return self._add(
            "scores", feature, str(more.pop("author", "")), explanation=explanation, name=name,
            value=value, **more,
        )  # fmt: skip

    def rate(self, feature: int, value: int | None, *, author: str = "") -> dict[str, Any]:
        """Rate a feature 1 to 5, how well one can tell what it is for; None takes it back."""
        low, high = RATINGS
        whole = isinstance(value, Integral) and not isinstance(value, bool)
        if value is not None and not (whole and low <= value <= high):
            raise InputError(f"A rating goes from {low} to {high}, not {value!r}.")
        return self._add("ratings", feature, author, value=None if value is None else int(value))

    def note(self, feature: int, text: str, *, author: str = "") -> dict[str, Any]:
        """Write a note on a feature, in place of the one there is; an empty one takes it away."""
        return self._add("notes", feature, author, text=text.strip())

    def put(self, name: str, *features: int, author: str = "") -> None:
        """Put features on a list of yours; a new name makes a new list."""
        self._listed(name, features, author, on=True)

    def drop(self, name: str, *features: int, author: str = "") -> None:
        """Take features off a list.

        Raises:
            InputError: there is no such list.
        """
        if name not in self.lists():
            raise InputError(f"There is no list {name!r}.", nearest(name, self.lists() or ["none"]))
        self._listed(name, features, author, on=False)

    def _listed(self, name: str, features: Iterable[int], author: str, *, on: bool) -> None:
        if not name.strip():
            raise InputError("A list needs a name.")
        what = {"name": " ".join(name.split()), "on": on}
        self._write("lists", [self._row(feature, author, what) for feature in features])

    def _add(self, kind: Kind, feature: int, author: str, **what: Any) -> dict[str, Any]:
        row = self._row(feature, author, what)
        self._write(kind, [row])
        return row

    def _row(self, feature: int, author: str, what: Mapping[str, Any]) -> dict[str, Any]:
        whole = isinstance(feature, Integral) and not isinstance(feature, bool)
        if not whole or not 0 <= feature < self._n:
            raise InputError(f"There is no feature {feature!r}.", f"They go to {self._n - 1}.")
        return {
            "id": uuid.uuid4().hex,
            "feature": int(feature),
            "author": author or _user(),
            "created": datetime.now(UTC).isoformat(timespec="microseconds"),
            **what,
        }

    def _write(self, kind: Kind, rows: Sequence[Mapping[str, Any]]) -> None:
        """Add rows, all or (where one is not as it must be) none."""
        try:
            # escapes: half a character in a text must not make the line unreadable
            lines = [json.dumps(checked(kind, row), allow_nan=False) + "\n" for row in rows]
        except (TypeError, ValueError) as error:
            raise InputError(f"This can't be kept: {error}.", "What is kept is JSON.") from error
        with self._lock:
            try:
                folder = self.folder / kind
                folder.mkdir(parents=True, exist_ok=True)
                with (folder / f"{self._writer}.jsonl").open("a", encoding="utf-8") as file:
                    file.write("".join(lines))
            except OSError as error:
                raise InputError(
                    f"The annotations can't be written: {error}.",
                    "ng.open_store(path, annotations=folder) keeps them elsewhere.",
                ) from error
        features = [int(row["feature"]) for row in rows]
        for heard in list(self._heard):
            if (call := heard()) is None:
                self._heard.remove(heard)
            else:
                call(features)

    def listen(self, call: Listener) -> None:
        """From now on call this method with the features of which something was said here.

        What other processes write is not told, only read. The method's object may go away.
        """
        self._heard.append(weakref.WeakMethod(call))

    # ------------------------------------------------------------------ reading

    def frame(self, kind: Kind, feature: int | None = None) -> pd.DataFrame:
        """All rows of a kind, oldest first: explanations, scores, ratings, notes or lists."""
        import pandas as pd

        rows = self._rows(kind)
        return pd.DataFrame(
            [r for r in rows if feature is None or r["feature"] == feature],
            columns=None if rows else ["id", "feature", "author", "created"],
        )

    def of(self, feature: int) -> dict[str, Any]:
        """What counts of one feature.

        Returns:
            ``explanations`` (id, text, author, parent, created, ``scores`` by name), best first;
            ``rating``, ``note``, ``lists``.
        """
        return self.of_each([feature])[feature]

    def of_each(self, features: Iterable[int]) -> dict[int, dict[str, Any]]:
        """The same of several features."""
        ratings, notes = self._newest("ratings"), self._newest("notes")
        explained, on = self._explained(), self._on()
        return {
            feature: {
                "explanations": list(explained.get(feature, [])),
                "rating": ratings.get(feature, {}).get("value"),
                "note": notes.get(feature, {}).get("text", ""),
                "lists": list(on.get(feature, [])),
            }
            for feature in features
        }

    def lists(self) -> dict[str, list[int]]:
        """The features on each list, in the order in which they were put there."""
        return {name: list(members) for name, members in self._members().items()}

    def table(self) -> pd.DataFrame:
        """One row for each feature of which anything was said.

        Columns: feature, ``explanation`` and ``author`` of the best one, its ``score``, ``rating``,
        ``note``, ``lists`` (names, separated by commas).
        """
        made: pd.DataFrame = self._once("table", get_args(Kind), self._table)
        return made.copy()

    def _table(self) -> pd.DataFrame:
        import pandas as pd

        ratings, notes = self._newest("ratings"), self._newest("notes")
        explained, on = self._explained(), self._on()
        rows = []
        for feature in sorted({*ratings, *notes, *explained, *on}):
            best: Mapping[str, Any] = next(iter(explained.get(feature, [])), {})
            rows.append(
                {
                    "feature": feature,
                    "explanation": best.get("text"),
                    "author": best.get("author"),
                    "score": main_score(best.get("scores", {})),
                    "rating": ratings.get(feature, {}).get("value"),
                    "note": notes.get(feature, {}).get("text") or None,
                    "lists": ", ".join(on.get(feature, [])) or None,
                }
            )
        text, numbers = pd.Series([], dtype="object"), pd.Series([], dtype="float64")
        columns = {
            "feature": pd.Series([], dtype="int64"), "explanation": text, "author": text,
            "score": numbers, "rating": numbers, "note": text, "lists": text,
        }  # fmt: skip
        made = pd.DataFrame(rows, columns=list(columns)) if rows else pd.DataFrame(columns)
        return made.astype({"score": "float64", "rating": "float64"})

    @property
    def state(self) -> tuple[tuple[str, int], ...]:
        """Changes whenever anything was added."""
        return tuple(part for kind in get_args(Kind) for part in self._files(kind))

    # what follows from the rows is kept until there are other rows

    def _once(self, name: str, kinds: Sequence[Kind], make: Callable[[], Any]) -> Any:
        rows = tuple(self._rows(kind) for kind in kinds)
        known = self._made.get(name)
        if known is None or any(a is not b for a, b in zip(known[0], rows, strict=True)):
            self._made[name] = known = rows, make()
        return known[1]

    def _newest(self, kind: Kind) -> dict[int, dict[str, Any]]:
        def make() -> dict[int, dict[str, Any]]:
            return {row["feature"]: row for row in self._rows(kind)}

        found: dict[int, dict[str, Any]] = self._once(kind, [kind], make)
        return found

    def _explained(self) -> dict[int, list[dict[str, Any]]]:
        def make() -> dict[int, list[dict[str, Any]]]:
            scores: dict[str, dict[str, float | None]] = {}
            for row in self._rows("scores"):
                scores.setdefault(row["explanation"], {})[row["name"]] = row["value"]
            found: dict[int, list[dict[str, Any]]] = {}
            for row in reversed(self._rows("explanations")):
                one = {**row, "scores": scores.get(row["id"], {})}
                found.setdefault(row["feature"], []).append(one)
            return {feature: sorted(rows, key=_rank) for feature, rows in found.items()}

        made: dict[int, list[dict[str, Any]]] = self._once(
            "explained", ["explanations", "scores"], make
        )
        return made

    def _members(self) -> dict[str, dict[int, None]]:
        def make() -> dict[str, dict[int, None]]:
            found: dict[str, dict[int, None]] = {}
            for row in self._rows("lists"):
                members = found.setdefault(row["name"], {})
                if row["on"]:
                    members.setdefault(row["feature"], None)
                else:
                    members.pop(row["feature"], None)
            return found

        made: dict[str, dict[int, None]] = self._once("members", ["lists"], make)
        return made

    def _on(self) -> dict[int, list[str]]:
        def make() -> dict[int, list[str]]:
            on: dict[int, list[str]] = {}
            for name, members in self._members().items():
                for feature in members:
                    on.setdefault(feature, []).append(name)
            return on

        made: dict[int, list[str]] = self._once("on", ["lists"], make)
        return made

    def _files(self, kind: Kind) -> tuple[tuple[str, int], ...]:
        found = sorted((self.folder / kind).glob("*.jsonl"))
        return tuple((f"{kind}/{file.name}", file.stat().st_size) for file in found)

    def _rows(self, kind: Kind) -> list[dict[str, Any]]:
        """The rows of a kind, oldest first; of a file that has grown, the new part is read."""
        with self._lock:
            parts = [self._of_file(kind, self.folder / name) for name, _ in self._files(kind)]
            n = sum(map(len, parts))
            if kind not in self._sorted or self._sorted[kind][0] != n:
                rows = [row for part in parts for row in part]
                rows.sort(key=lambda row: row["created"])
                self._sorted[kind] = n, rows
            return self._sorted[kind][1]

    def _of_file(self, kind: Kind, path: Path) -> list[dict[str, Any]]:
        done, rows = self._read.get(path, (0, []))
        if path.stat().st_size < done:  # somebody took lines out
            done, rows = 0, []
            self._sorted.pop(kind, None)
        with path.open("rb") as file:
            file.seek(done)
            whole, end, _ = file.read().rpartition(b"\n")
        fresh = []
        for at, line in enumerate(whole.split(b"\n") if end else [], len(rows) + 1):
            try:
                row = checked(kind, json.loads(line))
                if row["feature"] >= self._n:
                    raise ValueError(f"the store has no feature {row['feature']}")
            except (ValueError, TypeError, KeyError) as error:
                raise InputError(
                    f"Line {at} of {str(path)!r} is damaged: {error}.",
                    "Take the line out; the others are whole.",
                ) from error
            fresh.append(row)
        if fresh:
            self._sorted.pop(kind, None)
        rows.extend(fresh)
        self._read[path] = done + len(whole) + len(end), rows
        return rows


def _rank(one: Mapping[str, Any]) -> float:
    value = main_score(one["scores"])
    return float("inf") if value is None else -value  # those without a score come last


def main_score(scores: Mapping[str, Any]) -> float | None:
    """The score that explanations are ranked by: the correlation, or else the first there is."""
    known = {name: value for name, value in scores.items() if value is not None}
    value = known.get("correlation", next(iter(known.values()), None))
    return None if value is None else float(value)


def _user() -> str:
    try:
        return getuser()
    except (OSError, KeyError):  # no name for this user id, as in some containers
        return "unknown"
