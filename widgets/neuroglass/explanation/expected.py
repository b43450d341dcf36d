"""Simulation by expected value: what number would a local language model write at each token?

The all-at-once method of *Language models can explain neurons in language models* (Bills et al.
2023), which no public server offers any more: the prompt lists the text one token a line, each
line ends in the word "unknown", and just before that word the model's distribution over digits is
read. One pass gives every token's expected value.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from neuroglass.explanation import reading
from neuroglass.explanation.plain import one_line, plain_ids, quantised, shown
from neuroglass.explanation.records import Simulated, Window
from neuroglass.explanation.shots import SHOTS
from neuroglass.model.errors import InputError
from neuroglass.model.worker import Job, Priority

if TYPE_CHECKING:
    from neuroglass.model.live import LiveModel

_INTRO = """\
A detector reads a text token by token and answers each with a number from 0 to {top}: 0 where it \
finds nothing, {top} where it is sure. Below are several detectors. For each, first what it looks \
for, then a text, one token a line, with the detector's number after it.
"""
_DETECTOR = "\nDetector {number}\nIt looks for: "
_TEXT = "\nText:\n"
_UNKNOWN = "unknown"
# In worked examples so many tokens are unknown before the numbers begin: here and there, so that
# a number after many unknowns surprises nobody.
_REVEALED = (0, 7, 3, 9, 1, 5)


@dataclass(frozen=True)
class Digits:
    """The numbers that a tokenizer writes as one token.

    Attributes:
        ids: of 0, 1, 2, …, 9, and of 10 where that is one token.
    """

    ids: tuple[int, ...]

    @property
    def top(self) -> int:
        """The largest: 9 or 10."""
        return len(self.ids) - 1


def digits_of(model: LiveModel) -> Digits:
    """The numbers of a model's tokenizer as they stand after a tab.

    Raises:
        InputError: no tokenizer, or a digit is no single token.
    """
    tokenizer = model.prompts.need_tokenizer()
    found = []
    for number in range(11):
        ids = _after(tokenizer, str(number))
        if len(ids) == 1:
            found.append(ids[0])
        elif number < 10:
            raise InputError(
                f"{model.name} writes {number} in {len(ids)} tokens, so that it has no "
                "distribution over digits.",
                "Simulate with another model.",
            )
    return Digits(tuple(found))


def _after(tokenizer: Any, text: str) -> list[int]:
    """Ids of a text that follows a line's end: some tokenizers lead a text with a space."""
    lead, both = plain_ids(tokenizer, "\n"), plain_ids(tokenizer, "\n" + text)
    return both[len(lead) :] if both[: len(lead)] == lead else plain_ids(tokenizer, text)


