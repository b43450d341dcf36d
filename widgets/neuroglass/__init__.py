"""neuroglass: the glass box for language models, in a notebook cell.

The public face. Everything is re-exported lazily, so that ``import neuroglass`` and a static
``TokenHeatmap`` cost no import of torch, transformers or plotly.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version as _version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from neuroglass.model.errors import (
        InputError,
        MissingExtraError,
        ModelLoadError,
        NeuroglassError,
    )
    from neuroglass.model.live import LiveModel
    from neuroglass.model.load import load
    from neuroglass.model.run import Run
    from neuroglass.model.sites import Site
    from neuroglass.model.worker import Cancelled, Priority
    from neuroglass.views.export import export_notebook
    from neuroglass.views.heatmap import TokenHeatmap
    from neuroglass.views.link import link
    from neuroglass.views.live_heatmap import LiveTokenHeatmap, heatmap

__version__ = _version("neuroglass")

# name -> the module that defines it
_WHERE = {
    "Cancelled": "model.worker",
    "InputError": "model.errors",
    "LiveModel": "model.live",
    "LiveTokenHeatmap": "views.live_heatmap",
    "MissingExtraError": "model.errors",
    "ModelLoadError": "model.errors",
    "NeuroglassError": "model.errors",
    "Priority": "model.worker",
    "Run": "model.run",
    "Site": "model.sites",
    "TokenHeatmap": "views.heatmap",
    "export_notebook": "views.export",
    "heatmap": "views.live_heatmap",
    "link": "views.link",
    "load": "model.load",
}

__all__ = [
    "Cancelled",
    "InputError",
    "LiveModel",
    "LiveTokenHeatmap",
    "MissingExtraError",
    "ModelLoadError",
    "NeuroglassError",
    "Priority",
    "Run",
    "Site",
    "TokenHeatmap",
    "export_notebook",
    "heatmap",
    "link",
    "load",
]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'neuroglass' has no attribute {name!r}")
    value = getattr(import_module(f"neuroglass.{_WHERE[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_WHERE])
