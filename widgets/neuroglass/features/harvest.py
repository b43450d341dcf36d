"""``harvest``: one pass over a corpus fills a store for every feature of one or more bases.

texts → tokens on disk → batches through the live model, stopped at the deepest site → sparse
entries → sketches → shards on disk → the store's tables. Dense [tokens, features] never exists for
a sparse dictionary. A shard that is on disk is not made again.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from neuroglass.features.corpus import Corpus, groups_a_shard, need_store, write_corpus
from neuroglass.features.entries import entries, vectors
from neuroglass.features.exact import I64
from neuroglass.features.heads import HeadSketch
from neuroglass.features.shards import Shard, write_shard
from neuroglass.features.sketch import Batch, Keep, Sketch, token_hash
from neuroglass.features.store import SCHEMA, Store, open_store
from neuroglass.features.tables import write_heads, write_tables, write_vocabulary
from neuroglass.model.basis import NeuronBasis
from neuroglass.model.errors import InputError
from neuroglass.model.worker import Priority

if TYPE_CHECKING:
    from neuroglass.model.basis import Basis, Head
    from neuroglass.model.live import LiveModel
    from neuroglass.model.run import Run
    from neuroglass.model.worker import Job

SETTINGS, TOKENS, SHARDS = "settings.json", "tokens", "shards"
HEADS = "heads"
_MAX_PRODUCTS = 1 << 25  # features x neurons that are correlated by default
_NEURONS = 512  # multiplied with all features at a time


@dataclass(frozen=True)
class Plan:
    """What a harvest is, apart from the texts."""

    prepend_bos: bool | None
    skip_special: bool
    skip_massive: bool
    skip_positions: int
    precision: Literal["fp32", "bf16"]
    neurons: bool
    groups_a_shard: int
    keep: Keep


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
        skip_special, skip_massive: leave special tokens and massive activations (``Run.masks``) out
            of all figures and samples.
        skip_positions: leave so many tokens at the start of each window out.
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
            name; a damaged shard.
        MissingExtraError: the extra ``store`` (or ``ray``) is not installed.
        OSError: no space; finished shards stay.
    """
    need_store("pyarrow")
    need_store("duckdb")
    bases = _bases(model, basis)
    if precision not in {"fp32", "bf16"}:
        raise InputError(f"precision={precision!r} is neither 'fp32' nor 'bf16'.")
    if engine not in {"local", "ray"}:
        raise InputError(f"engine={engine!r} is neither 'local' nor 'ray'.")
    if neurons is None:
        widest = max(b.n_features * _n_neurons(model, b) for b in bases)
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
    bases = _bases(model, basis)
    pairs = [_head(model, h) for h in heads]
    settings = _settings(model, bases, pairs, plan, corpus)
    mark = _claim(folder, settings)
    several = isinstance(basis, Sequence)
    stores = {b.name: (folder / b.name if several else folder) for b in bases}
    if all((f / "meta.json").is_file() for f in stores.values()):
        return _open(stores, bases, several=several)
    shards = range(-(-corpus.n_groups // plan.groups_a_shard))
    wanted = list(shards if only is None else only)
    if bad := [s for s in wanted if s not in shards]:
        raise InputError(f"There is no shard {bad[0]}: they go from 0 to {len(shards) - 1}.")
    missing = [s for s in wanted if not shard_folder(folder, s).is_dir()]
    task = Task(model, bases, pairs, plan, corpus, folder, mark)
    with _bar(missing, corpus, plan, progress) as bar:
        if engine == "ray":
            from neuroglass.features.on_ray import run_on_ray

            size = corpus.n_tokens // len(shards)
            run_on_ray(task, missing, workers=workers, seen=lambda _: bar.update(size))
        else:
            worker = ShardWorker(task, bar.update)
            for shard in missing:
                worker.make(shard)
    if any(not shard_folder(folder, s).is_dir() for s in shards):
        return None
    finish(task, stores, settings)
    return _open(stores, bases, several=several)


def shard_folder(folder: Path, shard: int) -> Path:
    """Where a shard is, of all bases and heads."""
    return folder / SHARDS / f"{shard:05d}"


@dataclass(frozen=True)
class Task:
    """A harvest, ready to be worked on."""

    model: LiveModel
    bases: list[Basis]
    heads: list[Head]
    plan: Plan
    corpus: Corpus
    folder: Path
    mark: str


class ShardWorker:
    """Makes shards, one after another; limits found in one speed up the next.

    Args:
        task: what.
        seen: is told how many tokens were read, after each batch.
    """

    def __init__(self, task: Task, seen: Callable[[int], object] = lambda n: None) -> None:
        self._task = task
        self._seen = seen
        plan, corpus = task.plan, task.corpus
        random = corpus.sample(plan.keep.random, plan.keep.seed)
        self._sketches = {
            b.name: Sketch(
                b.n_features,
                task.model.vocabulary,
                plan.keep,
                random,
                _n_neurons(task.model, b) if plan.neurons else 0,
            )
            for b in task.bases
        }
        self._heads = HeadSketch(task.heads, plan.keep) if task.heads else None
        sites = [str(b.read_site) for b in task.bases]
        self._entries: dict[str, list[tuple[I64, I64, Any]]] = {b.name: [] for b in task.bases}
        self._neurons: dict[str, list[torch.Tensor]] = {}
        if plan.neurons:
            own = [s for b in task.bases if (s := _neuron_site(task.model, b))]
            self._neurons = {s: [] for s in own}
            sites += own
        for head in task.heads:
            sites += [f"pattern.{head.layer}", f"v.{head.layer}"]
        self._sites = [task.model.site(s) for s in dict.fromkeys(sites)]

    def make(self, shard: int) -> None:
        """Make one shard, unless it is there."""
        task = self._task
        folder = shard_folder(task.folder, shard)
        if folder.is_dir():
            return
        size = task.plan.groups_a_shard
        for group in range(shard * size, min((shard + 1) * size, task.corpus.n_groups)):
            for windows in task.corpus.batches(group):
                self._batch(windows)
            self._correlate()
        found: dict[str, Any] = {}
        for name, sketch in self._sketches.items():
            found |= {f"{name}.{k}": v for k, v in sketch.drain().items()}
        if self._heads is not None:
            found |= {f"{HEADS}.{k}": v for k, v in self._heads.drain().items()}
        write_shard(folder, found, task.mark)

    def _batch(self, windows: I64) -> None:
        task = self._task
        run = self._pass(task.corpus.rows(windows))
        keep = kept_tokens(run, task.plan)
        batch = make_batch(run, keep, windows, task.corpus, task.plan.keep.seed)
        for basis in task.bases:
            sketch = self._sketches[basis.name]
            x = vectors(run, basis, keep)
            token, index, value = entries(basis, x)
            sketch.add(batch, token, index, value)
            if sketch.n_neurons:
                self._entries[basis.name].append((token, index, value))
        for site, parts in self._neurons.items():
            parts.append(run[site][keep].cpu())
        if self._heads is not None:
            self._heads.add(run, keep, batch)
        self._seen(len(batch.ids))

    def _correlate(self) -> None:
        """Products with neurons, a group at a time: every feature meets every neuron in them."""
        n_tokens = {s: [len(y) for y in parts] for s, parts in self._neurons.items()}
        ys = {s: torch.cat(parts) for s, parts in self._neurons.items()}
        for basis in self._task.bases:
            held = self._entries[basis.name]
            if held:
                site = _neuron_site(self._task.model, basis)
                first = np.cumsum([0, *n_tokens[site]])
                token = np.concatenate([t + a for (t, _, _), a in zip(held, first, strict=False)])
                index, value = (np.concatenate([h[i] for h in held]) for i in (1, 2))
                sketch = self._sketches[basis.name]
                for part, *sums in _products(token, index, value, ys[site], basis.n_features):
                    sketch.add_neurons(part, *sums)
                held.clear()
        for parts in self._neurons.values():
            parts.clear()

    def _pass(self, rows: list[list[int]]) -> Run:
        model, bf16 = self._task.model, self._task.plan.precision == "bf16"

        def job(job: Job[Any]) -> Generator[None, None, Run]:
            steps = model.steps(rows, self._sites, job, logits=False)
            while True:
                try:
                    # the context must not be left open while other jobs run
                    with torch.autocast("cpu", torch.bfloat16, bf16):
                        next(steps)
                except StopIteration as stop:
                    run: Run = stop.value
                    return run
                yield

        model.give_way()
        found: Run = model.work(job, priority=Priority.BACKGROUND).result()
        return found


def kept_tokens(run: Run, plan: Plan) -> torch.Tensor:
    """The tokens of a run that count: bool [windows, tokens]."""
    keep = run.mask.clone()
    if plan.skip_special:
        keep &= ~run.masks["special"]
    if plan.skip_massive:
        keep &= ~run.masks["massive"]
    keep[:, : plan.skip_positions] = False
    return keep


def make_batch(run: Run, keep: torch.Tensor, windows: I64, corpus: Corpus, seed: int) -> Batch:
    """The tokens of a run that count, in the order of ``run[site][keep]``."""
    local, offset = (a.cpu().numpy() for a in keep.nonzero(as_tuple=True))
    document, start, _ = corpus.place(windows)
    return Batch(
        run.tokens[keep].cpu().numpy(),
        windows[local],
        local,
        offset.astype(np.int32),
        windows,
        token_hash(seed, document[local], start[local], offset),
    )


def _products(
    token: I64, index: I64, value: Any, y: torch.Tensor, n_features: int
) -> Iterator[tuple[slice, Any, Any, Any]]:
    """Σ feature·neuron [features, neurons], Σ neuron, Σ neuron²: some neurons at a time."""
    value = np.where(np.isfinite(value), value, 0)
    f = torch.sparse_coo_tensor(
        torch.from_numpy(np.stack([index, token])),
        torch.from_numpy(value.astype(np.float64)),
        (n_features, len(y)),
        check_invariants=False,
    )
    for a in range(0, y.shape[1], _NEURONS):
        part = slice(a, min(a + _NEURONS, y.shape[1]))
        some = y[:, part].double()
        products = torch.sparse.mm(f, some).numpy()
        yield part, products, some.sum(0).numpy(), some.square().sum(0).numpy()


# ---------------------------------------------------------------------- what is asked for


def _bases(model: LiveModel, basis: Basis | Sequence[Basis]) -> list[Basis]:
    bases = list(basis) if isinstance(basis, Sequence) else [basis]
    if not bases:
        raise InputError("There is no basis to harvest.", "ng.harvest(model, sae, texts, out=...)")
    for b in bases:
        if not hasattr(b, "read_site"):
            raise InputError(
                f"{type(b).__name__} is no basis.",
                "Give an SAE, a Transcoder, Directions or ng.NeuronBasis(model, layer).",
            )
        model.owns(b.model, f"The basis {b.name!r}")
    names = [b.name for b in bases]
    if len(set(names)) < len(names) or HEADS in names:
        raise InputError(f"Bases need names of their own; these are {', '.join(names)}.")
    return bases


def _head(model: LiveModel, head: Head | tuple[int, int]) -> Head:
    if isinstance(head, tuple):
        return model.head(*head)
    model.owns(head.model, repr(head))
    return head


def _neuron_site(model: LiveModel, basis: Basis) -> str:
    """The neurons that a basis' features are correlated with; none for a basis of neurons."""
    layer = basis.read_site.layer
    if layer is None or isinstance(basis, NeuronBasis) or "neurons" not in model.names:
        return ""
    return f"neurons.{layer}"


def _n_neurons(model: LiveModel, basis: Basis) -> int:
    site = _neuron_site(model, basis)
    return model.width(site) if site else 0


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


def _settings(
    model: LiveModel, bases: list[Basis], heads: list[Head], plan: Plan, corpus: Corpus
) -> dict[str, Any]:
    """All that the store depends on; shards of equal settings may be merged."""
    return {
        "schema": SCHEMA,
        "model": model.name,
        "fingerprint": model.fingerprint,
        "bases": [
            {
                "name": b.name,
                "fingerprint": b.fingerprint,
                "n_features": b.n_features,
                "read_site": str(b.read_site),
                "write_site": str(b.write_site),
                "kind": type(b).__name__,
            }
            for b in bases
        ],
        "heads": [[h.layer, h.index] for h in heads],
        "corpus": corpus.hash,
        "context": corpus.context,
        **asdict(plan),
    }


def _claim(folder: Path, settings: dict[str, Any]) -> str:
    """Write the settings, or see that the ones there are the same; their hash."""
    file = folder / SETTINGS
    settings = json.loads(json.dumps(settings))
    if file.is_file():
        there = json.loads(file.read_text("utf-8"))
        if differ := [k for k in settings if there.get(k) != settings[k]]:
            name = differ[0]
            raise InputError(
                f"{str(folder)!r} holds another harvest: its {name} is {there.get(name)!r}, "
                f"this one's {settings[name]!r}.",
                "Choose a new folder, or the same settings to go on.",
            )
    else:
        file.write_text(json.dumps(settings, indent=1), "utf-8")
    return hashlib.blake2b(json.dumps(settings).encode(), digest_size=16).hexdigest()


class _NoBar:
    def update(self, n: int) -> None: ...
    def __enter__(self) -> _NoBar:
        return self

    def __exit__(self, *_: object) -> None: ...


def _bar(missing: Sequence[int], corpus: Corpus, plan: Plan, progress: bool) -> Any:
    if not progress:
        return _NoBar()
    from tqdm.auto import tqdm

    share = min(1.0, len(missing) * plan.groups_a_shard / max(1, corpus.n_groups))
    return tqdm(
        total=round(corpus.n_tokens * share), unit=" tokens", unit_scale=True, desc="harvest"
    )


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
    settings = [json.loads((p / SETTINGS).read_text("utf-8")) for p in parts]
    for part, other in zip(parts, settings, strict=True):
        if other != settings[0]:
            name = next(k for k in settings[0] if other.get(k) != settings[0][k])
            raise InputError(
                f"{str(part)!r} and {str(parts[0])!r} can't be merged: their {name} differs.",
                "Shards are merged of one model, basis, corpus and settings.",
            )
    shutil.copytree(parts[0] / TOKENS, target / TOKENS)
    (target / SHARDS).mkdir()
    for part in parts:
        for shard in sorted((part / SHARDS).iterdir()):
            if not (target / SHARDS / shard.name).exists() and shard.suffix != ".part":
                shutil.copytree(shard, target / SHARDS / shard.name)
    (target / SETTINGS).write_text(json.dumps(settings[0], indent=1), "utf-8")
    known = settings[0] | {"keep": Keep(**settings[0]["keep"])}
    plan = Plan(**{f.name: known[f.name] for f in fields(Plan)})
    heads = [(layer, index) for layer, index in known["heads"]]
    found = _harvest(model, basis, Corpus.open(target / TOKENS), target, plan, heads)
    if found is None:
        warnings.warn("Some shards are missing; harvest(..., texts=None) makes them.", stacklevel=2)
    return found


def _open(
    stores: dict[str, Path], bases: list[Basis], *, several: bool
) -> Store | dict[str, Store]:
    found = {b.name: open_store(stores[b.name], b.model, b) for b in bases}
    return found if several else next(iter(found.values()))
