"""Files of features: what format they are of, and checked ways to take them apart."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from neuroglass.features.exchange.records import FeatureRecord, Pairs
from neuroglass.model.errors import InputError

NUMBER = (int, float)


class Reader:
    """Takes fields out of a mapping, checks them, and knows what is left."""

    def __init__(self, given: Any, where: str) -> None:
        if not isinstance(given, Mapping):
            raise InputError(f"{where} is {type(given).__name__}, not an object.")
        self._given = dict(given)
        self.where = where

    def refuse(self, what: str) -> InputError:
        return InputError(f"{self.where}: {what}.", "The file is damaged, or of another format.")

    def take(self, *names: str) -> Any:
        """The first of these that is there; None for none."""
        found = None
        for name in names:
            value = self._given.pop(name, None)
            found = value if found is None else found
        return found

    def number(self, *names: str) -> float | None:
        value = self.take(*names)
        if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
            return value
        raise self.refuse(f"{names[0]} is {value!r:.40}, not a number")

    def text(self, *names: str) -> str:
        value = self.take(*names)
        if value is None or isinstance(value, str | int):
            return "" if value is None else str(value)
        raise self.refuse(f"{names[0]} is {value!r:.40}, not a text")

    def several(self, kind: Any, *names: str) -> tuple[Any, ...]:
        value = self.take(*names)
        if value is None:
            return ()
        good = isinstance(value, list) and all(
            isinstance(v, kind) and not isinstance(v, bool) for v in value
        )
        if not good:
            raise self.refuse(f"{names[0]} is no list as it should be: {value!r:.40}")
        return tuple(value)

    def columns(self, *names: str, kinds: tuple[Any, ...]) -> tuple[Any, ...]:
        """Rows of lists that are alike in length; () where one is missing."""
        lists = [self.several(k, n) for n, k in zip(names, kinds, strict=True)]
        if not all(lists):
            return ()
        if len({len(v) for v in lists}) > 1:
            raise self.refuse(f"{', '.join(names)} differ in length")
        return tuple(zip(*lists, strict=True))

    def mappings(self, *names: str) -> list[Reader]:
        parts = self.several(Mapping, *names)
        return [Reader(p, f"{self.where}, {names[0]} {i}") for i, p in enumerate(parts)]

    def rest(self) -> dict[str, Any]:
        return {k: v for k, v in self._given.items() if v is not None}


def strings_and_numbers(r: Reader, names: str, numbers: str) -> Pairs:
    return r.columns(names, numbers, kinds=(str, NUMBER))


def series(r: Reader, *values: str) -> tuple[tuple[str, ...], tuple[float, ...]]:
    tokens, numbers = r.several(str, "tokens"), r.several(NUMBER, *values)
    if len(tokens) != len(numbers) or not tokens:
        raise r.refuse(f"{len(tokens)} tokens and {len(numbers)} values")
    return tokens, numbers


def read_feature(*sources: Any) -> FeatureRecord:
    """One feature as others described it.

    Args:
        sources: files (``pathlib.Path`` or path; ``.json``, ``.jsonl``, either also ``.gz``) or
            what ``json`` made of them; several that describe the same feature become one record,
            as a neuron's activations and its explanations.

    Raises:
        InputError: no such file, no known format, a damaged one, more than one feature.
    """
    found: FeatureRecord | None = None
    for source in sources:
        records = list(read_features(source))
        if len(records) != 1:
            raise InputError(
                f"There are {len(records)} features in {_name(source)}.",
                "ng.read_features gives all of them, one by one.",
            )
        found = records[0] if found is None else found.merged(records[0])
    if found is None:
        raise InputError("There is nothing to read.", "ng.read_feature('feature.json')")
    return found


def read_features(source: Any) -> Iterator[FeatureRecord]:
    """All features of a file, one by one; see ``read_feature``.

    Raises:
        InputError: see there.
    """
    for where, item in _items(source):
        if isinstance(item, Mapping) and isinstance(item.get("features"), list):
            about = {k: item[k] for k in ("model_id", "layer", "sae_set") if k in item}
            parts = [p for p in item["features"] if p is not None]
        else:
            about, parts = {}, item if isinstance(item, list) else [item]
        for i, part in enumerate(parts):
            yield _record(part, about, f"{where}, feature {i}" if len(parts) > 1 else where)


def _name(source: Any) -> str:
    return repr(str(source)) if isinstance(source, str | Path) else "what was given"


def _items(source: Any) -> Iterator[tuple[str, Any]]:
    if not isinstance(source, str | Path):
        yield "what was given", source
        return
    path = Path(source)
    if not path.is_file():
        raise InputError(f"There is no file {str(path)!r}.")
    packed = path.suffix == ".gz"
    lines = path.with_suffix("").suffix if packed else path.suffix
    try:
        with (
            gzip.open(path, "rt", encoding="utf-8")
            if packed
            else path.open(encoding="utf-8") as file
        ):
            if lines in {".jsonl", ".ndjson"}:
                for number, line in enumerate(file, 1):
                    if line.strip():
                        yield f"{path.name}, line {number}", json.loads(line)
            else:
                yield path.name, json.load(file)
    except (ValueError, OSError, EOFError, RecursionError) as error:
        raise InputError(f"{str(path)!r} is no whole JSON file: {error}.") from error


def _record(given: Any, about: Mapping[str, Any], where: str) -> FeatureRecord:
    from neuroglass.features.exchange import neuronpedia, openai

    r = Reader(given, where)
    if {"feature_index", "modelId"} & set(given):
        return neuronpedia.read_feature_json(r, about)
    formats = (
        ({"scored_explanations"}, openai.read_explanations),
        ({"most_positive_activation_records"}, openai.read_neuron_record),
        ({"hist"}, openai.read_atom),
        (openai.RELATED, openai.read_related),
    )
    for names, read in formats:
        if names & set(given):
            return read(r)
    have = ", ".join(map(repr, list(given)[:8])) or "nothing"
    raise InputError(
        f"{where} is of no format that is known here; it has {have}.",
        "Known are Neuronpedia's feature JSON, OpenAI's neuron records and explanations, and the "
        "atoms of OpenAI's SAE viewer.",
    )
