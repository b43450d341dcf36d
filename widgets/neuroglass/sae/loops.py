"""The loops that numba compiles for ``kernels``: rows of arrays in, rows of arrays out, in place.

Each goes over tokens or latents `first` to `last`, so that threads can share the rest. They are
compiled without numba's own thread pool: it would spin beside torch's, and its portable layer ends
the process when two trainings run at once. They release the GIL instead.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np

Array = np.ndarray[Any, Any]
Loop = TypeVar("Loop", bound=Callable[..., Any])

# sums may be reordered and contracted, but NaN stays NaN: a training that diverges must show it
_MATHS = {"reassoc", "contract", "arcp", "nsz"}
# bfloat16 steps below the k-th proposal that are still looked at: rounding moves a value by half a
# step on either side, and the rounding of the inputs by about as much again
_SLACK = 2


def _compiled(loop: Loop) -> Loop:
    """Compiled at the first call, and kept on disk where there is a place for it."""
    options: dict[str, Any] = {"nogil": True, "fastmath": _MATHS, "error_model": "numpy"}
    try:
        made = numba.njit(cache=True, **options)(loop)
    except RuntimeError:  # neither this folder nor the user's cache can be written
        made = numba.njit(**options)(loop)
    return cast("Loop", made)


@_compiled
def _combine(out: Array, rows: Array, which: Array, weights: Array, n: int) -> None:
    """Σ weights[i]·rows[which[i]], i < n; four rows at a time, to write `out` less often."""
    out[:] = 0
    whole = n - n % 4
    for i in range(0, whole, 4):
        a, b, c, d = rows[which[i]], rows[which[i + 1]], rows[which[i + 2]], rows[which[i + 3]]
        p, q, r, s = weights[i], weights[i + 1], weights[i + 2], weights[i + 3]
        for j in range(len(out)):
            out[j] += p * a[j] + q * b[j] + r * c[j] + s * d[j]
    for i in range(whole, n):
        a, p = rows[which[i]], weights[i]
        for j in range(len(out)):
            out[j] += p * a[j]


@_compiled
def _dots(out: Array, x: Array, rows: Array, which: Array, n: int) -> None:
    """x·rows[which[i]], i < n; four rows at a time, to wait for memory less often."""
    zero = np.float32(0)
    whole = n - n % 4
    for i in range(0, whole, 4):
        a, b, c, d = rows[which[i]], rows[which[i + 1]], rows[which[i + 2]], rows[which[i + 3]]
        p, q, r, s = zero, zero, zero, zero
        for j in range(len(x)):
            p += x[j] * a[j]
            q += x[j] * b[j]
            r += x[j] * c[j]
            s += x[j] * d[j]
        out[i], out[i + 1], out[i + 2], out[i + 3] = p, q, r, s
    for i in range(whole, n):
        a, p = rows[which[i]], zero
        for j in range(len(x)):
            p += x[j] * a[j]
        out[i] = p


@_compiled
def _gather(
    places: Array, values: Array, to_values: Array, tokens: Array, into: Array, out: Array
) -> int:
    """Tokens and entries at some places of [tokens, k]; how many."""
    k = values.shape[1]
    for i in range(len(places)):
        t = places[i] // k
        j = places[i] - t * k
        tokens[i], into[i], out[i] = t, to_values[t, j], values[t, j]
    return len(places)


@_compiled
def _move(row: Array, mean: Array, square: Array, grad: Array, numbers: Array) -> None:
    """Adam on a few numbers; `numbers`: rate and √ of the second with their bias corrections."""
    rate, first, second, root, eps = numbers
    rest, other = np.float32(1) - first, np.float32(1) - second
    for d in range(len(row)):
        m = first * mean[d] + rest * grad[d]
        v = second * square[d] + other * grad[d] * grad[d]
        mean[d], square[d] = m, v
        row[d] -= rate * m / (np.sqrt(v) * root + eps)


@_compiled
def choose(
    first: int,
    last: int,
    proposed: Array,
    offset: int,
    z: Array,
    encoder: Array,
    bias: Array,
    decoder: Array,
    indices: Array,
    values: Array,
    made: Array,
) -> None:
    """Tokens `first` to `last` of a chunk that begins at `offset`: choose and decode.

    Args:
        first, last: which rows of `proposed`.
        proposed: z·encoderᵀ [chunk, n_latents], bfloat16 read as int16.
        offset: of the chunk.
        z, encoder, bias, decoder, indices, values, made: see ``kernels.forward``.
    """
    n, k = proposed.shape[1], indices.shape[1]
    # The k-th largest of the maxima of at least k blocks is at most the k-th largest of all. A
    # block is every `blocks`-th latent; an odd number of cache lines keeps them in different sets.
    blocks = min(n, max(4 * k, n // 32) // 32 * 32 + 16)
    largest = np.empty(blocks, np.float32)
    bits = np.empty(n, np.int32)
    score = bits.view(np.float32)
    middle_bits = np.empty(1, np.int32)
    middle = middle_bits.view(np.float32)
    found, exact = np.empty(n, np.int64), np.empty(n, np.float32)
    best = np.empty(k, np.float32)
    for row in range(first, last):
        t, raw = offset + row, proposed[row]
        for j in range(n):
            bits[j] = np.int32(raw[j]) << 16
        for j in range(n):
            score[j] += bias[j]
        largest[:] = -np.inf
        for at in range(0, n, blocks):
            part = score[at : at + blocks]
            for j in range(len(part)):
                h, most = part[j], largest[j]
                largest[j] = h if h > most else most  # max() would not be vectorised
        low, high = 1, 0x7F80  # bisection over positive bfloat16, from the least to infinity
        while low < high:
            half = (low + high + 1) >> 1
            middle_bits[0] = half << 16
            above = np.float32(0)
            for j in range(blocks):
                above += np.float32(1) if largest[j] >= middle[0] else np.float32(0)
            if above >= k:
                low = half
            else:
                high = half - 1
        middle_bits[0] = max(1, low - _SLACK) << 16
        # where few are positive, rounding may hide one that is near zero
        least = middle[0] if low > 1 else -largest.max() / np.float32(64)
        count = 0
        for j in range(blocks):
            if largest[j] >= least:
                for latent in range(j, n, blocks):
                    if score[latent] >= least:
                        found[count] = latent
                        count += 1
        # exact values decide; the smallest kept one is at `weakest`
        which, kept, weakest = indices[t], 0, 0
        _dots(exact, z[t], encoder, found, count)
        for i in range(count):
            exact[i] += bias[found[i]]
            if kept < k:
                best[kept], which[kept] = exact[i], found[i]
                kept += 1
            elif not exact[i] <= best[weakest]:
                best[weakest], which[weakest] = exact[i], found[i]
            else:
                continue
            if kept == k:
                weakest = 0
                for j in range(1, k):
                    if best[j] < best[weakest]:
                        weakest = j
        # fewer than k are positive: some others, each once, with value 0
        spare = 0
        while kept < k:
            taken = False
            for i in range(kept):
                taken |= which[i] == spare
            if not taken:
                best[kept], which[kept] = 0, spare
                kept += 1
            spare += 1
        for i in range(k):
            values[t, i] = np.float32(0) if best[i] <= 0 else best[i]
        _combine(made[t], decoder, which, values[t], k)


@_compiled
def values_backward(
    first: int,
    last: int,
    grad: Array,
    encoder: Array,
    decoder: Array,
    indices: Array,
    values: Array,
    to_values: Array,
    to_z: Array,
) -> None:
    """Tokens `first` to `last`: gradients of the chosen values, and of z if `to_z` has rows."""
    k, zero = indices.shape[1], np.float32(0)
    for t in range(first, last):
        _dots(to_values[t], grad[t], decoder, indices[t], k)
        for i in range(k):
            to_values[t, i] = zero if values[t, i] <= 0 else to_values[t, i]
        if len(to_z):
            _combine(to_z[t], encoder, indices[t], to_values[t], k)


@_compiled
def sort(indices: Array, starts: Array, places: Array) -> None:
    """Counting sort: places[starts[f]:starts[f + 1]] are those of latent f in the flat `indices`.

    Args:
        indices: [tokens, k].
        starts: zeros [n_latents + 1].
        places: [tokens·k].
    """
    flat = indices.ravel()
    for f in flat:
        starts[f + 1] += 1
    for f in range(1, len(starts)):
        starts[f] += starts[f - 1]
    cursor = starts[:-1].copy()
    for place in range(len(flat)):
        f = flat[place]
        places[cursor[f]] = place
        cursor[f] += 1


@_compiled
def multiply(
    first: int,
    last: int,
    starts: Array,
    places: Array,
    grad: Array,
    z: Array,
    values: Array,
    to_values: Array,
    to_encoder: Array,
    to_bias: Array,
    to_decoder: Array,
) -> None:
    """Latents `first` to `last`: gradients of both rows and of the bias; see ``sort``."""
    n = len(values)
    tokens, into, out = np.empty(n, np.int64), np.empty(n, np.float32), np.empty(n, np.float32)
    for f in range(first, last):
        count = _gather(places[starts[f] : starts[f + 1]], values, to_values, tokens, into, out)
        _combine(to_encoder[f], z, tokens, into, count)
        _combine(to_decoder[f], grad, tokens, out, count)
        to_bias[f] = into[:count].sum()


@_compiled
def adam(
    first: int,
    last: int,
    starts: Array,
    places: Array,
    grad: Array,
    z: Array,
    values: Array,
    to_values: Array,
    numbers: Array,
    unit_norm: bool,
    encoder: Array,
    encoder_mean: Array,
    encoder_square: Array,
    more_encoder: Array,
    bias: Array,
    bias_mean: Array,
    bias_square: Array,
    more_bias: Array,
    decoder: Array,
    decoder_mean: Array,
    decoder_square: Array,
    more_decoder: Array,
) -> None:
    """Latents `first` to `last`: see ``kernels.adam``."""
    n, one = len(values), np.float32(1)
    tokens, into, out = np.empty(n, np.int64), np.empty(n, np.float32), np.empty(n, np.float32)
    to_row = np.empty(encoder.shape[1], np.float32)
    to_bias = np.empty(1, np.float32)
    to_out = np.empty(decoder.shape[1], np.float32)
    for f in range(first, last):
        count = _gather(places[starts[f] : starts[f + 1]], values, to_values, tokens, into, out)
        _combine(to_row, z, tokens, into, count)
        if len(more_encoder):
            to_row += more_encoder[f]
        _move(encoder[f], encoder_mean[f], encoder_square[f], to_row, numbers)
        to_bias[0] = into[:count].sum()
        if len(more_bias):
            to_bias[0] += more_bias[f]
        _move(bias[f : f + 1], bias_mean[f : f + 1], bias_square[f : f + 1], to_bias, numbers)
        _combine(to_out, grad, tokens, out, count)
        if len(more_decoder):
            to_out += more_decoder[f]
        w = decoder[f]
        if unit_norm:
            along = np.float32(0)
            for d in range(len(w)):
                along += to_out[d] * w[d]
            for d in range(len(w)):
                to_out[d] -= along * w[d]
        _move(w, decoder_mean[f], decoder_square[f], to_out, numbers)
        if unit_norm:
            size = np.float32(0)
            for d in range(len(w)):
                size += w[d] * w[d]
            size = one / max(np.sqrt(size), np.float32(1e-12))
            for d in range(len(w)):
                w[d] *= size
