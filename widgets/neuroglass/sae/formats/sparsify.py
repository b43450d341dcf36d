"""EleutherAI's sparsify: ``cfg.json`` and ``sae.safetensors`` in a folder named after the module.

Forward (sparsify/sparse_coder.py, fused_encoder.py): pre-activations ReLU(W x + b), with b_dec
taken from x first unless it is a transcoder (``normalize_decoder`` is about training alone); the k
largest, or with ``groupmax`` the largest of each of k groups; acts · W_dec + b_dec, and x · W_skipᵀ
where there is a skip. W_dec is stored [N, d], as the encoder is.
"""

from __future__ import annotations

from neuroglass.model.errors import InputError, nearest
from neuroglass.sae.formats.files import Config, Files
from neuroglass.sae.formats.words import site_of_module
from neuroglass.sae.spec import Spec, Weights

LOOKS = "a config with d_in and k; tensors encoder.weight and W_dec"
_KINDS = ("topk", "groupmax")


def recognises(files: Files) -> bool:
    """By its tensors' names: no other library mixes these two."""
    return files.has("encoder.weight", "W_dec")


def read(files: Files) -> tuple[Spec, Weights]:
    """The dictionary in it."""
    config = files.config("d_in", "k")
    if config is None:
        raise InputError("No config with 'd_in' and 'k' lies beside it.", "sparsify's cfg.json.")
    kind = config.get("activation", str, "topk")
    if kind not in _KINDS:
        raise InputError(f"'activation' is {kind!r} in {config.name}.", nearest(kind, _KINDS))
    config.refuse("signed", None, False, why="negative latents are no latents here")
    transcode = config.get("transcode", bool, False)
    skip = config.get("skip_connection", bool, "W_skip" in files.tensors)
    d_in = config.get("d_in", int)
    n = config.get("num_latents", int, 0) or d_in * config.get("expansion_factor", int)
    names = ["encoder.weight", "encoder.bias", "W_dec", "b_dec", *(["W_skip"] if skip else [])]
    files.only(names)
    encoder, b_enc, rows, b_dec, *w_skip = (files.tensor(name) for name in names)
    hookpoint = files.path.parent.name
    reads, writes = (site_of_module(hookpoint, end) for end in ("input", "output"))
    if not transcode:
        reads = writes
    else:  # the two must differ, known or not: attach() then asks for them
        reads = reads or f"the input of {hookpoint}"
        writes = writes or f"the output of {hookpoint}"
    run = Config("config.json above it", files.above)
    spec = Spec(
        architecture="groupmax" if kind == "groupmax" else "topk",
        d_in=d_in,
        n_latents=n,
        d_out=d_in,
        k=config.get("k", int),
        subtract_b_dec=not transcode,
        read_site=reads,
        write_site=writes,
        model=run.get("model", str, None),
        context=run.get("ctx_len", int, None),
    )
    return spec, Weights(
        W_enc=encoder.T,
        b_enc=b_enc,
        W_dec=rows,
        b_dec=b_dec,
        W_skip=w_skip[0].T if w_skip else None,
    )
