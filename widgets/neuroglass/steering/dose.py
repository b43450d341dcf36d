"""Dose–response: one setting at many strengths, and where the text breaks.

All strengths are written in one batch with common random numbers; then the untouched model reads
every text once, which gives perplexity and the feature's activation. What comes out is a table, a
figure, and the knee: the strongest setting up to which the text is still fluent.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Generator, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from neuroglass.model.basis import Feature, Head
from neuroglass.model.edits import bind
from neuroglass.model.errors import InputError
from neuroglass.model.generate import fits, settings_of, whole_number, write
from neuroglass.model.positions import Extent
from neuroglass.model.sites import PER_HEAD
from neuroglass.model.worker import Job, Priority
from neuroglass.steering import readouts
from neuroglass.steering.prompted import Prompted
from neuroglass.steering.setting import Setting
from neuroglass.steering.strength import UNITS, Calibration, Scales, id_of

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

    from neuroglass.model.live import LiveModel
    from neuroglass.model.prompts import Prompt

_ROWS = 32  # texts written together
_READ = 8  # texts read together: all logits are needed at once
WORSE = 2.0  # times the perplexity of the unsteered texts
LESS = 0.5  # times their distinct-2


@dataclass(frozen=True)
class Dosed:
    """One text.

    Attributes:
        value: the strength; None: not steered.
        sample: which stream of the seed.
        ids: what was written.
        text: the same as text, "" without a tokenizer.
        surprisal: mean of -log p of its tokens under the untouched model, nats.
        distinct: distinct-2 (``readouts.distinct``).
        concept: the feature's mean activation as the untouched model reads the text, or what the
            user's own function gave.
    """

    value: float | None
    sample: int
    ids: list[int] = field(repr=False)
    text: str
    surprisal: float
    distinct: float
    concept: float


@dataclass(frozen=True)
class DoseResponse:
    """What a setting does at many strengths.

    A strength is *fluent* if the median surprisal of its texts is at most log 2 above that of the
    unsteered ones (perplexity at most twice theirs) and their median distinct-2 at least half of
    the unsteered ones'. Loops have a low perplexity, so both are needed.

    Attributes:
        setting: what was done, its value aside.
        texts: every text, unsteered ones first.
        concept: what the concept measure is.
    """

    setting: Setting
    texts: Sequence[Dosed] = field(repr=False)
    concept: str

    @property
    def values(self) -> list[float]:
        """The strengths, ascending."""
        return sorted({t.value for t in self.texts if t.value is not None})

    def _median(self, what: str, value: float | None) -> float:
        found = [getattr(t, what) for t in self.texts if t.value == value]
        found = [x for x in found if not math.isnan(x)]
        return statistics.median(found) if found else math.nan

    def fluent(self, value: float) -> bool:
        """Whether texts at a strength are fluent: see the class."""
        surprisal = self._median("surprisal", value) - self._median("surprisal", None)
        share = self._median("distinct", value) / self._median("distinct", None)
        return surprisal <= math.log(WORSE) and not share < LESS

    def knee(self, *, negative: bool = False) -> float | None:
        """The strongest value up to which all weaker ones on its side are fluent, too.

        Sides are above and below the value that changes nothing: 0, or 1 for ``scale`` and
        ``orthogonal``. For ``cap`` there is one side, and smaller is stronger. None: already the
        weakest one is not fluent, or the side has none.
        """
        neutral = 1.0 if self.setting.mode in {"scale", "orthogonal"} else 0.0
        if self.setting.mode == "cap":
            side = sorted(self.values, reverse=True)
        elif negative:
            side = sorted((v for v in self.values if v < neutral), reverse=True)
        else:
            side = sorted(v for v in self.values if v > neutral)
        knee = None
        for value in side:
            if not self.fluent(value):
                break
            knee = value
        return knee

    def to_frame(self) -> pd.DataFrame:
        """One row per text: value (NaN: not steered), sample, perplexity, distinct_2, concept,
        fluent (of its strength), text.
        """
        import pandas as pd

        return pd.DataFrame(
            {
                "value": [math.nan if t.value is None else t.value for t in self.texts],
                "sample": [t.sample for t in self.texts],
                "perplexity": [math.exp(t.surprisal) for t in self.texts],
                "distinct_2": [t.distinct for t in self.texts],
                "concept": [t.concept for t in self.texts],
                "fluent": [t.value is None or self.fluent(t.value) for t in self.texts],
                "text": [t.text for t in self.texts],
            }
        )

    def plot(self) -> go.Figure:
        """Medians over the strength: concept above; perplexity and distinct-2 below; knees as
        lines, the unsteered texts dotted.
        """
        from plotly.subplots import make_subplots

        specs = [[{}], [{"secondary_y": True}]]
        figure = make_subplots(rows=2, cols=1, shared_xaxes=True, specs=specs)
        x = self.values
        lines: list[tuple[str, str, Callable[[float], float], int, bool]] = [
            (self.concept, "concept", float, 1, False),
            ("perplexity under the untouched model", "surprisal", math.exp, 2, False),
            ("distinct-2", "distinct", float, 2, True),
        ]
        colours = ("#0072b2", "#d55e00", "#009e73")
        for (name, what, show, row, second), colour in zip(lines, colours, strict=True):
            where: dict[str, Any] = {"row": row, "col": 1}
            if row == 2:
                where["secondary_y"] = second
            y = [show(self._median(what, v)) for v in x]
            figure.add_scatter(
                x=x, y=y, name=name, mode="lines+markers", line_color=colour, **where
            )
            base = show(self._median(what, None))
            figure.add_scatter(
                x=[x[0], x[-1]],
                y=[base, base],
                name=f"{name}, not steered",
                mode="lines",
                line={"color": colour, "dash": "dot", "width": 1},
                **where,
            )
        for knee in {self.knee(), self.knee(negative=True)} - {None}:
            figure.add_vline(x=knee, line_dash="dash", annotation_text="knee")
        unit = UNITS[self.setting.unit] if self.setting.mode not in {"scale", "orthogonal"} else "×"
        title = f"{self.setting.mode} {id_of(self.setting.feature)}, {unit}"
        figure.update_xaxes(title_text=title, row=2, col=1)
        figure.update_yaxes(title_text=self.concept, row=1, col=1)
        below = {"row": 2, "col": 1}
        figure.update_yaxes(title_text="perplexity", type="log", secondary_y=False, **below)
        figure.update_yaxes(title_text="distinct-2", range=[0, 1.05], secondary_y=True, **below)
        figure.update_layout(template="plotly_white", legend={"orientation": "h", "y": -0.2})
        return figure


class Sweep(Prompted):
    """A prompt on which settings are swept; see ``dose_response`` for the arguments.

    Raises:
        InputError: see ``Session``.
    """

    def __init__(
        self,
        model: LiveModel,
        prompt: Prompt,
        *,
        n: int = 3,
        max_new_tokens: int = 40,
        temperature: float = 0.8,
        top_p: float = 1.0,
        seed: int = 0,
        stop: str | Sequence[str] = (),
        scales: Calibration | Mapping[str, Scales] | None = None,
        prepend_bos: bool | None = None,
    ) -> None:
        super().__init__(model, prompt, scales=scales, prepend_bos=prepend_bos)
        whole_number("n", n, 1)
        whole_number("seed", seed, 0)
        self.n = n
        self.settings = settings_of(max_new_tokens, temperature, top_p, seed, stop)
        fits(model, [self.prompt], max_new_tokens)

    def start(
        self,
        setting: Setting,
        values: Sequence[float],
        *,
        concept: Feature | Callable[[str], float] | None = None,
        progress: Callable[[int, int], None] | None = None,
        key: Hashable = None,
        priority: Priority = Priority.GENERATION,
    ) -> Job[DoseResponse]:
        """Sweep in the background: ``result()``, ``cancel()``; as ``dose_response`` for the rest.

        Raises:
            InputError: no strengths, one that is refused, a head.
        """
        if isinstance(setting.feature, Head) or setting.mode == "ablate":
            raise InputError(
                "A sweep needs a feature and a mode with a strength.",
                "For a head, compare two runs: mode 'scale' has no unit there.",
            )
        if not len(values):
            raise InputError("There are no strengths to sweep.", "Such as values=[0, 1, 2, 4].")
        self._learn([setting])
        known = self.scales.get(id_of(setting.feature))
        for value in values:
            setting.with_value(value).amount(known)
        measured = setting.feature if concept is None else concept
        if isinstance(measured, Feature):
            self.model.owns(measured.model, repr(measured))
        else:
            self.model.prompts.need_tokenizer()
        doses: list[float | None] = [None, *dict.fromkeys(float(v) for v in values)]
        plan = [(dose, sample) for dose in doses for sample in range(self.n)]
        total = len(plan) * self.settings.max_new_tokens
        shared = self.model.current_edits()

        def steps(job: Job[DoseResponse]) -> Generator[None, None, DoseResponse]:
            texts: list[Dosed] = []
            for first in range(0, len(plan), _ROWS):
                part = plan[first : first + _ROWS]
                done = first * self.settings.max_new_tokens

                def tell(tokens: int, part: Any = part, done: int = done) -> None:
                    if progress is not None:
                        progress(min(total, done + tokens * len(part)), total)

                ids = yield from self._write(part, setting, known, shared, job, tell)
                for at in range(0, len(part), _READ):
                    few = slice(at, at + _READ)
                    texts += yield from self._judge(part[few], ids[few], measured, job)
                tell(self.settings.max_new_tokens)
            name = f"mean activation of {measured.id}" if isinstance(measured, Feature) else ""
            return DoseResponse(setting, texts, name or getattr(measured, "__name__", "concept"))

        return self.model.work(
            steps, priority=priority, key=("dose", id(self)) if key is None else key
        )

    def _write(
        self,
        plan: Sequence[tuple[float | None, int]],
        setting: Setting,
        known: Scales | None,
        shared: Sequence[Any],
        job: Job[Any],
        tell: Callable[[int], None],
    ) -> Generator[None, None, list[list[int]]]:
        """A text for each (strength, sample)."""
        model, size = self.model, len(self.prompt)
        limit = size + self.settings.max_new_tokens
        steered = [row for row, (dose, _) in enumerate(plan) if dose is not None]
        edits = []
        if steered:
            values = [setting.value if dose is None else dose for dose, _ in plan]
            idle = values[steered[0]]
            values = [idle if dose is None else dose for dose, _ in plan]
            edits = setting.edits(known, rows=steered, values=values)
        bound = bind([*shared, *edits], model, Extent([size] * len(plan), [limit] * len(plan)))
        out: list[list[int]] = [[] for _ in plan]
        for written in write(
            model,
            [self.prompt] * len(plan),
            self.settings,
            bound,
            (),
            job,
            streams=[sample for _, sample in plan],
        ):
            for row, token in zip(out, written.step.tokens.tolist(), strict=True):
                if token >= 0:
                    row.append(token)
            tell(written.step.index + 1)
            yield
        return out

    def _judge(
        self,
        plan: Sequence[tuple[float | None, int]],
        ids: Sequence[list[int]],
        measured: Feature | Callable[[str], float],
        job: Job[Any],
    ) -> Generator[None, None, list[Dosed]]:
        """Read all texts with the untouched model."""
        model, size = self.model, len(self.prompt)
        sites = [measured.read_site] if isinstance(measured, Feature) else []
        run = yield from model.steps([self.prompt + row for row in ids], sites, job)
        values = None
        if isinstance(measured, Feature):
            x = run[measured.read_site]
            values = measured.activations(x.flatten(2) if sites[0].name in PER_HEAD else x).float()
        tokenizer = model.tokenizer
        out = []
        for i, ((dose, sample), row) in enumerate(zip(plan, ids, strict=True)):
            span = slice(size, size + len(row))
            text = "" if tokenizer is None else str(tokenizer.decode(row, skip_special_tokens=True))
            if values is not None:
                concept = float(values[i, span].mean())
            else:
                assert not isinstance(measured, Feature)
                concept = float(measured(text))
            surprisal = -float(run.logprobs[i, span].mean())
            distinct = readouts.distinct(row, 2)
            out.append(Dosed(dose, sample, row, text, surprisal, distinct, concept))
        return out


def dose_response(
    model: LiveModel,
    prompt: Prompt,
    setting: Setting,
    values: Sequence[float],
    *,
    concept: Feature | Callable[[str], float] | None = None,
    progress: Callable[[int, int], None] | None = None,
    **options: Any,
) -> DoseResponse:
    """One setting at many strengths on one prompt.

    Args:
        model: the live model.
        prompt: text, token ids or chat messages.
        setting: what is done; its own value does not matter.
        values: strengths in the setting's unit. The unsteered text is always there besides.
        concept: how much of the concept is in a text: a feature (its mean activation as the
            untouched model reads the text; None: the setting's own) or a function of the text.
        progress: called with (tokens written, tokens to write at most) on the model's thread.
        options: n (samples per strength, 3), max_new_tokens (40), temperature (0.8), top_p, seed,
            stop, scales, prepend_bos.

    Raises:
        InputError: see ``Sweep`` and ``Sweep.start``.
    """
    return (
        Sweep(model, prompt, **options)
        .start(setting, values, concept=concept, progress=progress)
        .result()
    )
