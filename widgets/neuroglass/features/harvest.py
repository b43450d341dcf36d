"""``harvest``: one pass over a corpus fills a store for every feature of one or more bases.

texts → tokens on disk → batches through the live model, stopped at the deepest site → sparse
entries → sketches → shards on disk → the store's tables. Dense [tokens, features] never exists for
a sparse dictionary. A shard that is on disk is not made again.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from neuroglass.features.corpus import Corpus, groups_a_shard, need_store, write_corpus
from neuroglass.features.passes import ShardWorker
from neuroglass.features.plan import (
    HEADS,
    SETTINGS,
    SHARDS,
    Plan,
    Task,
    bases_of,
    claim,
    head_of,
    n_neurons,
    settings_of,
    shard_folder,
)
from neuroglass.features.shards import Shard
from neuroglass.features.sketch import Keep
from neuroglass.features.store import Store, open_store
from neuroglass.features.tables import write_heads, write_tables, write_vocabulary
from neuroglass.model.errors import InputError

if TYPE_CHECKING:
    from neuroglass.model.basis import Basis, Head
    from neuroglass.model.live import LiveModel

TOKENS = "tokens"
_MAX_PRODUCTS = 1 << 25  # features x neurons that are correlated by default


def harvest(
    model: LiveModel,
    basis: Basis | Sequence[Basis],
    texts: Any = None,
    *,
    out: str | Path,
    tokens: int | None = None,
    context: int = 128,
    prepend_bos: bool | None = None,
    skip_special: bool = True,
    skip_massive: bool = True,
    skip_positions: int = 0,
    keep: Keep | None = None,
    heads: Iterable[Head | tuple[int, int]] = (),
    neurons: bool | None = None,
    precision: Literal["fp32", "bf16"] = "fp32",
    shard_tokens: int = 1 << 18,
    only: Iterable[int] | None = None,
    text_field: str = "text",
    engine: Literal["local", "ray"] = "local",
    workers: int = 2,
    progress: bool = True,
) -> Any:
    """Read a corpus once and keep, for every feature, what pages, search and explanations need.

    Args:
        model: the live model.
        basis: one or more bases of it; they share the pass.
        texts: strings, ``pathlib.Path`` of text, JSONL or Parquet files or folders, Hugging Face
            ``datasets``, or an iterable of these. None goes on with what `out` holds.
        out: the folder of the store; with several bases, of one store each, by their names.
        tokens: how many tokens of text are read; by default all.
        context: tokens in a window, the leading ones counted. Windows never cross documents.
        prepend_bos: None leads windows as the tokenizer leads texts.
        skip_special, skip_massive: leave special tokens (BOS among them) and massive activations
            (``Run.masks``) out of all figures and samples.
        skip_positions: leave so many tokens at the start of each window out, leading ones counted.
            ``store.meta`` has these settings and, as ``left_out``, how many tokens each kept out.
        keep: how many examples, pairs and tokens; see ``Keep``.
        heads: attention heads of which (query, key) pairs are kept, by ‖A·v·W_O‖.
        neurons: correlate features with the neurons of their layer; by default unless there are
            more than 33 million pairs.
        precision: "bf16" runs the passes under autocast.
        shard_tokens: about how many tokens a shard has: a kill loses at most one shard.
        only: make these shards only (numbers from 0), to spread a harvest over machines;
            ``merge_shards`` joins them.
        text_field: the column of JSONL, Parquet and rows that holds the text.
        engine: "ray" spreads the shards over `workers` processes of a local Ray cluster.
        progress: show a bar.

    Returns:
        The store, or a dict of stores by basis name. None if `only` leaves shards to be made.

    The store is a function of model, bases, texts and settings: shards, their order and the engine
    make no difference. An interrupted harvest goes on where it was when it is called again.

    Raises:
        InputError: no text; `out` holds another harvest; a basis of another model; bases of one
            name; a damaged shard; a model that is being edited.
        MissingExtraError: the extra ``store`` (or ``ray``) is not installed.
        OSError: no space; finished shards stay, and the same call goes on from there.
    """
    need_store("pyarrow")
    need_store("duckdb")
    bases = bases_of(model, basis)
    if precision not in {"fp32", "bf16"}:
        raise InputError(f"precision={precision!r} is neither 'fp32' nor 'bf16'.")
    if engine not in {"local", "ray"}:
        raise InputError(f"engine={engine!r} is neither 'local' nor 'ray'.")
    if tokens is not None and tokens < 1:
        raise InputError(f"tokens={tokens!r}: at least one must be read.")
    if not 0 <= skip_positions < context:
        raise InputError(
            f"skip_positions={skip_positions!r} leaves nothing of windows of {context} tokens."
        )
    if model.current_edits():
        raise InputError(
            "The model is being edited, and a store is of the model as it is.",
            "Harvest outside of the block: with model.edit(...).",
        )
    if neurons is None:
        widest = max(b.n_features * n_neurons(model, b) for b in bases)
        neurons = widest <= _MAX_PRODUCTS
    plan = Plan(
        prepend_bos,
        skip_special,
        skip_massive,
        skip_positions,
        precision,
        neurons,
        groups_a_shard(shard_tokens, context),
        keep or Keep(),
    )
    folder = Path(out)
    corpus = _corpus(model, texts, folder, plan, context, tokens, text_field)
    return _harvest(
        model,
        basis,
        corpus,
        folder,
        plan,
        heads,
        only=only,
        engine=engine,
        workers=workers,
        progress=progress,
    )


def _harvest(
    model: LiveModel,
    basis: Basis | Sequence[Basis],
    corpus: Corpus,
    folder: Path,
    plan: Plan,
    heads: Iterable[Head | tuple[int, int]],
    *,
    only: Iterable[int] | None = None,
    engine: str = "local",
    workers: int = 1,
    progress: bool = False,
) -> Any:
    """Make the shards that are missing, and the store if none is missing then."""
    bases = bases_of(model, basis)
    pairs = [head_of(model, h) for h in heads]
    settings = settings_of(model, bases, pairs, plan, corpus)
    mark = claim(folder, settings)
    several = isinstance(basis, Sequence)
    stores = {b.name: (folder / b.name if several else folder) for b in bases}
    if all((f / "meta.json").is_file() for f in stores.values()):
        shutil.rmtree(folder / SHARDS, ignore_errors=True)  # the kill came just before this
        return _open(stores, bases, several=several)
    shards = range(plan.n_shards(corpus))
    wanted = list(shards if only is None else only)
    if bad := [s for s in wanted if s not in shards]:
        raise InputError(f"There is no shard {bad[0]}: they go from 0 to {len(shards) - 1}.")
    missing = [s for s in wanted if not shard_folder(folder, s).is_dir()]
    task = Task(model, bases, pairs, plan, corpus, folder, mark)
    sizes = {s: corpus.tokens_of_groups(*plan.groups(s)) for s in missing}
    with _bar(sum(sizes.values()), progress) as bar:
        if engine == "ray":
            from neuroglass.features.on_ray import run_on_ray

            run_on_ray(task, missing, workers=workers, seen=lambda s: bar.update(sizes[s]))
        else:
            worker = ShardWorker(task, bar.update)
            for shard in missing:
                worker.make(shard)
    if any(not shard_folder(folder, s).is_dir() for s in shards):
        return None
    finish(task, stores, settings)
    return _open(stores, bases, several=several)


def _corpus(
    model: LiveModel,
    texts: Any,
    folder: Path,
    plan: Plan,
    context: int,
    tokens: int | None,
    field: str,
) -> Corpus:
    """The tokenised corpus; where there is one already, these texts must give the same."""
    there = folder / TOKENS
    if texts is None:
        if not there.is_dir():
            raise InputError("There are no texts.", "ng.harvest(model, basis, texts, out=...)")
        return Corpus.open(there)
    options: dict[str, Any] = {
        "context": context,
        "prepend_bos": plan.prepend_bos,
        "tokens": tokens,
        "field": field,
    }
    if (there / "corpus.json").is_file():
        known = Corpus.open(there)
        again = folder / "tokens.again"
        try:
            if write_corpus(texts, model.prompts, again, **options).hash != known.hash:
                raise InputError(
                    f"{str(folder)!r} holds a harvest of other texts.", "Choose a new folder."
                )
        finally:
            shutil.rmtree(again, ignore_errors=True)
        return known
    if folder.is_dir() and any(folder.iterdir()) and not there.is_dir():
        raise InputError(f"{str(folder)!r} holds other files.", "Choose a new folder.")
    return write_corpus(texts, model.prompts, there, **options)


class _NoBar:
    def update(self, n: int) -> None: ...
    def __enter__(self) -> _NoBar:
        return self

    def __exit__(self, *_: object) -> None: ...


def _bar(tokens: int, progress: bool) -> Any:
    if not progress:
        return _NoBar()
    from tqdm.auto import tqdm

    return tqdm(total=tokens, unit=" tokens", unit_scale=True, desc="harvest")


# ---------------------------------------------------------------------- the end


def finish(task: Task, stores: dict[str, Path], settings: dict[str, Any]) -> None:
    """Merge all shards into the tables of each store, then remove them."""
    folders = sorted(f for f in (task.folder / SHARDS).iterdir() if f.suffix != ".part")
    write_vocabulary(task.corpus.folder, task.model, task.corpus)
    for basis in task.bases:
        described = next(b for b in settings["bases"] if b["name"] == basis.name)
        target = stores[basis.name]
        meta = {k: v for k, v in settings.items() if k != "bases"} | {
            "basis": described,
            "tokens": TOKENS if target == task.folder else f"../{TOKENS}",
            "corpus_about": dict(task.corpus.about),
        }
        shards = [Shard(f, task.mark, basis.name) for f in folders]
        if task.heads:
            parts = [Shard(f, task.mark, HEADS) for f in folders]
            write_heads(target, parts, task.heads, task.corpus, task.plan.keep)
        write_tables(target, shards, basis, task.corpus, meta)
    shutil.rmtree(task.folder / SHARDS)


def merge_shards(
    model: LiveModel,
    basis: Basis | Sequence[Basis],
    folders: Iterable[str | Path],
    out: str | Path,
) -> Any:
    """Join harvests of parts of one corpus (``harvest(..., only=...)``) into one store.

    Args:
        model, basis: as in ``harvest``.
        folders: what the harvests wrote.
        out: a new folder.

    Raises:
        InputError: harvests of different models, bases, corpora or settings; shards missing.
    """
    parts = [Path(f) for f in folders]
    target = Path(out)
    if not parts:
        raise InputError("There is nothing to merge.")
    if target.exists() and any(target.iterdir()):
        raise InputError(f"{str(target)!r} is not empty.", "Choose a new folder.")
    if bad := [p for p in parts if not (p / SETTINGS).is_file() or not (p / SHARDS).is_dir()]:
        raise InputError(
            f"{str(bad[0])!r} has no shards to merge.", "ng.harvest(..., only=[...]) makes some."
        )
    settings = [json.loads((p / SETTINGS).read_text("utf-8")) for p in parts]
    for part, other in zip(parts, settings, strict=True):
        if other != settings[0]:
            name = next(k for k in settings[0] if other.get(k) != settings[0][k])
            raise InputError(
                f"{str(part)!r} and {str(parts[0])!r} can't be merged: their {name} differs.",
                "Shards are merged of one model, basis, corpus and settings.",
            )
    known = settings[0] | {"keep": Keep(**settings[0]["keep"])}
    plan = Plan(**{f.name: known[f.name] for f in fields(Plan)})
    found = {s.name: s for p in parts for s in (p / SHARDS).iterdir() if s.suffix != ".part"}
    wanted = range(plan.n_shards(Corpus.open(parts[0] / TOKENS)))
    if gone := [s for s in wanted if shard_folder(target, s).name not in found]:
        raise InputError(
            f"Shards are missing: {', '.join(map(str, gone[:8]))}.",
            f"ng.harvest(..., out={str(parts[0])!r}, only={gone[:8]}) makes them.",
        )
    shutil.copytree(parts[0] / TOKENS, target / TOKENS)
    for name, shard in found.items():
        shutil.copytree(shard, target / SHARDS / name)
    (target / SETTINGS).write_text(json.dumps(settings[0], indent=1), "utf-8")
    heads = [(layer, index) for layer, index in known["heads"]]
    return _harvest(model, basis, Corpus.open(target / TOKENS), target, plan, heads)


def _open(
    stores: dict[str, Path], bases: list[Basis], *, several: bool
) -> Store | dict[str, Store]:
    found = {b.name: open_store(stores[b.name], b.model, b) for b in bases}
    return found if several else next(iter(found.values()))
