"""Where training vectors come from: a live model that reads texts, or a folder of kept vectors.

Either is a sequence of blocks: block ``i`` holds the vectors of some thousand tokens, shuffled, for
every site. It is a pure function of the texts, the seed and ``i``, so an interrupted training goes
on with the very same data.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
import torch

from neuroglass.model.errors import InputError
from neuroglass.model.worker import Priority

if TYPE_CHECKING:
    from neuroglass.model.live import LiveModel
    from neuroglass.model.sites import Site
    from neuroglass.model.worker import Job

Precision = Literal["fp32", "bf16"]
_SHORTEST = 4  # tokens; a shorter rest of a text is left out
_TOKENS_A_PASS = 2048
META, EXTENSION = "meta.json", ".npy"


class Activations(Protocol):
    """A source of blocks of vectors."""

    @property
    def sites(self) -> Sequence[str]: ...
    @property
    def mark(self) -> str:
        """Hash of all that the blocks depend on."""

    @property
    def about(self) -> dict[str, Any]:
        """What of ``Spec`` is known here: model, fingerprint, context, prepend_bos."""

    @property
    def pace(self) -> Callable[[], None]:
        """Called between steps: returns when nothing more urgent is waiting."""

    def block(self, i: int) -> dict[str, torch.Tensor]:
        """Vectors of block `i` by site, [tokens, width], the same tokens at all sites."""


@dataclass(eq=False)
class Streamed:
    """Vectors of a live model, made when they are needed; the pass stops at the deepest site.

    Args:
        model: the live model.
        sites: which sites.
        texts: strings (any iterable; it is read once), cut into windows of `context` tokens that
            never cross a text's end.
        context: tokens in a window; by default 128, or what the model can read.
        block_tokens: about how many tokens a block has.
        seed: of the order of windows.
        precision: "bf16" runs the passes under autocast: on SmolLM2 2.2 times as fast, with a
            relative error of 0.6 % (median over tokens) in the residual of layer 13.
        prepend_bos: None does as the tokenizer does; True and False overrule it.

    Padding, special tokens (BOS among them) and massive activations are left out, and counted in
    `left_out`.

    Raises:
        InputError: no text, or texts too short for a single window.
    """

    model: LiveModel
    sites: Sequence[str]
    texts: Iterable[str] = field(repr=False)
    context: int | None = None
    block_tokens: int = 65_536
    seed: int = 0
    precision: Precision = "fp32"
    prepend_bos: bool | None = None

    def __post_init__(self) -> None:
        self._places: list[Site] = [self.model.site(s) for s in self.sites]
        self.sites = [str(s) for s in self._places]
        if isinstance(self.texts, str):
            self.texts = [self.texts]
        limit = min(self.context or 128, self.model.context)
        self.context = limit
        rows: list[list[int]] = []
        for text in self.texts:
            if not isinstance(text, str):
                raise InputError(f"A text is {type(text).__name__}, not a string.")
            cut = self.model.prompts.windows(text, limit, prepend_bos=self.prepend_bos)
            rows += [row for row in cut if len(row) >= _SHORTEST]
        self.texts = ()
        if not rows:
            raise InputError(
                "The texts give no window to train on.",
                f"Give texts of {_SHORTEST} tokens or more.",
            )
        lengths = np.array([len(r) for r in rows])
        self._starts = np.concatenate([[0], lengths.cumsum()])
        self._ids = np.fromiter((t for r in rows for t in r), np.int64, int(lengths.sum()))
        self.left_out = {"special": 0, "massive": 0}

    @property
    def n_tokens(self) -> int:
        """Tokens in the texts, those included that are left out later."""
        return len(self._ids)

    @property
    def mark(self) -> str:
        """See ``Activations``."""
        found = hashlib.blake2b(self._ids.data, digest_size=8)
        found.update(self._starts.data)
        settings = [
            self.model.fingerprint,
            *self.sites,
            self.block_tokens,
            self.seed,
            self.precision,
        ]
        found.update(json.dumps(settings).encode())
        return found.hexdigest()

    @property
    def about(self) -> dict[str, Any]:
        """See ``Activations``."""
        return {
            "model": self.model.name,
            "fingerprint": self.model.fingerprint,
            "context": self.context,
            "prepend_bos": bool(self.model.prompts.lead(self.prepend_bos)),
        }

    @property
    def pace(self) -> Callable[[], None]:
        """See ``Activations``."""
        return self.model.give_way

    def block(self, i: int) -> dict[str, torch.Tensor]:
        """See ``Activations``."""
        windows = len(self._starts) - 1
        per_block = max(1, min(windows, round(self.block_tokens / (self.n_tokens / windows))))
        blocks = -(-windows // per_block)
        epoch, number = divmod(i, blocks)
        order = np.random.default_rng([self.seed, epoch]).permutation(windows)
        chosen = order[number * per_block : (number + 1) * per_block]
        # windows of about one length go together, so that little is padding
        chosen = chosen[np.argsort(np.diff(self._starts)[chosen], kind="stable")]
        vectors: list[list[torch.Tensor]] = [[] for _ in self.sites]
        rows = max(1, _TOKENS_A_PASS // int(self.context or 1))
        for at in range(0, len(chosen), rows):
            ids = [
                self._ids[self._starts[w] : self._starts[w + 1]].tolist()
                for w in chosen[at : at + rows]
            ]
            for kept, new in zip(vectors, self._pass(ids), strict=True):
                kept.append(new)
        shuffle = torch.from_numpy(
            np.random.default_rng([self.seed, i, 1]).permutation(sum(map(len, vectors[0])))
        )
        return {
            site: torch.cat(kept)[shuffle] for site, kept in zip(self.sites, vectors, strict=True)
        }

    def _pass(self, ids: list[list[int]]) -> list[torch.Tensor]:
        """Vectors of some windows, [tokens, width] for each site."""

        def job(job: Job[Any]) -> Generator[None, None, list[torch.Tensor]]:
            steps = self.model.steps(ids, self._places, job, logits=False)
            while True:
                try:
                    # the context must not be left open while other jobs run
                    with torch.autocast("cpu", torch.bfloat16, self.precision == "bf16"):
                        next(steps)
                except StopIteration as stop:
                    run = stop.value
                    break
                yield
            keep = run.mask.clone()
            for name in self.left_out:
                self.left_out[name] += int((keep & run.masks[name]).sum())
                keep &= ~run.masks[name]
            return [run[s].flatten(2)[keep].float().cpu() for s in self.sites]

        found: list[torch.Tensor] = self.model.work(job, priority=Priority.BACKGROUND).result()
        return found


@dataclass(eq=False)
class Kept:
    """Vectors in a folder that ``keep_activations`` wrote: mapped, in random order, in epochs.

    Raises:
        InputError: no such folder, or files in it that do not belong together.
    """

    folder: Path
    block_tokens: int = 65_536
    seed: int = 0

    def __post_init__(self) -> None:
        self.folder = Path(self.folder)
        file = self.folder / META
        if not file.is_file():
            raise InputError(
                f"{str(self.folder)!r} holds no kept activations.",
                "ng.keep_activations makes them.",
            )
        self._meta = json.loads(file.read_text("utf-8"))
        self.sites: Sequence[str] = list(self._meta["sites"])
        self._arrays = {
            s: np.load(self.folder / f"{s}{EXTENSION}", mmap_mode="r", allow_pickle=False)
            for s in self.sites
        }
        lengths = {len(a) for a in self._arrays.values()}
        if lengths != {self._meta["tokens"]}:
            raise InputError(
                f"{str(self.folder)!r} is incomplete: {self._meta['tokens']} tokens are promised, "
                f"{sorted(lengths)} are there.",
                "Make it again.",
            )

    @property
    def mark(self) -> str:
        """See ``Activations``."""
        return f"{self._meta['mark']}-{self.seed}-{self.block_tokens}"

    @property
    def about(self) -> dict[str, Any]:
        """See ``Activations``."""
        about: dict[str, Any] = self._meta["about"]
        return about

    @property
    def pace(self) -> Callable[[], None]:
        """Nothing to wait for: no model is at work."""
        return lambda: None

    def block(self, i: int) -> dict[str, torch.Tensor]:
        """See ``Activations``."""
        n = int(self._meta["tokens"])
        size = min(self.block_tokens, n)
        epoch, number = divmod(i, max(1, n // size))
        order = np.random.default_rng([self.seed, epoch]).permutation(n)
        chosen = order[number * size : (number + 1) * size]
        near = np.argsort(chosen)  # read in the order of the file, handed out in the drawn one
        back = np.empty_like(near)
        back[near] = np.arange(len(near))
        return {s: torch.from_numpy(a[chosen[near]][back]).float() for s, a in self._arrays.items()}


def keep_activations(
    model: LiveModel,
    site: str | Sequence[str],
    texts: Iterable[str],
    out: str | Path,
    *,
    tokens: int | None = None,
    **options: Any,
) -> Kept:
    """Write the vectors of one or more sites to a folder, to train on for several epochs.

    Args:
        model, site, texts: as in ``train_sae``.
        out: the folder; it must not hold other files.
        tokens: about how many; by default all that the texts have.
        options: as in ``Streamed``: context, seed, precision, prepend_bos.

    They are kept as float16 (relative error up to 0.05 %), scaled so that nothing overflows.

    Raises:
        InputError: no text; a folder with something in it.
        OSError: no space; what was written is removed.
    """
    sites = [site] if isinstance(site, str) else list(site)
    source = Streamed(model, sites, texts, **options)
    folder = Path(out)
    if folder.exists() and any(folder.iterdir()):
        raise InputError(f"{str(folder)!r} is not empty.", "Choose a new folder.")
    folder.mkdir(parents=True, exist_ok=True)
    wanted = min(tokens or source.n_tokens, source.n_tokens)
    parts: dict[str, list[np.ndarray[Any, Any]]] = {s: [] for s in source.sites}
    have, i = 0, 0
    files = {s: folder / f"{s}{EXTENSION}" for s in source.sites}
    try:
        while have < wanted and i * source.block_tokens < source.n_tokens + source.block_tokens:
            block = source.block(i)
            for s, x in block.items():
                parts[s].append(x.half().numpy())
            have += len(next(iter(block.values())))
            i += 1
        for s, file in files.items():
            np.save(file, np.concatenate(parts[s]), allow_pickle=False)
    except OSError:
        for file in files.values():
            file.unlink(missing_ok=True)
        raise
    meta = {"sites": source.sites, "tokens": have, "mark": source.mark, "about": source.about}
    (folder / META).write_text(json.dumps(meta), "utf-8")
    return Kept(folder, seed=source.seed)