class ExpectedValue:
    """A simulator: E = Σ d·p(d) / Σ p(d) at each token, over the digits of a local language model.

    Digits are 0–9, and 10 only where that is one token: else p(1) would take up what belongs to 10.
    What each digit's line is made of is encoded piece by piece, so that where a token's number is
    read is known and not searched for. Where digits have no probability to speak of, the window is
    a failure and not a zero. The beginning of the prompt is read once and kept.

    Args:
        model: any live model with a tokenizer; edits of ``model.edit`` blocks do not touch it.
        least_mass: a token whose digits together are less likely than this fails its window.
        chunk: longer windows are simulated in parts of so many tokens, each as a text of its own.
        rows: windows in one pass at most.

    Attributes:
        digits: what numbers the model can write.

    Raises:
        InputError: no tokenizer, digits that are no tokens, a context too short for any prompt.
    """

    def __init__(
        self,
        model: LiveModel,
        *,
        least_mass: float = 1e-5,
        chunk: int = 64,
        rows: int = 4,
    ) -> None:
        if not 0 < least_mass < 1 or chunk < 1 or rows < 1:
            raise InputError("least_mass is between 0 and 1; chunk and rows are 1 or more.")
        self.model, self.least_mass, self.chunk, self.rows = model, least_mass, chunk, rows
        self.digits = digits_of(model)
        tokenizer = model.prompts.need_tokenizer()
        self._tab = _after(tokenizer, "\t")
        self._end = [*_after(tokenizer, _UNKNOWN), *plain_ids(tokenizer, "\n")]
        self._beginning = self._begun()
        self._kept: Any = None

    @property
    def name(self) -> str:
        return f"expected value over {self.model.name}"

    def __repr__(self) -> str:
        return f"ExpectedValue({self.model.name}, 0–{self.digits.top})"

    def simulate(self, text: str, windows: Sequence[Window]) -> list[Simulated]:
        """Expected values, 0…``digits.top``, one result for each window.

        Raises:
            InputError: the explanation is empty or too long for the model's context.
            Cancelled: the model was closed, or an interrupt.
        """
        claim = self._claim(text)
        parts: list[_Part] = []
        for index, window in enumerate(windows):
            parts += [
                self._part(index, at, window.pieces[at : at + self.chunk])
                for at in range(0, len(window.pieces), self.chunk)
            ]
        room = self.model.context - len(self._beginning) - len(claim)
        fitting = sorted(
            (p for p in parts if len(p.ids) <= room), key=lambda p: (len(p.ids), p.window, p.start)
        )

        def job(job: Job[None]) -> Generator[None, None, None]:
            for at in range(0, len(fitting), self.rows):
                yield from self._run(claim, fitting[at : at + self.rows], job)

        if fitting:
            self.model.work(job, priority=Priority.BACKGROUND).result()
        return [
            self._joined(window, [p for p in parts if p.window == index])
            for index, window in enumerate(windows)
        ]

    # -- prompts -----------------------------------------------------------------------------

    def prompt(self, text: str, pieces: Sequence[str]) -> tuple[list[int], list[int]]:
        """The whole prompt for one text, and where each token's number is read.

        Returns:
            Ids, and for each piece the position whose next-token distribution is its own.
        """
        part = self._part(0, 0, pieces)
        before = [*self._beginning, *self._claim(text)]
        return [*before, *part.ids], [len(before) + p for p in part.places]

    def _claim(self, text: str) -> list[int]:
        tokenizer = self.model.prompts.need_tokenizer()
        # from a line's end on, to be the same ids whatever the explanation is
        return [*_after(tokenizer, " " + one_line(text)), *plain_ids(tokenizer, _TEXT)]

    def _begun(self) -> list[int]:
        tokenizer = self.model.prompts.need_tokenizer()
        lead = self.model.prompts.lead()
        top = self.digits.top
        # fewer worked examples where the context is short
        for shots in (SHOTS, SHOTS[:2], SHOTS[:1]):
            ids = [*lead, *plain_ids(tokenizer, _INTRO.format(top=top))]
            for number, shot in enumerate(shots, 1):
                ids += plain_ids(tokenizer, _DETECTOR.format(number=number).rstrip())
                ids += self._claim(shot.explanation)
                for which, (pieces, values) in enumerate(shot.texts()[:2]):
                    revealed = _REVEALED[(2 * number + which) % len(_REVEALED)]
                    numbers = quantised(np.asarray(values, np.float64), 10, top)
                    for i, (piece, n) in enumerate(zip(pieces, numbers, strict=True)):
                        ids += [*_after(tokenizer, shown(piece)), *self._tab]
                        ids += self._end if i < revealed else [self.digits.ids[n], *self._end[-1:]]
            ids += plain_ids(tokenizer, _DETECTOR.format(number=len(shots) + 1).rstrip())
            if len(ids) + 100 < self.model.context:
                return ids
        raise InputError(
            f"{self.model.name} reads {self.model.context} tokens: "
            f"the shortest prompt of a simulation has {len(ids)}.",
            "Simulate with a model of a longer context.",
        )

    def _part(self, window: int, start: int, pieces: Sequence[str]) -> _Part:
        tokenizer = self.model.prompts.need_tokenizer()
        ids: list[int] = []
        places: list[int] = []
        for piece in pieces:
            ids += [*_after(tokenizer, shown(piece)), *self._tab]
            places.append(len(ids) - 1)
            ids += self._end
        # nothing is read after the last number's place
        return _Part(window, start, ids[: places[-1] + 1] if places else [], places)

    # -- passes ------------------------------------------------------------------------------

    def _run(
        self, claim: list[int], parts: list[_Part], job: Job[Any]
    ) -> Generator[None, None, None]:
        if self._kept is None:
            empty = reading.opened(self.model)
            _, self._kept = yield from reading.read(self.model, [self._beginning], empty, job)
        cache = self._kept
        if len(parts) > 1:
            cache = deepcopy(cache)
            cache.batch_repeat_interleave(len(parts))
        rows = [[*claim, *p.ids] for p in parts]
        where = [(i, len(claim) + c) for i, p in enumerate(parts) for c in p.places]
        at = [r for r, _ in where], [c for _, c in where]
        kept, _ = yield from reading.read(
            self.model, rows, cache, job, at=at, keep=self._over_digits
        )
        done = 0
        for part in parts:
            mine = kept[done : done + len(part.places)]
            done += len(part.places)
            part.expected, part.mass = mine[:, 0].numpy(), mine[:, 1].numpy()

    def _over_digits(self, logits: torch.Tensor) -> torch.Tensor:
        """[places, vocabulary] -> expected digit and probability of any, float64 [places, 2]."""
        logits = logits.double()
        digits = logits[:, list(self.digits.ids)]
        numbers = torch.arange(len(self.digits.ids), dtype=torch.float64, device=logits.device)
        expected = digits.softmax(-1) @ numbers
        mass = (digits.logsumexp(-1) - logits.logsumexp(-1)).exp()
        return torch.stack([expected, mass], 1).cpu()

    def _joined(self, window: Window, parts: Sequence[_Part]) -> Simulated:
        if not parts:
            return Simulated(window, None, "the window has no tokens")
        if any(p.mass is None for p in parts):
            longest = max(len(p.ids) for p in parts)
            return Simulated(
                window,
                None,
                f"its prompt ends with {longest} tokens, more than fit into the "
                f"{self.model.context} that {self.model.name} reads",
            )
        expected = np.concatenate([p.expected for p in parts if p.expected is not None])
        mass = np.concatenate([p.mass for p in parts if p.mass is not None])
        # a NaN is not enough either
        poor = int((~(mass >= self.least_mass)).sum())
        if poor:
            return Simulated(
                window,
                None,
                f"at {poor} of {len(mass)} tokens {self.model.name} expects no digit "
                f"(probability below {self.least_mass:g})",
            )
        return Simulated(window, np.asarray(expected, np.float64))


@dataclass
class _Part:
    """A window, or a part of a long one, as the end of a prompt."""

    window: int
    start: int
    ids: list[int]
    places: list[int]
    expected: Any = None
    mass: Any = None
