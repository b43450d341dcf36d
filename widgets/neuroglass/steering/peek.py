"""Peek: what comes next after a prompt, as settings change, without writing a text.

The prompt is read once; each set of settings then costs the layers from the first edited one on.
"""

from __future__ import annotations

from collections.abc import Generator, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from neuroglass.model.edits import bind
from neuroglass.model.positions import Extent
from neuroglass.model.worker import Job, Preempted, Priority
from neuroglass.steering import readouts
from neuroglass.steering.prompted import Prompted
from neuroglass.steering.readouts import Meters
from neuroglass.steering.resume import Prefix
from neuroglass.steering.setting import Setting, edits_of

if TYPE_CHECKING:
    import pandas as pd

    from neuroglass.model.edits import Edit
    from neuroglass.model.live import LiveModel


@dataclass(frozen=True)
class Next:
    """The next token, without and with the settings.

    Attributes:
        base, steered: log-probabilities in nats, float32 [vocabulary].
        kl: KL(base‖steered), nats.
        change: site -> ‖Δ‖/‖h‖ at the prompt's last token.
        activations: feature id -> its value there before the edits.
        resumed: True if the pass began at the edited layer, False if all layers were run.
    """

    model: LiveModel = field(repr=False)
    base: torch.Tensor = field(repr=False)
    steered: torch.Tensor = field(repr=False)
    kl: float
    change: Mapping[str, float]
    activations: Mapping[str, float]
    resumed: bool

    def top(self, k: int = 10) -> pd.DataFrame:
        """The `k` likeliest tokens of each of the two, likeliest steered ones first.

        Columns: token, id, base and steered probability, ``delta`` (nats of log-probability) and
        ranks, 1 the likeliest.
        """
        import pandas as pd

        k = min(k, len(self.base))
        both = torch.cat([self.steered.topk(k).indices, self.base.topk(k).indices])
        ids = torch.tensor(list(dict.fromkeys(both.tolist())))
        ids = ids[self.steered[ids].argsort(descending=True, stable=True)]
        return pd.DataFrame(
            {
                "token": self.model.pieces.many(ids.tolist())[0],
                "id": ids.tolist(),
                "base": self.base[ids].exp().tolist(),
                "steered": self.steered[ids].exp().tolist(),
                "delta": (self.steered[ids] - self.base[ids]).tolist(),
                "rank": readouts.ranks(self.steered.expand(len(ids), -1), ids).tolist(),
                "rank_in_base": readouts.ranks(self.base.expand(len(ids), -1), ids).tolist(),
            }
        )


class Peek(Prompted):
    """One prompt and what comes next after it: call it with settings.

    A resumed pass computes what a whole edited one does; they differ by rounding, at most 1e-4 of
    the largest logit in float32 (``resume.TOLERANCE``), which is checked when the prompt is read.
    """

    def __call__(self, settings: Sequence[Setting] = ()) -> Next:
        """The next token with these settings.

        Raises:
            InputError: see ``edits_of``; positions that the prompt does not have.
            Cancelled: a newer ``start`` took its place.
        """
        return self.start(settings).result()

    def start(
        self,
        settings: Sequence[Setting] = (),
        *,
        edits: Sequence[Edit] = (),
        key: Hashable = None,
        priority: Priority = Priority.INTERACTIVE,
    ) -> Job[Next]:
        """As calling it, without waiting. Of one key (None: this object's), the newest survives.

        `edits` belong to the model: they change the base too.
        """
        self._learn(settings)
        model, size = self.model, len(self.prompt)
        shared = [*model.current_edits(), *edits]
        extent = Extent([size], [size])
        before = bind(shared, model, extent)
        bound = bind([*shared, *edits_of(settings, model, self.scales)], model, extent)
        meters = Meters(bound[len(before) :], self.features(settings))

        def steps(job: Job[Next]) -> Generator[None, None, Next]:
            prefix: Prefix = yield from self.read(job)

            def check() -> None:
                job.check(preempt=True)

            while True:
                yield
                try:
                    base = prefix.last
                    if before:
                        base = prefix.run(before, check=check)[0]
                    # features of layers that are not run are what they were: read those as well
                    edits = [*before, *meters.bound]
                    last = prefix.run(edits, check=check)[0]
                    break
                except Preempted:
                    continue
            log_p, log_q = base[0].log_softmax(-1), last[0].log_softmax(-1)
            first = prefix.first_layer(edits)
            return Next(
                model,
                log_p,
                log_q,
                float(readouts.kl(log_p, log_q)),
                {site: float(v[0]) for site, v in meters.shares().items()},
                {name: float(v[0]) for name, v in meters.activations().items()},
                prefix.resumable and first is not None,
            )

        return model.work(steps, priority=priority, key=("peek", id(self)) if key is None else key)
