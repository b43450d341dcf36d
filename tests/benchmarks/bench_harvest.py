"""A harvest beside the truncated forward and the encoding of the same tokens, and its memory.

    python -m tests.benchmarks.bench_harvest [--corpus CORPUS.jsonl] [--tokens 32768]
        [--features 256,1024,4096,16384] [--peer PYTHON] [--memory]

SmolLM2, the residual after layer 12, TopK with k 32 and random unit rows (nothing here is about
quality). The floor runs the same batches through the same model up to the same site and encodes
them; the harvest does that and keeps everything it keeps, tables written. `PEER` is the Python of
an environment with ``sae-dashboard`` (0.8.0, pyarrow<22); it is timed on 4,096 tokens, against the
same floor made with plain torch in its own process. ``--memory`` measures the peak resident size of
a process that harvests once and ten times the tokens, in shards of ``--shard`` tokens: a harvest of
less than a shard needs less, so the two compare only from about two shards on.
"""

from __future__ import annotations

import argparse
import itertools
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

import neuroglass as ng
from neuroglass.features.corpus import Corpus
from neuroglass.features.entries import entries, vectors
from neuroglass.features.passes import kept_tokens
from neuroglass.features.plan import Plan
from neuroglass.recipes.data import read_corpus
from neuroglass.sae.spec import Spec, Weights
from tests.benchmarks.common import emit, english, prompt

SITE, K, CONTEXT = "resid_post.12", 32, 128

MEMORY = """
import resource, sys, json
from tests.benchmarks import bench_harvest as b
import neuroglass as ng, shutil, tempfile
model = ng.load(sys.argv[1])
basis = b.random_dictionary(model, int(sys.argv[3]), sys.argv[4])
folder = tempfile.mkdtemp()
ng.harvest(model, basis, b.texts(sys.argv[5]), out=folder + "/s", tokens=int(sys.argv[2]),
           context=b.CONTEXT, shard_tokens=int(sys.argv[6]), progress=False)
shutil.rmtree(folder)
print(json.dumps(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024))
"""


def texts(corpus: str) -> Any:
    if corpus:
        return (d.text for d in itertools.islice(read_corpus(Path(corpus)), 0, None, 40))
    return [english(3_000_000)]


def random_dictionary(model: ng.LiveModel, n: int, site: str = SITE) -> ng.SAE:
    width = model.width(site)
    rows = torch.nn.functional.normalize(
        torch.randn(n, width, generator=torch.Generator().manual_seed(0)), dim=1
    )
    spec = Spec("topk", width, n, width, k=K, read_site=site, write_site=site)
    weights = Weights(rows.T.contiguous(), rows, torch.zeros(width), torch.zeros(n))
    return ng.SAE(spec, weights, name=f"random-{n}").attach(model, any_model=True)


def floor(model: ng.LiveModel, basis: ng.SAE, corpus: Corpus, plan: Any) -> None:
    """The passes and the encoding alone."""
    for group in range(corpus.n_groups):
        for windows in corpus.batches(group):
            run = model.run(corpus.rows(windows), sites=[SITE], logits=False)
            entries(basis, vectors(run, basis, kept_tokens(run, plan)[0]))


def times(model: ng.LiveModel, n: int, tokens: int, source: str, rounds: int) -> None:
    basis = random_dictionary(model, n)
    plan = Plan(None, True, True, 0, "fp32", True, 1, ng.Keep())
    taken: list[tuple[float, float]] = []
    for i in range(rounds):
        folder = Path(tempfile.mkdtemp())
        began = time.process_time()
        store = ng.harvest(
            model, basis, texts(source), out=folder / "s", context=CONTEXT, progress=False,
            tokens=tokens if i else min(tokens, 4096),  # the first is to warm up
        )  # fmt: skip
        ours = time.process_time() - began
        began = time.process_time()
        floor(model, basis, store.corpus, plan)
        base = time.process_time() - began
        size = sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())
        shutil.rmtree(folder)
        if i:
            taken.append((base, ours))
    each = sorted(o / b for b, o in taken)
    emit(
        what=f"{n} features of {n}, {tokens} tokens",
        floor_cpu_s=round(min(b for b, _ in taken), 1),
        harvest_cpu_s=round(min(o for _, o in taken), 1),
        ratio=round(each[len(each) // 2], 3),
        ratios=[round(r, 3) for r in each],
        store_mb=round(size / 1e6, 1),
    )


def peer(python: str, model: ng.LiveModel, features: int, latents: int, tokens: int) -> None:
    """sae-dashboard in its own environment, and the floor there."""
    from transformers import LlamaConfig, LlamaForCausalLM

    what = f"sae-dashboard, {features} features of {latents}"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        c = model.hf.config
        kept = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers",
                "num_attention_heads", "num_key_value_heads", "max_position_embeddings",
                "rms_norm_eps", "tie_word_embeddings", "bos_token_id", "eos_token_id")  # fmt: skip
        plain = LlamaForCausalLM(LlamaConfig(**{k: getattr(c, k) for k in kept}))
        plain.load_state_dict(model.hf.state_dict())
        plain.save_pretrained(folder)
        model.prompts.need_tokenizer().save_pretrained(folder)
        # what transformers 4 calls them
        for file, changes in (
            ("config.json", {"rope_theta": c.rope_parameters["rope_theta"]}),
            ("tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast"}),
        ):
            found = json.loads((folder / file).read_text("utf-8"))
            (folder / file).write_text(json.dumps(found | changes), "utf-8")
        ids = prompt(model, tokens // CONTEXT, CONTEXT).tolist()
        (folder / "rows.json").write_text(json.dumps(ids), "utf-8")
        script = Path(__file__).with_name("peer_dashboard.py")
        arguments = [str(folder), str(features), str(latents), str(K), str(folder / "rows.json")]
        done = subprocess.run(
            [python, str(script), *arguments], capture_output=True, text=True, check=False
        )
    if done.returncode:
        emit(what=what, failed=done.stderr[-400:])
    else:
        emit(what=what, **json.loads(done.stdout.strip().split("\n")[-1]))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--corpus", default="")
    parser.add_argument("--tokens", type=int, default=32_768)
    parser.add_argument("--features", default="256,1024,4096,16384")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--peer")
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--shard", type=int, default=1 << 18)
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.memory:
        name, site, n, tokens = "zoo/A", "neurons.0", 4096, given.tokens
        peaks = []
        for times_ in (1, 10):
            command = [sys.executable, "-c", MEMORY, name, str(tokens * times_), str(n), site]
            done = subprocess.run(
                [*command, given.corpus, str(given.shard)],
                capture_output=True,
                text=True,
                check=True,
            )
            peaks.append(int(done.stdout.split()[-1]))
        emit(
            what=f"peak memory, {name}, {n} features, {tokens} and {10 * tokens} tokens",
            mb=peaks,
            ratio=round(peaks[1] / peaks[0], 3),
        )
        return
    model = ng.load("smollm2")
    for n in map(int, given.features.split(",")):
        times(model, n, given.tokens, given.corpus, given.rounds + 1)
        if given.peer:
            # its time grows with the features asked for: at least 4,096 latents, as in a dictionary
            peer(given.peer, model, n, max(n, 4096), 4096)


if __name__ == "__main__":
    main()
