"""What any simulator answers, held to its protocol: one finite value for each token, or a reason.

A simulator and windows flow in; one result for each window flows out, in order. What does not fit
is a failure with its reason, never a shorter list or a zero.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from neuroglass.explanation.records import Simulated, Simulator, Window

Told = Callable[[int, int], None]


@dataclass(frozen=True)
class Checked:
    """A simulator whose answers are checked.

    Args:
        simulator: any.
        told: called with how many windows are done, of how many, after each part; what it raises
            ends the simulation.
        at_once: windows of a part.
    """

    simulator: Simulator
    told: Told | None = field(default=None, compare=False)
    at_once: int = 4

    @property
    def name(self) -> str:
        return self.simulator.name

    def simulate(self, text: str, windows: Sequence[Window]) -> list[Simulated]:
        """See ``Simulator``."""
        if self.told is None:
            return self._part(text, windows)
        found: list[Simulated] = []
        for at in range(0, len(windows), self.at_once):
            self.told(at, len(windows))
            found += self._part(text, windows[at : at + self.at_once])
        self.told(len(windows), len(windows))
        return found

    def _part(self, text: str, windows: Sequence[Window]) -> list[Simulated]:
        said = list(self.simulator.simulate(text, windows))
        answers = [*said[: len(windows)], *[None] * (len(windows) - len(said))]
        return [_checked(w, s) for w, s in zip(windows, answers, strict=True)]


def _checked(window: Window, said: Simulated | None) -> Simulated:
    if said is None:
        return Simulated(window, None, "the simulator returned no answer for this window")
    if said.values is None:
        return Simulated(window, None, said.failure or "the simulator gave no reason")
    values = np.asarray(said.values, np.float64)
    if values.shape != (len(window),):
        n = values.shape[0] if values.ndim == 1 else values.shape
        return Simulated(
            window, None, f"the simulator returned {n} values for {len(window)} tokens"
        )
    if not np.isfinite(values).all():
        return Simulated(window, None, "the simulator returned values that are no numbers")
    return Simulated(window, values)
