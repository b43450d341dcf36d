"""sae-dashboard on the same kind of work as ``bench_harvest``; runs in its own environment.

    PYTHON tests/benchmarks/peer_dashboard.py FOLDER FEATURES LATENTS K TOKENS.json

`FOLDER`: SmolLM2 as safetensors; `TOKENS.json`: rows of token ids. One line of JSON comes out:
seconds of processor time of its runner, and of the truncated forward with the encoding.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from sae_dashboard.sae_vis_data import SaeVisConfig
from sae_dashboard.sae_vis_runner import SaeVisRunner
from sae_lens import HookedSAETransformer
from sae_lens.saes.sae import SAEMetadata
from sae_lens.saes.topk_sae import TopKSAE, TopKSAEConfig
from transformer_lens import HookedTransformerConfig
from transformer_lens.pretrained.weight_conversions.llama import convert_llama_weights
from transformers import AutoModelForCausalLM, AutoTokenizer

LAYER, BATCH = 12, 16


def hooked(hf: Any, tokenizer: Any) -> Any:
    """TransformerLens' model from Hugging Face's: it refuses a local Llama by name."""
    c = hf.config
    d_head = c.hidden_size // c.num_attention_heads
    config = HookedTransformerConfig(
        d_model=c.hidden_size, d_head=d_head, n_heads=c.num_attention_heads,
        n_key_value_heads=c.num_key_value_heads, d_mlp=c.intermediate_size,
        n_layers=c.num_hidden_layers, n_ctx=2048, eps=c.rms_norm_eps, d_vocab=c.vocab_size,
        act_fn=c.hidden_act, normalization_type="RMS", positional_embedding_type="rotary",
        rotary_adjacent_pairs=False, rotary_dim=d_head, rotary_base=int(c.rope_theta),
        final_rms=True, gated_mlp=True, original_architecture="LlamaForCausalLM", device="cpu",
        default_prepend_bos=False, model_name="smollm2", tokenizer_prepends_bos=False,
    )  # fmt: skip
    model = HookedSAETransformer(config, tokenizer=None, move_to_device=False)
    weights = convert_llama_weights(hf, config)
    model.load_state_dict({k: v for k, v in weights.items() if v is not None}, strict=False)
    model.tokenizer = tokenizer
    return model.eval()


def main() -> None:
    folder, rows = sys.argv[1], sys.argv[5]
    features, latents, k = map(int, sys.argv[2:5])
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    hf = AutoModelForCausalLM.from_pretrained(folder, torch_dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokens = torch.tensor(json.loads(Path(rows).read_text("utf-8")))
    model = hooked(hf, tokenizer)
    width = hf.config.hidden_size
    unit = torch.nn.functional.normalize(
        torch.randn(latents, width, generator=torch.Generator().manual_seed(0)), dim=1
    )
    hook = f"blocks.{LAYER}.hook_resid_post"
    meta = SAEMetadata(
        model_name="smollm2", hook_name=hook, hook_layer=LAYER, context_size=tokens.shape[1],
        prepend_bos=False,
    )  # fmt: skip
    sae = TopKSAE(
        TopKSAEConfig(
            d_in=width, d_sae=latents, k=k, rescale_acts_by_decoder_norm=True, dtype="float32",
            device="cpu", metadata=meta,
        )
    )  # fmt: skip
    sae.W_dec.data, sae.W_enc.data = unit.clone(), unit.T.clone().contiguous()

    def bare() -> None:
        layers, norm = hf.model.layers, hf.model.norm
        hf.model.layers = layers[: LAYER + 1]
        hf.model.norm = torch.nn.Identity()
        for batch in tokens.split(BATCH):
            sae.encode(hf.model(batch, use_cache=False).last_hidden_state)
        hf.model.layers, hf.model.norm = layers, norm

    def timed(call: Callable[[], object]) -> float:
        began = time.process_time()
        call()
        return time.process_time() - began

    bare()
    floors = [timed(bare), timed(bare)]
    config = SaeVisConfig(
        hook_point=hook, features=list(range(features)), minibatch_size_features=64,
        minibatch_size_tokens=BATCH, device="cpu",
    )  # fmt: skip
    theirs = timed(lambda: SaeVisRunner(config).run(encoder=sae, model=model, tokens=tokens))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(
        json.dumps(
            {
                "tokens": tokens.numel(),
                "floor_cpu_s": round(min(floors), 1),
                "gather_cpu_s": round(theirs, 1),
                "ratio": round(theirs / min(floors), 2),
                "peak_mb": peak,
            }
        )
    )


if __name__ == "__main__":
    main()
