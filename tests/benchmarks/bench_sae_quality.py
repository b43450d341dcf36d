"""A dictionary of SmolLM2 trained here, beside SAELens' own trainer on the same activations.

    python -m tests.benchmarks.bench_sae_quality --corpus CORPUS.jsonl [--peer PYTHON]
        [--tokens 1_000_000 --latents 4608 --seeds 3 --first 0 --lr 1e-3 --peer-lr 1e-3]
        [--folder build/sae_quality]

TopK, k 32, on the residual after layer 15. Vectors are harvested once (bfloat16 passes) and kept;
both trainers read the same ones in the same order and batches. Equal learning rates are not equal
steps: SAELens' decoder rows start with norm 0.1 and may grow, ours are kept at 1, so that Adam
turns ours a tenth as far at first. `PEER` is the Python of an environment with ``sae-lens`` (tested
with 6.54.12); without one only ours is trained. The report is measured on held-out documents, with
the errors of neither added back. ``python -m neuroglass.recipes.corpus CORPUS.jsonl`` makes the
corpus.
"""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import neuroglass as ng
from neuroglass.recipes.data import read_corpus
from neuroglass.sae.activations import Kept, keep_activations
from neuroglass.sae.dictionary import SAE
from neuroglass.sae.recipes import TopK
from neuroglass.sae.training import train_sae
from tests.benchmarks.common import emit

SITE = "resid_post.15"
K, BATCH = 32, 2048
ENGLISH = {"english_prose", "english_reference", "english_technical", "email", "code", "legal"}
SHOWN = ("l0", "fvu", "ce", "ce_spliced", "recovered_zero", "recovered_mean", "dead", "dense")

# runs in the peer's environment: vectors as .npy, its trainer's step, its own file format
PEER = """
import json, sys, time, numpy as np, torch
from sae_lens.saes.topk_sae import TopKTrainingSAE, TopKTrainingSAEConfig
from sae_lens.training.sae_trainer import SAETrainer
from sae_lens.config import SAETrainerConfig
given = json.loads(sys.argv[1])
torch.manual_seed(given["seed"])
batches = np.load(given["order"], mmap_mode="r")
vectors = np.load(given["vectors"], mmap_mode="r")
def provide():
    for rows in batches:
        yield torch.from_numpy(vectors[np.sort(rows)].astype(np.float32)) * given["scale"]
config = TopKTrainingSAEConfig(d_in=vectors.shape[1], d_sae=given["latents"], k=given["k"])
sae = TopKTrainingSAE(config)
with torch.no_grad():
    sae.b_dec.copy_(torch.from_numpy(vectors[:32768].astype(np.float32)).mean(0) * given["scale"])
n = len(batches) * batches.shape[1]
trainer = SAETrainer(SAETrainerConfig(total_training_samples=n,
    train_batch_size_samples=batches.shape[1], lr=given["lr"], lr_end=given["lr"] / 10,
    lr_decay_steps=len(batches) // 5), sae, provide())
began = time.perf_counter()
for i, x in enumerate(provide()):
    trainer.step(x)
    trainer.n_training_steps += 1
seconds = time.perf_counter() - began
sae.save_inference_model(given["out"])
print(json.dumps({"seconds": seconds}))
"""


def documents(corpus: Path, *, held_out: bool) -> Iterator[str]:
    for document in read_corpus(corpus):
        if document.category in ENGLISH and document.held_out is held_out:
            yield document.text


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--corpus", type=Path, help="made by python -m neuroglass.recipes.corpus")
    parser.add_argument("--peer", help="Python of an environment with sae-lens")
    parser.add_argument("--tokens", type=int, default=1_000_000)
    parser.add_argument("--latents", type=int, default=4608)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first", type=int, default=0, help="the first of the seeds")
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--peer-lr", type=float, default=1e-3)
    parser.add_argument("--folder", type=Path, default=Path("build/sae_quality"))
    given = parser.parse_args()
    if given.corpus is None:
        print("there is no corpus; how to run with one is said at the top of this file")
        return
    model = ng.load("smollm2")
    folder: Path = given.folder / "activations"
    if not (folder / "meta.json").is_file():
        began = time.perf_counter()
        # every tenth document, so that all sources are there
        texts = itertools.islice(documents(given.corpus, held_out=False), 0, None, 10)
        keep_activations(model, SITE, texts, folder, tokens=given.tokens, precision="bf16")
        emit(what="harvest", seconds=round(time.perf_counter() - began))
    held = list(itertools.islice(documents(given.corpus, held_out=True), 0, None, 5))
    for seed in range(given.first, given.first + given.seeds):
        kept = Kept(folder, seed=seed)
        recipe = TopK(
            n_latents=given.latents, k=K, tokens=given.tokens, batch=BATCH, lr=given.lr, seed=seed
        )
        began = time.perf_counter()
        made = train_sae(None, SITE, kept, recipe, progress=False)
        row(f"ours, seed {seed}", made.attach(model), held, time.perf_counter() - began)
        if given.peer:
            same = replace(recipe, lr=given.peer_lr)
            sae, seconds = theirs(given.peer, kept, same, given.folder / f"peer-{seed}")
            row(
                f"SAELens, seed {seed}", sae.attach(model, site=SITE, any_model=True), held, seconds
            )


def theirs(python: str, kept: Kept, recipe: TopK, out: Path) -> tuple[SAE, float]:
    """Trained by SAELens on the same vectors."""
    import numpy as np

    out.mkdir(parents=True, exist_ok=True)
    vectors = np.load(kept.folder / f"{SITE}.npy", mmap_mode="r")
    chance = np.random.default_rng(recipe.seed)
    order = chance.permutation(len(vectors))[: recipe.steps * recipe.batch]
    np.save(out / "order.npy", order.reshape(-1, recipe.batch))
    size = float(np.square(vectors[:32768].astype(np.float32)).sum(1).mean())
    scale = (vectors.shape[1] / size) ** 0.5
    settings = {
        "seed": recipe.seed,
        "order": str(out / "order.npy"),
        "vectors": str(kept.folder / f"{SITE}.npy"),
        "latents": recipe.n_latents,
        "k": recipe.k,
        "lr": recipe.lr,
        "scale": scale,
        "out": str(out / "sae"),
    }
    done = subprocess.run(
        [python, "-c", PEER, json.dumps(settings)], check=True, capture_output=True, text=True
    )
    seconds = json.loads(done.stdout.splitlines()[-1])["seconds"]
    sae = SAE.load(out / "sae")
    # it was trained on scaled vectors and does not know
    spec = replace(sae.spec, input_norm="constant", input_scale=scale)
    return SAE(spec, sae.weights, name="saelens"), seconds


def row(what: str, sae: SAE, held: list[str], seconds: float) -> None:
    report = sae.report(held, tokens=10_000)
    emit(what=what, seconds=round(seconds), **{n: round(report[n], 4) for n in SHOWN})


if __name__ == "__main__":
    main()
