"""A real store, from nothing: a dictionary of SmolLM2 is trained here, then harvested.

    python -m tests.benchmarks.bench_real_store --corpus CORPUS.jsonl [--folder build/real_store]
        [--tokens 524288 --trained 500000 --latents 4608 --site resid_post.15]

TopK, k 32, on the residual after layer 15 if no other site is named, as in ``bench_sae_quality``
(whose kept vectors serve if they are in the folder). The harvest reads every tenth English
document, not those of the training, under bfloat16 autocast, one thread; it is as ``harvest`` does
it by default otherwise, so Pearson correlations with all 1,536 neurons of the layer are in it. Each
step that is done is not repeated; the seconds of a harvest that was interrupted are those since
then.
"""

from __future__ import annotations

import argparse
import itertools
import time
from pathlib import Path

import torch

import neuroglass as ng
from neuroglass.sae.activations import Kept, keep_activations
from neuroglass.sae.recipes import TopK
from neuroglass.sae.training import train_sae
from tests.benchmarks.bench_sae_quality import BATCH, SITE, K, documents
from tests.benchmarks.common import emit, peak_bytes, reset_peak


def dictionary(model: ng.LiveModel, given: argparse.Namespace) -> ng.SAE:
    """The dictionary in the folder, or one trained now."""
    file = given.folder / "dictionary"
    if not file.is_dir():
        vectors = given.folder / "activations"
        began = time.perf_counter()
        if not (vectors / "meta.json").is_file():
            texts = itertools.islice(documents(given.corpus, held_out=False), 0, None, 10)
            keep_activations(
                model, given.site, texts, vectors, tokens=given.trained, precision="bf16"
            )
            emit(what="vectors", tokens=given.trained, seconds=round(time.perf_counter() - began))
        began = time.perf_counter()
        recipe = TopK(n_latents=given.latents, k=K, tokens=given.trained, batch=BATCH, lr=1e-3)
        made = train_sae(None, given.site, Kept(vectors), recipe, progress=False)
        made.save(file)
        emit(what="training", tokens=given.trained, seconds=round(time.perf_counter() - began))
    return ng.SAE.load(file, model, any_model=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--folder", type=Path, default=Path("build/real_store"))
    parser.add_argument("--tokens", type=int, default=1 << 19)
    parser.add_argument("--trained", type=int, default=500_000)
    parser.add_argument("--latents", type=int, default=4608)
    parser.add_argument("--site", default=SITE)
    given = parser.parse_args()
    torch.set_num_threads(1)
    model = ng.load("smollm2")
    sae = dictionary(model, given)
    held = list(itertools.islice(documents(given.corpus, held_out=True), 0, None, 5))
    report = sae.report(held, tokens=5_000)
    emit(what="held out", **{n: round(report[n], 4) for n in ("l0", "fvu", "recovered_zero")})
    reset_peak()
    out = given.folder / "store"
    began, used = time.perf_counter(), time.process_time()
    store = ng.harvest(
        model,
        sae,
        itertools.islice(documents(given.corpus, held_out=False), 5, None, 10),
        out=out,
        tokens=given.tokens,
        precision="bf16",
        progress=False,
    )
    f = store.to_frame()
    sizes = {p.name: p.stat().st_size for p in out.rglob("*") if p.is_file()}
    emit(
        what=f"harvest, {store.n_features} features",
        tokens=store.corpus.n_tokens,
        seconds=round(time.perf_counter() - began),
        cpu_s=round(time.process_time() - used),
        peak_mb=peak_bytes() // 2**20,
        store_mb=round(sum(sizes.values()) / 1e6, 1),
        largest={n: round(s / 1e6, 1) for n, s in sorted(sizes.items(), key=lambda x: -x[1])[:5]},
        never_on=int((f["count"] == 0).sum()),
        examples=int(store.sql("SELECT count(*) AS n FROM examples")["n"][0]),
    )


if __name__ == "__main__":
    main()
