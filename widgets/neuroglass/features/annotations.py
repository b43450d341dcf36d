"""What people and programs say of a store's features: explanations, scores, ratings, notes, lists.

Nothing is ever changed or taken away: each remark is a line of JSON that is added to a file, with
an id, an author and a time, and the newest line of its kind counts. Each process writes a file of
its own, so that two notebooks with one store never write into each other's lines.
"""

from __future__ import annotations

import json
import os
import threading
import uuid
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from getpass import getuser
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from neuroglass import zoo
from neuroglass.features.remarks import Kind, checked
from neuroglass.model.errors import InputError, nearest

if TYPE_CHECKING:
    import pandas as pd

    from neuroglass.features.store import Store

RATINGS = (1, 5)  # the least and the largest


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
        self._read: dict[Kind, tuple[tuple[tuple[str, int], ...], list[dict[str, Any]]]] = {}

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
        return self._add(
            "scores", feature, str(more.pop("author", "")), explanation=explanation, name=name,
            value=value, **more,
        )  # fmt: skip

    def rate(self, feature: int, value: int | None, *, author: str = "") -> dict[str, Any]:
        """Rate a feature 1 to 5, how well one can tell what it is for; None takes it back."""
        low, high = RATINGS
        whole = isinstance(value, int) and not isinstance(value, bool)
        if value is not None and not (whole and low <= value <= high):
            raise InputError(f"A rating goes from {low} to {high}, not {value!r}.")
        return self._add("ratings", feature, author, value=value)

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
        for feature in features:
            self._add("lists", feature, author, name=name.strip(), on=on)

    def _add(self, kind: Kind, feature: int, author: str, **what: Any) -> dict[str, Any]:
        if isinstance(feature, bool) or not 0 <= int(feature) < self._n:
            raise InputError(f"There is no feature {feature!r}.", f"They go to {self._n - 1}.")
        row = {
            "id": uuid.uuid4().hex,
            "feature": int(feature),
            "author": author or _user(),
            "created": datetime.now(UTC).isoformat(timespec="microseconds"),
            **what,
        }
        line = json.dumps(checked(kind, row), ensure_ascii=False, allow_nan=False)
        with self._lock:
            try:
                folder = self.folder / kind
                folder.mkdir(parents=True, exist_ok=True)
                with (folder / f"{self._writer}.jsonl").open("a", encoding="utf-8") as file:
                    file.write(line + "\n")
            except OSError as error:
                raise InputError(
                    f"The annotations can't be written: {error}.",
                    "ng.open_store(path, annotations=folder) keeps them elsewhere.",
                ) from error
        return row

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
        rating = self._newest("ratings").get(feature, {}).get("value")
        note = self._newest("notes").get(feature, {}).get("text", "")
        lists = [name for name, members in self.lists().items() if feature in members]
        explanations = self._explained().get(feature, [])
        return {"explanations": explanations, "rating": rating, "note": note, "lists": lists}

    def lists(self) -> dict[str, list[int]]:
        """The features on each list, in the order in which they were put there."""
        found: dict[str, dict[int, None]] = {}
        for row in self._rows("lists"):
            members = found.setdefault(row["name"], {})
            if row["on"]:
                members.setdefault(row["feature"], None)
            else:
                members.pop(row["feature"], None)
        return {name: list(members) for name, members in found.items()}

    def table(self) -> pd.DataFrame:
        """One row for each feature of which anything was said.

        Columns: feature, ``explanation`` and ``author`` of the best one, its ``score``, ``rating``,
        ``note``, ``lists`` (names, separated by commas).
        """
        import pandas as pd

        ratings, notes = self._newest("ratings"), self._newest("notes")
        explained, lists = self._explained(), self.lists()
        on: dict[int, list[str]] = {}
        for name, members in lists.items():
            for feature in members:
                on.setdefault(feature, []).append(name)
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
        text, number = pd.Series([], dtype="object"), pd.Series([], dtype="float64")
        columns = {
            "feature": pd.Series([], dtype="int64"), "explanation": text, "author": text,
            "score": number, "rating": number, "note": text, "lists": text,
        }  # fmt: skip
        made = pd.DataFrame(rows, columns=list(columns)) if rows else pd.DataFrame(columns)
        return made.astype({"score": "float64", "rating": "float64"})

    @property
    def state(self) -> tuple[tuple[str, int], ...]:
        """Changes whenever anything was added."""
        return tuple(part for kind in get_args(Kind) for part in self._files(kind))

    def _explained(self) -> dict[int, list[dict[str, Any]]]:
        scores: dict[str, dict[str, float | None]] = {}
        for row in self._rows("scores"):
            scores.setdefault(row["explanation"], {})[row["name"]] = row["value"]
        found: dict[int, list[dict[str, Any]]] = {}
        for row in reversed(self._rows("explanations")):
            one = {**row, "scores": scores.get(row["id"], {})}
            found.setdefault(row["feature"], []).append(one)

        def rank(one: Mapping[str, Any]) -> float:
            value = main_score(one["scores"])
            return float("inf") if value is None else -value  # those without a score come last

        return {feature: sorted(rows, key=rank) for feature, rows in found.items()}

    def _newest(self, kind: Kind) -> dict[int, dict[str, Any]]:
        return {row["feature"]: row for row in self._rows(kind)}

    def _files(self, kind: Kind) -> tuple[tuple[str, int], ...]:
        found = sorted((self.folder / kind).glob("*.jsonl"))
        return tuple((f"{kind}/{file.name}", file.stat().st_size) for file in found)

    def _rows(self, kind: Kind) -> list[dict[str, Any]]:
        """The rows of a kind, oldest first; read again when a file has grown."""
        with self._lock:
            files = self._files(kind)
            if kind in self._read and self._read[kind][0] == files:
                return self._read[kind][1]
            rows = []
            for name, _ in files:
                for number, line in enumerate(
                    (self.folder / name).read_text("utf-8").splitlines(), 1
                ):
                    try:
                        rows.append(checked(kind, json.loads(line)))
                    except (ValueError, TypeError, KeyError) as error:
                        raise InputError(
                            f"Line {number} of {str(self.folder / name)!r} is damaged: {error}.",
                            "Take the line out; the others are whole.",
                        ) from error
            rows = [r for r in rows if r["feature"] < self._n]
            rows.sort(key=lambda r: r["created"])
            self._read[kind] = files, rows
            return rows


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
