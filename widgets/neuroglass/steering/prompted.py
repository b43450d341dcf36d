"""What works on one prompt again and again: its one pass, and what is known of the features."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from neuroglass.model.basis import Feature
from neuroglass.model.errors import InputError
from neuroglass.model.worker import Job, Preempted
from neuroglass.steering import readouts
from neuroglass.steering.resume import Prefix
from neuroglass.steering.setting import Setting
from neuroglass.steering.strength import Calibration, Scales, id_of, scales

if TYPE_CHECKING:
    from neuroglass.model.live import LiveModel
    from neuroglass.model.prompts import Prompt
    from neuroglass.steering.strength import Stored


class Prompted:
    """One prompt of a model.

    Args:
        model: the live model.
        prompt: one text, its token ids, or chat messages (through the chat template).
        scales: what is known of features: a ``Calibration``, or feature id -> ``Scales``.
        measure: features whose activations are read; None: those that are steered.
        prepend_bos: as in ``LiveModel.run``.

    Attributes:
        prompt: its token ids, the chat template's own included.
        scales: feature id -> what is known of it.

    Raises:
        InputError: an empty prompt or several.
    """

    def __init__(
        self,
        model: LiveModel,
        prompt: Prompt,
        *,
        scales: Calibration | Mapping[str, Scales] | None = None,
        measure: Sequence[Feature] | None = None,
        prepend_bos: bool | None = None,
    ) -> None:
        rows = model.prompts.rows(prompt, prepend_bos=prepend_bos)
        if len(rows) != 1:
            raise InputError(f"One prompt is steered, not {len(rows)}.", "Give one; n= samples.")
        self.model = model
        self.prompt = rows[0]
        self.scales: dict[str, Scales] = dict(
            scales.scales if isinstance(scales, Calibration) else scales or {}
        )
        for feature in measure or ():
            model.owns(feature.model, repr(feature))
        self._measure = measure
        self._prefix: Prefix | None = None

    @property
    def pieces(self) -> tuple[list[str], list[int]]:
        """Display pieces and kinds of the prompt: a chat template's own tokens are seen."""
        return self.model.pieces.many(self.prompt)

    def know(self, feature: Feature, stored: Stored, source: str = "store") -> Scales:
        """Take a feature's max and standard deviation from a store."""
        old = self.scales.get(feature.id)
        norm = None if old is None else old.norm
        found = replace(scales(feature, stored, source=source), norm=norm)
        self.scales[feature.id] = found
        return found

    def known(self, feature: Feature) -> Scales:
        """What is known of a feature; ‖h‖ is measured on the prompt if it is not known yet."""
        found = self.scales.get(feature.id) or scales(feature)
        if found.norm is None:
            site = feature.write_site
            run = self.model.run([self.prompt], sites=[site], logits=False)
            norm = readouts.norm_at(site, run[site], run.mask & ~run.masks["massive"])
            source = f"{found.source}; " if found.source else ""
            found = replace(found, norm=norm, source=f"{source}‖h‖ on the prompt")
            self.scales[feature.id] = found
        return found

    def features(self, settings: Sequence[Setting]) -> list[Feature]:
        """Those whose activations are read."""
        if self._measure is not None:
            return list(self._measure)
        found = {id_of(s.feature): s.feature for s in settings}
        return [f for f in found.values() if isinstance(f, Feature)]

    def _learn(self, settings: Sequence[Setting]) -> None:
        for one in settings:
            if isinstance(one, Setting) and isinstance(one.feature, Feature):
                self.model.owns(one.feature.model, id_of(one.feature))
                self.known(one.feature)

    def read(self, job: Job[Any]) -> Generator[None, None, Prefix]:
        """The untouched pass of the prompt, made once; steps of a job."""
        while self._prefix is None:
            try:
                self._prefix = Prefix(self.model, self.prompt, lambda: job.check(preempt=True))
            except Preempted:
                yield
        return self._prefix
