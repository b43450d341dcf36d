"""neuroglass: the glass box for language models, in a notebook cell.

The public face. Everything is re-exported lazily, so that ``import neuroglass`` and a static
``TokenHeatmap`` cost no import of torch, transformers or plotly.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version as _version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from neuroglass.model.basis import Directions, Feature, Head, NeuronBasis
    from neuroglass.model.directions import LogitEffect
    from neuroglass.model.edits import Ablate, Add, Clamp, Edit, Scale
    from neuroglass.model.errors import (
        InputError,
        MissingExtraError,
        ModelLoadError,
        NeuroglassError,
    )
    from neuroglass.model.generate import Generation
    from neuroglass.model.gradients import Gradients, Logit, LogitDifference
    from neuroglass.model.live import LiveModel
    from neuroglass.model.load import UnlistedArchitectureWarning, load
    from neuroglass.model.run import Run
    from neuroglass.model.sites import Site
    from neuroglass.model.worker import Cancelled, Priority
    from neuroglass.model.zoo import zoo_texts
    from neuroglass.views.export import export_notebook
    from neuroglass.views.heatmap import TokenHeatmap
    from neuroglass.views.link import link
    from neuroglass.views.live_heatmap import LiveTokenHeatmap, heatmap

__version__ = _version("neuroglass")

# name -> the module that defines it
_WHERE = {
    "Ablate": "model.edits",
    "Add": "model.edits",
    "Cancelled": "model.worker",
    "Clamp": "model.edits",
    "Directions": "model.basis",
    "Edit": "model.edits",
    "Feature": "model.basis",
    "Generation": "model.generate",
    "Gradients": "model.gradients",
    "Head": "model.basis",
    "InputError": "model.errors",
    "LiveModel": "model.live",
    "LiveTokenHeatmap": "views.live_heatmap",
    "Logit": "model.gradients",
    "LogitDifference": "model.gradients",
    "LogitEffect": "model.directions",
    "MissingExtraError": "model.errors",
    "ModelLoadError": "model.errors",
    "NeuroglassError": "model.errors",
    "NeuronBasis": "model.basis",
    "Priority": "model.worker",
    "Run": "model.run",
    "Scale": "model.edits",
    "Site": "model.sites",
    "TokenHeatmap": "views.heatmap",
    "UnlistedArchitectureWarning": "model.load",
    "export_notebook": "views.export",
    "heatmap": "views.live_heatmap",
    "link": "views.link",
    "load": "model.load",
    "zoo_texts": "model.zoo",
}

__all__ = [
    "Ablate",
    "Add",
    "Cancelled",
    "Clamp",
    "Directions",
    "Edit",
    "Feature",
    "Generation",
    "Gradients",
    "Head",
    "InputError",
    "LiveModel",
    "LiveTokenHeatmap",
    "Logit",
    "LogitDifference",
    "LogitEffect",
    "MissingExtraError",
    "ModelLoadError",
    "NeuroglassError",
    "NeuronBasis",
    "Priority",
    "Run",
    "Scale",
    "Site",
    "TokenHeatmap",
    "UnlistedArchitectureWarning",
    "export_notebook",
    "heatmap",
    "link",
    "load",
    "zoo_texts",
]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'neuroglass' has no attribute {name!r}")
    value = getattr(import_module(f"neuroglass.{_WHERE[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_WHERE])
