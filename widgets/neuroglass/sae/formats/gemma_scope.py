"""Gemma Scope 1 (``params.npz``) and 2 (``params.safetensors`` and ``config.json``): JumpReLU.

Forward (both releases' tutorials): h = x · W_enc + b_enc, b_dec is not taken from x; f = ReLU(h)
where h > threshold, strictly; f · W_dec + b_dec. Gemma Scope 2 adds x · affine_skip_connection in
its affine transcoders, stored [d_in, d_out] (SAELens 6.54 and circuit-tracer read it so too).
Gemma Scope 1 has no config: model and site are read out of the names of its folders (of the links,
in a cache of links), and where those do not say them, ``attach`` asks. Its embedding dictionaries
were trained on embeddings before Gemma multiplies them by √d.
"""

from __future__ import annotations

import re

from neuroglass.model.errors import InputError
from neuroglass.sae.formats.files import Config, Files
from neuroglass.sae.formats.words import site_of_module
from neuroglass.sae.spec import Spec, Weights

LOOKS_1 = "an .npz of W_enc, W_dec, b_enc, b_dec and threshold"
LOOKS_2 = "tensors w_enc, w_dec, b_enc, b_dec and threshold; a config with architecture jump_relu"
_UPPER = ("W_enc", "W_dec", "b_enc", "b_dec", "threshold")
_LOWER = ("w_enc", "w_dec", "b_enc", "b_dec", "threshold")
_SKIP = "affine_skip_connection"


def recognises_1(files: Files) -> bool:
    """By the kind of file and its arrays' names."""
    return files.path.suffix == ".npz" and files.has("W_enc", "W_dec")


def read_1(files: Files) -> tuple[Spec, Weights]:
    """A dictionary of the first release."""
    files.only(_UPPER)
    w_enc, w_dec, b_enc, b_dec, threshold = (files.tensor(name) for name in _UPPER)
    width = b_dec.numel()  # both sites have it, so a transposed matrix shows
    model, read, write, embedding = _places(str(files.path.absolute()))
    spec = Spec(
        architecture="jumprelu",
        d_in=width,
        n_latents=b_enc.numel(),
        d_out=width,
        input_norm="constant" if embedding else "none",
        input_scale=width**-0.5 if embedding else 1.0,
        subtract_b_dec=False,
        read_site=read,
        write_site=write,
        model=model,
        prepend_bos=True,
    )
    return spec, Weights(W_enc=w_enc, b_enc=b_enc, W_dec=w_dec, b_dec=b_dec, threshold=threshold)


def recognises_2(files: Files) -> bool:
    """By its tensors' names, in lower case."""
    return files.has("w_enc", "w_dec")


def read_2(files: Files) -> tuple[Spec, Weights]:
    """A dictionary or transcoder of the second release."""
    config = files.config("architecture", "hf_hook_point_in")
    if config is None:
        raise InputError(
            "No config with 'architecture' and 'hf_hook_point_in' lies beside it.",
            "Gemma Scope 2's config.json says where it reads.",
        )
    config.refuse("architecture", "jump_relu", why="Gemma Scope 2 has jump_relu only")
    skip = config.get("affine_connection", bool, _SKIP in files.tensors)
    if skip != (_SKIP in files.tensors):
        says = "has" if skip else "has no"
        raise InputError(
            f"{config.name} says that it {says} affine connection, its tensors do not."
        )
    files.only((*_LOWER, _SKIP))
    w_enc, w_dec, b_enc, b_dec, threshold = (files.tensor(name) for name in _LOWER)
    if w_dec.ndim != 2 or w_enc.ndim != 2:
        raise InputError(
            "It reads or writes several layers at once (a crosscoder or cross-layer transcoder).",
            "A dictionary here has one read site and one write site.",
        )
    read = _hook(config, "hf_hook_point_in")
    write = _hook(config, "hf_hook_point_out") if "hf_hook_point_out" in config.values else read
    if write is None:
        write = read
    model = config.get("model_name", str, None)
    spec = Spec(
        architecture="jumprelu",
        d_in=b_dec.numel(),
        n_latents=config.get("width", int, b_enc.numel()),
        d_out=b_dec.numel(),
        subtract_b_dec=False,
        read_site=read,
        write_site=write,
        # the config's names are older than the models' (SAELens corrects the same two)
        model=re.sub("-270m-pt$", "-270m", model.replace("-v3", "-3")) if model else None,
        prepend_bos=True,
    )
    return spec, Weights(
        W_enc=w_enc,
        b_enc=b_enc,
        W_dec=w_dec,
        b_dec=b_dec,
        threshold=threshold,
        W_skip=files.tensor(_SKIP) if skip else None,
    )


def _places(path: str) -> tuple[str | None, str | None, str | None, bool]:
    """Model, read site, write site, and whether it reads embeddings; from the folders' names."""
    release = re.search(r"gemma-scope-(\d+b)-(pt|it)-(res|mlp|att|transcoders)\b", path)
    model = None
    if release:
        model = f"gemma-2-{release[1]}{'-it' if release[2] == 'it' else ''}"
    if re.search(r"[/\\]embedding[/\\]width_", path):
        return model, "embed", "embed", True
    layer = re.search(r"[/\\]layer_(\d+)[/\\]", path)
    if not release or not layer:
        return model, None, None, False
    read, write = {
        "res": ("resid_post", "resid_post"),
        "mlp": ("mlp_out", "mlp_out"),
        "att": ("head_out", "head_out"),
        "transcoders": ("mlp_in", "mlp_out"),
    }[release[3]]
    return model, f"{read}.{layer[1]}", f"{write}.{layer[1]}", False


def _hook(config: Config, key: str) -> str | None:
    """``model.layers.5.output`` in our words; what we have no word for stays, and attach asks."""
    text = config.get(key, str, None)
    if text is None:
        return None
    module, _, end = str(text).rpartition(".")
    return site_of_module(module, end) or str(text)
