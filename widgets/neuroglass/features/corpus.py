"""The corpus of a harvest: texts of any kind → token ids on disk, once → windows → batches.

Ids are mapped from disk, so a corpus may be larger than memory. Windows never cross the end of a
document. Batches are the same whatever shard they belong to and whoever works on it: that is what
makes a harvest reproducible to the last bit.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from neuroglass.features.exact import I64, hash_of
from neuroglass.model.errors import InputError

if TYPE_CHECKING:
    from neuroglass.model.prompts import Prompts

_TEXTS_AT_ONCE = 256
_BATCHES = 4  # windows of so many batches are sorted by length, so that little is padding
_TOKENS_A_BATCH = 4096
META, IDS, STARTS = "corpus.json", "ids.npy", "starts.npy"


def rows_a_batch(context: int) -> int:
    """Windows that are run together."""
    return max(1, _TOKENS_A_BATCH // context)


def groups_a_shard(tokens: int, context: int) -> int:
    """Groups that have about so many tokens."""
    return max(1, round(tokens / (_BATCHES * rows_a_batch(context) * context)))


@dataclass(frozen=True, eq=False)
class Corpus:
    """A tokenised corpus in a folder.

    Attributes:
        folder: where it is.
        ids: uint16 or uint32 [tokens]: all documents one after another, without leading tokens.
        starts: int64 [documents + 1]: where each begins.
        lead: ids that stand before every window (BOS, if the tokenizer puts one).
        context: ids in a window, the leading ones counted.
        about: how it was read: what was left out, and its hash.
    """

    folder: Path
    ids: npt.NDArray[np.integer]
    starts: I64
    lead: tuple[int, ...]
    context: int
    about: Mapping[str, Any]

    @classmethod
    def open(cls, folder: Path) -> Corpus:
        """A corpus that ``write_corpus`` wrote.

        Raises:
            InputError: it is not there, or incomplete.
        """
        try:
            about = json.loads((folder / META).read_text("utf-8"))
            ids = np.load(folder / IDS, mmap_mode="r", allow_pickle=False)
            starts = np.load(folder / STARTS, allow_pickle=False)
        except (OSError, ValueError) as error:
            raise InputError(
                f"There is no whole corpus in {str(folder)!r} ({error}).",
                "Harvest again into a new folder.",
            ) from error
        if len(ids) != int(starts[-1]):
            raise InputError(f"{str(folder / IDS)!r} is cut off.", "Harvest again.")
        return cls(folder, ids, starts, tuple(about["lead"]), int(about["context"]), about)

    @property
    def hash(self) -> str:
        return str(self.about["hash"])

    @property
    def n_documents(self) -> int:
        return len(self.starts) - 1

    @property
    def n_tokens(self) -> int:
        """Ids in it, leading ones not counted."""
        return len(self.ids)

    @property
    def room(self) -> int:
        """Ids of text in a window."""
        return self.context - len(self.lead)

    @cached_property
    def first_window(self) -> I64:
        """The number of each document's first window: int64 [documents + 1]."""
        counts = -(-np.diff(self.starts) // self.room)
        return np.concatenate([[0], counts.cumsum()])

    @property
    def n_windows(self) -> int:
        return int(self.first_window[-1])

    def place(self, windows: npt.NDArray[np.integer]) -> tuple[I64, I64, I64]:
        """Of windows: their documents, where they start in those, and how many ids they have.

        Leading ids are counted in neither.
        """
        windows = np.asarray(windows, np.int64)
        document = np.searchsorted(self.first_window, windows, side="right") - 1
        start = (windows - self.first_window[document]) * self.room
        size = np.diff(self.starts)[document]
        return document, start, np.minimum(size - start, self.room)

    def rows(self, windows: npt.NDArray[np.integer]) -> list[list[int]]:
        """The ids of windows, led as the model wants it."""
        document, start, length = self.place(windows)
        first = self.starts[document] + start
        lead = list(self.lead)
        return [lead + self.ids[a : a + n].tolist() for a, n in zip(first, length, strict=True)]

    # ------------------------------------------------------------------ batches

    @property
    def n_groups(self) -> int:
        """Groups of windows; shards are made of whole groups."""
        return -(-self.n_windows // (_BATCHES * rows_a_batch(self.context)))

    def tokens_of_groups(self, first: int, end: int) -> int:
        """Ids of text in the groups from `first` up to, not with, `end`."""
        size = _BATCHES * rows_a_batch(self.context)
        windows = np.arange(first * size, min(end * size, self.n_windows))
        return int(self.place(windows)[2].sum())

    def batches(self, group: int) -> Iterator[I64]:
        """The windows of each batch of a group."""
        rows = rows_a_batch(self.context)
        size = _BATCHES * rows
        windows = np.arange(group * size, min((group + 1) * size, self.n_windows))
        windows = windows[np.argsort(self.place(windows)[2], kind="stable")]
        for at in range(0, len(windows), rows):
            yield windows[at : at + rows]

    def scattered(self, tokens: int) -> Iterator[I64]:
        """Batches of windows from all over, with at least so many ids of text together."""
        order = np.argsort(hash_of(0, np.arange(self.n_windows), 1), kind="stable")
        sizes = self.place(order)[2].cumsum()
        chosen = order[: int(np.searchsorted(sizes, tokens)) + 1]
        rows = rows_a_batch(self.context)
        for at in range(0, len(chosen), rows):
            yield chosen[at : at + rows]

    def sample(self, n: int, seed: int) -> I64:
        """`n` windows, the same for everyone: those of the smallest hashes, ascending."""
        order = hash_of(seed, np.arange(self.n_windows), 1)
        n = min(n, self.n_windows)
        return np.sort(np.argpartition(order, n - 1)[:n]) if n else np.zeros(0, np.int64)

    def token_counts(self, vocabulary: int) -> I64:
        """How often each id occurs in the text: int64 [vocabulary]."""
        found = np.zeros(vocabulary, np.int64)
        for at in range(0, len(self.ids), 1 << 22):
            found += np.bincount(self.ids[at : at + (1 << 22)], minlength=vocabulary)
        return found


def read_texts(texts: Any, field: str, left_out: dict[str, int]) -> Iterator[str]:
    """Texts of whatever holds them, all line ends as those of Unix.

    Args:
        texts: a string; a ``pathlib.Path`` of a text, JSONL or Parquet file, or of a folder of
            such; an iterable of these; rows of mappings, as of Hugging Face ``datasets``.
        field: the column of JSONL, Parquet and rows that holds the text.
        left_out: counts, by reason, of what is no text: it grows.

    Raises:
        InputError: no such file, a line that is no JSON, rows without the field.
    """
    for text in _read(texts, field, left_out):
        if "\x00" in text:
            left_out["binary"] = left_out.get("binary", 0) + 1
        elif not text.strip():
            left_out["empty"] = left_out.get("empty", 0) + 1
        else:
            yield text.replace("\r\n", "\n").replace("\r", "\n")


def _read(item: Any, field: str, left_out: dict[str, int]) -> Iterator[str]:
    if isinstance(item, str):
        yield item
    elif isinstance(item, Path):
        yield from _read_file(item, field, left_out)
    elif isinstance(item, bytes):
        left_out["binary"] = left_out.get("binary", 0) + 1
    elif isinstance(item, Mapping):
        text = item.get(field)
        if not isinstance(text, str):
            have = ", ".join(map(repr, list(item)[:8]))
            raise InputError(
                f"A row has no text in {field!r}; it has {have}.", "Name the column: text_field=..."
            )
        yield text
    elif isinstance(item, Iterable):
        for one in item:
            yield from _read(one, field, left_out)
    else:
        raise InputError(
            f"A text is {type(item).__name__}.",
            "Give strings, pathlib.Path of text, JSONL or Parquet files, or rows with a text.",
        )


def _read_file(path: Path, field: str, left_out: dict[str, int]) -> Iterator[str]:
    if path.is_dir():
        for one in sorted(path.iterdir()):
            if one.is_file() and not one.name.startswith("."):
                yield from _read_file(one, field, left_out)
        return
    if not path.is_file():
        raise InputError(f"There is no file {str(path)!r}.")
    if path.suffix == ".parquet":
        parquet = need_store("pyarrow.parquet")
        with parquet.ParquetFile(path) as file:
            if field not in file.schema_arrow.names:
                raise InputError(
                    f"{path.name} has no column {field!r}; it has {file.schema_arrow.names}.",
                    "Name it: text_field=...",
                )
            for batch in file.iter_batches(batch_size=1024, columns=[field]):
                yield from (t for t in batch.column(0).to_pylist() if isinstance(t, str))
    elif path.suffix in {".jsonl", ".ndjson"}:
        with path.open(encoding="utf-8", errors="replace") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    try:
                        row = json.loads(line)
                    except ValueError as error:
                        raise InputError(
                            f"Line {number} of {path.name} is no JSON: {line[:60]!r}.",
                            "A file that was cut off ends like this: make it again.",
                        ) from error
                    yield from _read(row if isinstance(row, str | Mapping) else {}, field, left_out)
    else:
        try:
            yield path.read_bytes().decode("utf-8-sig")
        except UnicodeDecodeError:
            left_out["binary"] = left_out.get("binary", 0) + 1


def write_corpus(
    texts: Any,
    prompts: Prompts,
    folder: Path,
    *,
    context: int,
    prepend_bos: bool | None,
    tokens: int | None,
    field: str,
) -> Corpus:
    """Tokenise texts into a folder; see ``harvest`` for the arguments.

    Raises:
        InputError: see ``read_texts``; no text in them.
        OSError: no space; what was written is removed.
    """
    lead = prompts.lead(prepend_bos)
    if context <= len(lead) or context > prompts.context:
        raise InputError(
            f"A context of {context} tokens does not fit: {prompts.name} reads up to "
            f"{prompts.context}, {len(lead)} of them before the text."
        )
    left_out: dict[str, int] = {}
    kind = np.uint16 if prompts.vocabulary <= 1 << 16 else np.uint32
    raw = folder / "ids.part"
    starts = [0]
    found = hashlib.blake2b(digest_size=16)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with raw.open("wb") as out:
            for ids in _tokenized(read_texts(texts, field, left_out), prompts):
                data = np.array(ids[: None if tokens is None else tokens - starts[-1]], kind)
                if len(data):
                    out.write(data.tobytes())
                    found.update(data.astype(np.uint32).tobytes() + b"|")
                    starts.append(starts[-1] + len(data))
                if tokens is not None and starts[-1] >= tokens:
                    break
        if len(starts) == 1:
            reasons = ", ".join(f"{n} {why}" for why, n in left_out.items()) or "none given"
            raise InputError(f"There is no text to read: {reasons}.")
        flat = np.memmap(raw, kind, "r", shape=(starts[-1],))
        np.save(folder / IDS, flat, allow_pickle=False)
        np.save(folder / STARTS, np.array(starts), allow_pickle=False)
    except BaseException:
        for name in (IDS, STARTS):
            (folder / name).unlink(missing_ok=True)
        raise
    finally:
        raw.unlink(missing_ok=True)
    if left_out:
        words = ", ".join(f"{n} {why}" for why, n in left_out.items())
        warnings.warn(f"Documents left out: {words}.", stacklevel=4)
    found.update(json.dumps([lead, context]).encode())
    about = {
        "hash": found.hexdigest(),
        "documents": len(starts) - 1,
        "tokens": starts[-1],
        "context": context,
        "lead": lead,
        "left_out": left_out,
    }
    (folder / META).write_text(json.dumps(about), "utf-8")
    return Corpus.open(folder)


def _tokenized(texts: Iterable[str], prompts: Prompts) -> Iterator[list[int]]:
    waiting: list[str] = []
    for text in texts:
        waiting.append(text)
        if len(waiting) == _TEXTS_AT_ONCE:
            yield from prompts.plain(waiting)
            waiting = []
    if waiting:
        yield from prompts.plain(waiting)


def need_store(module: str) -> Any:
    """A module of the extra ``store``.

    Raises:
        MissingExtraError: it is not installed.
    """
    from importlib import import_module

    from neuroglass.model.errors import MissingExtraError

    try:
        return import_module(module)
    except ImportError as error:
        raise MissingExtraError(
            f"Stores need {module.split('.', maxsplit=1)[0]}.", "pip install 'neuroglass[store]'"
        ) from error
