"""neuroglass: the glass box for language models, in a notebook cell.

The public face. Everything is re-exported lazily, so that ``import neuroglass`` and a static
``TokenHeatmap`` cost no import of torch, transformers or plotly.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version as _version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from neuroglass.explanation.api import explain, score, simulate
    from neuroglass.explanation.chat import Budget
    from neuroglass.explanation.chat_explainers import ContrastExplainer, ListingExplainer
    from neuroglass.explanation.chat_json import ChatJSON
    from neuroglass.explanation.downstream import ablation_score, output_score
    from neuroglass.explanation.expected import ExpectedValue
    from neuroglass.explanation.explainers import PatternExplainer, TokenExplainer
    from neuroglass.explanation.judged import detection, fuzzing
    from neuroglass.explanation.judges import ChatJudge, SimulatorJudge
    from neuroglass.explanation.local_chat import LocalChat
    from neuroglass.explanation.openai_chat import OpenAIChat
    from neuroglass.explanation.patterns import PatternSimulator
    from neuroglass.explanation.records import Explanation, Score, Scores, Simulated, Split, Window
    from neuroglass.explanation.revision import Revision, revise
    from neuroglass.explanation.study import study
    from neuroglass.explanation.windows import split_of
    from neuroglass.features.exchange.reading import read_feature, read_features
    from neuroglass.features.exchange.records import FeatureRecord
    from neuroglass.features.harvest import harvest, merge_shards
    from neuroglass.features.sketch import Keep
    from neuroglass.features.store import Store, StoredFeature, open_store
    from neuroglass.model.basis import Directions, Feature, Head, NeuronBasis
    from neuroglass.model.directions import LogitEffect
    from neuroglass.model.edits import Ablate, Add, Cap, Clamp, Edit, Orthogonal, Scale
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
    from neuroglass.sae.activations import keep_activations
    from neuroglass.sae.dictionary import SAE, Transcoder
    from neuroglass.sae.latents import Latents
    from neuroglass.sae.recipes import BatchTopK, JumpReLU, TopK, TowardsMonosemanticity
    from neuroglass.sae.report import Report
    from neuroglass.sae.training import Training, TrainingStopped, train_sae
    from neuroglass.steering.contrast import Contrast, contrast
    from neuroglass.steering.dose import DoseResponse, Sweep, dose_response
    from neuroglass.steering.peek import Peek
    from neuroglass.steering.session import Session, Steered
    from neuroglass.steering.setting import Setting
    from neuroglass.steering.strength import Calibration, Scales, calibrate
    from neuroglass.views.beside import Beside, beside
    from neuroglass.views.blind_rating import BlindRating
    from neuroglass.views.browser import FeatureBrowser
    from neuroglass.views.dashboard import FeatureDashboard
    from neuroglass.views.export import export_notebook, save_html
    from neuroglass.views.feature_map import FeatureMap
    from neuroglass.views.head_dashboard import HeadDashboard
    from neuroglass.views.heatmap import TokenHeatmap
    from neuroglass.views.lab import ExplanationLab
    from neuroglass.views.link import Link, link
    from neuroglass.views.live_heatmap import LiveTokenHeatmap, heatmap
    from neuroglass.views.logit_lens import LogitLens
    from neuroglass.views.peek import LogitPeek
    from neuroglass.views.steer import Steer
    from neuroglass.views.watch import Watch

__version__ = _version("neuroglass")

# name -> the module that defines it
_WHERE = {
    "Ablate": "model.edits",
    "Add": "model.edits",
    "BatchTopK": "sae.recipes",
    "Beside": "views.beside",
    "BlindRating": "views.blind_rating",
    "split_of": "explanation.windows",
    "Cancelled": "model.worker",
    "Clamp": "model.edits",
    "Directions": "model.basis",
    "Edit": "model.edits",
    "explain": "explanation.api",
    "OpenAIChat": "explanation.openai_chat",
    "LocalChat": "explanation.local_chat",
    "Budget": "explanation.chat",
    "ListingExplainer": "explanation.chat_explainers",
    "ContrastExplainer": "explanation.chat_explainers",
    "ExpectedValue": "explanation.expected",
    "ChatJSON": "explanation.chat_json",
    "detection": "explanation.judged",
    "fuzzing": "explanation.judged",
    "ChatJudge": "explanation.judges",
    "SimulatorJudge": "explanation.judges",
    "ablation_score": "explanation.downstream",
    "output_score": "explanation.downstream",
    "Revision": "explanation.revision",
    "revise": "explanation.revision",
    "study": "explanation.study",
    "score": "explanation.api",
    "simulate": "explanation.api",
    "PatternExplainer": "explanation.explainers",
    "TokenExplainer": "explanation.explainers",
    "PatternSimulator": "explanation.patterns",
    "Explanation": "explanation.records",
    "Score": "explanation.records",
    "Scores": "explanation.records",
    "Simulated": "explanation.records",
    "Split": "explanation.records",
    "Window": "explanation.records",
    "ExplanationLab": "views.lab",
    "Feature": "model.basis",
    "FeatureDashboard": "views.dashboard",
    "FeatureMap": "views.feature_map",
    "Generation": "model.generate",
    "Gradients": "model.gradients",
    "Head": "model.basis",
    "HeadDashboard": "views.head_dashboard",
    "InputError": "model.errors",
    "JumpReLU": "sae.recipes",
    "Latents": "sae.latents",
    "Keep": "features.sketch",
    "LiveModel": "model.live",
    "LiveTokenHeatmap": "views.live_heatmap",
    "Logit": "model.gradients",
    "LogitDifference": "model.gradients",
    "LogitEffect": "model.directions",
    "LogitLens": "views.logit_lens",
    "LogitPeek": "views.peek",
    "MissingExtraError": "model.errors",
    "ModelLoadError": "model.errors",
    "NeuroglassError": "model.errors",
    "NeuronBasis": "model.basis",
    "Priority": "model.worker",
    "Report": "sae.report",
    "Run": "model.run",
    "SAE": "sae.dictionary",
    "Scale": "model.edits",
    "Site": "model.sites",
    "Store": "features.store",
    "StoredFeature": "features.store",
    "FeatureBrowser": "views.browser",
    "FeatureRecord": "features.exchange.records",
    "read_feature": "features.exchange.reading",
    "read_features": "features.exchange.reading",
    "TokenHeatmap": "views.heatmap",
    "TopK": "sae.recipes",
    "TowardsMonosemanticity": "sae.recipes",
    "Training": "sae.training",
    "TrainingStopped": "sae.training",
    "Transcoder": "sae.dictionary",
    "UnlistedArchitectureWarning": "model.load",
    "beside": "views.beside",
    "Watch": "views.watch",
    "export_notebook": "views.export",
    "harvest": "features.harvest",
    "heatmap": "views.live_heatmap",
    "keep_activations": "sae.activations",
    "Link": "views.link",
    "link": "views.link",
    "load": "model.load",
    "merge_shards": "features.harvest",
    "open_store": "features.store",
    "save_html": "views.export",
    "train_sae": "sae.training",
    "zoo_texts": "model.zoo",
    "Calibration": "steering.strength",
    "Cap": "model.edits",
    "Contrast": "steering.contrast",
    "DoseResponse": "steering.dose",
    "Orthogonal": "model.edits",
    "Peek": "steering.peek",
    "Scales": "steering.strength",
    "Session": "steering.session",
    "Setting": "steering.setting",
    "Steer": "views.steer",
    "Steered": "steering.session",
    "Sweep": "steering.dose",
    "calibrate": "steering.strength",
    "contrast": "steering.contrast",
    "dose_response": "steering.dose",
}

__all__ = [
    "SAE",
    "Ablate",
    "Add",
    "BatchTopK",
    "Beside",
    "BlindRating",
    "Budget",
    "Calibration",
    "Cancelled",
    "Cap",
    "ChatJSON",
    "ChatJudge",
    "Clamp",
    "Contrast",
    "ContrastExplainer",
    "Directions",
    "DoseResponse",
    "Edit",
    "ExpectedValue",
    "Explanation",
    "ExplanationLab",
    "Feature",
    "FeatureBrowser",
    "FeatureDashboard",
    "FeatureMap",
    "FeatureRecord",
    "Generation",
    "Gradients",
    "Head",
    "HeadDashboard",
    "InputError",
    "JumpReLU",
    "Keep",
    "Latents",
    "Link",
    "ListingExplainer",
    "LiveModel",
    "LiveTokenHeatmap",
    "LocalChat",
    "Logit",
    "LogitDifference",
    "LogitEffect",
    "LogitLens",
    "LogitPeek",
    "MissingExtraError",
    "ModelLoadError",
    "NeuroglassError",
    "NeuronBasis",
    "OpenAIChat",
    "Orthogonal",
    "PatternExplainer",
    "PatternSimulator",
    "Peek",
    "Priority",
    "Report",
    "Revision",
    "Run",
    "Scale",
    "Scales",
    "Score",
    "Scores",
    "Session",
    "Setting",
    "Simulated",
    "SimulatorJudge",
    "Site",
    "Split",
    "Steer",
    "Steered",
    "Store",
    "StoredFeature",
    "Sweep",
    "TokenExplainer",
    "TokenHeatmap",
    "TopK",
    "TowardsMonosemanticity",
    "Training",
    "TrainingStopped",
    "Transcoder",
    "UnlistedArchitectureWarning",
    "Watch",
    "Window",
    "ablation_score",
    "beside",
    "calibrate",
    "contrast",
    "detection",
    "dose_response",
    "explain",
    "export_notebook",
    "fuzzing",
    "harvest",
    "heatmap",
    "keep_activations",
    "link",
    "load",
    "merge_shards",
    "open_store",
    "output_score",
    "read_feature",
    "read_features",
    "revise",
    "save_html",
    "score",
    "simulate",
    "split_of",
    "study",
    "train_sae",
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
