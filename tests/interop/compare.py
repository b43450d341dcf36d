"""A program for an environment that has a peer library: the same text through both, value by value.

``python compare.py bridge`` (TransformerLens) or ``nnsight``. SmolLM2 and a text go in; a JSON line
per compared tensor comes out: ``case``, the peer's name for it, ``max_abs`` (the largest
difference), ``relative`` (the norm of the difference over the norm of the peer's vector, at the
token and head where it is worst) and ``bit_equal``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

import torch

import neuroglass as ng
from neuroglass.model import smollm2
from neuroglass.model.errors import InputError

if TYPE_CHECKING:
    from neuroglass.model.live import LiveModel

TEXT = (
    "The city council met on Tuesday evening to decide whether the old stone bridge should be "
    "repaired or replaced. Engineers had warned that two of its five arches might not survive "
    "another flood like that of 1953, when the river rose by almost four metres in a single night. "
    '"We can\'t keep patching it up," said Maria Keller, who has run the bakery beside it for '
    "thirty years, but her neighbours disagreed: a new one would cost €12 million, and nobody had "
    "said who was going to pay for it."
)


def folder() -> str:
    """SmolLM2's safetensors copy, which both libraries open."""
    packaged = smollm2.packaged()
    assert packaged, smollm2.INSTALL
    return str(smollm2.converted(packaged))


def report(case: str, name: str, theirs: torch.Tensor, ours: torch.Tensor) -> None:
    line: dict[str, Any] = {"case": case, "name": name, "bit_equal": torch.equal(theirs, ours)}
    if theirs.shape != ours.shape:
        line |= {"max_abs": float("inf"), "relative": float("inf")}
        line |= {"shapes": [list(theirs.shape), list(ours.shape)]}
    else:
        want, off = theirs.float(), (theirs - ours).float()
        line["max_abs"] = float(off.abs().max())
        line["relative"] = float((off.norm(dim=-1) / want.norm(dim=-1).clamp_min(1e-9)).max())
    print(json.dumps(line), flush=True)


def accepted(model: LiveModel, names: Iterable[str]) -> dict[str, str]:
    """The names that neuroglass takes for one of its sites -> that site's name."""
    found = {}
    for name in names:
        try:
            found[name] = model.site(name).name
        except InputError:
            continue
    return found


def compare(
    case: str,
    model: LiveModel,
    names: Iterable[str],
    theirs: Mapping[str, Any],
    *,
    prepend_bos: bool | None = None,
) -> None:
    """Run TEXT and report `names` (and the tokens and logits, which `theirs` holds by our name)."""
    names = list(names)
    run = model.run(TEXT, sites=names, prepend_bos=prepend_bos)
    for name in names:
        report(case, name, theirs[name], run[name])
    report(case, "tokens", theirs["tokens"], run.tokens)
    report(case, "logits", theirs["logits"], run["logits"])


def bridge() -> None:
    """TransformerLens' bridge against our own copy of the weights, and against the bridge's."""
    library = import_module("transformer_lens.model_bridge").TransformerBridge
    peer = library.boot_transformers(folder(), device="cpu", dtype=torch.float32)
    tokens = peer.to_tokens(TEXT)
    logits, cache = peer.run_with_cache(tokens)
    theirs = {**cache, "tokens": tokens, "logits": logits}

    model = ng.load("smollm2")
    # every name of the table, and every other one that neuroglass would take for a site
    names = accepted(model, [*cache, *model.transformer_lens_sites()])
    # TransformerLens puts a BOS before a text, which SmolLM2's own tokenizer does not
    compare("own copy", model, names, theirs, prepend_bos=True)
    unseen = [name for name, site in names.items() if site != "pattern"]
    compare("no pattern", model, unseen, theirs, prepend_bos=True)

    # its tokenizer comes with that BOS
    handed = ng.load(peer.original_model, peer.tokenizer)
    compare("handed over", handed, accepted(handed, names), theirs)
    again, cache = peer.run_with_cache(tokens)
    for name in names:
        report("bridge afterwards", name, theirs[name], cache[name])
    report("bridge afterwards", "logits", logits, again)


def nnsight() -> None:
    """The model that nnsight wraps, handed over; values by their Hugging Face module paths."""
    library = import_module("nnsight")
    peer = library.LanguageModel(folder(), device_map="cpu", dtype=torch.float32, dispatch=True)
    tokens = peer.tokenizer(TEXT, return_tensors="pt").input_ids
    theirs: dict[str, Any] = {"tokens": tokens}
    names = ["model.embed_tokens"]
    with peer.trace(tokens):
        seen = library.save([])
        seen.append(peer.model.embed_tokens.output)
        for layer in peer.model.layers:
            seen.append(layer.self_attn.o_proj.output)
            seen.append(layer.mlp.output)
            seen.append(layer.output)
        logits = peer.lm_head.output.save()
    for i in range(len(peer.model.layers)):
        path = f"model.layers.{i}"
        names += [f"{path}.self_attn.o_proj", f"{path}.mlp", path]
    theirs |= dict(zip(names, seen, strict=True)) | {"logits": logits}
    model = ng.load(peer._module, peer.tokenizer)
    compare("handed over", model, names, theirs)


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    {"bridge": bridge, "nnsight": nnsight}[sys.argv[1]]()
