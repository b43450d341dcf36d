"""The columns of a browser of features: headings, kinds, and what each is, in words."""

# ruff: noqa: E501 - a column a line

from __future__ import annotations

# column -> (heading, kind, definition); kinds: number, share, token, tokens, flags, text
COLUMNS: dict[str, tuple[str, str, str]] = {
    "feature": ("feature", "index", "index in the dictionary"),
    "value": ("on prompt", "number", "largest value, or sum of those above zero, over the chosen tokens of the prompt"),
    "of_max": ("of its max", "share", "its largest value over the chosen tokens, as a share of its largest in the corpus"),
    "at": ("strongest at", "token", "the chosen token of the prompt where it is largest"),
    "share": ("share there", "share", "share of the tokens where this feature is on that are this token"),
    "on": ("on of all", "share", "share of this token's occurrences in the corpus where the feature is on"),
    "logit": ("logit", "number", "logits of the token that one unit of the feature adds on the direct path, at final-norm scale 1"),
    "examples": ("examples", "number", "kept examples in which the feature is on within the text"),
    "explanation": ("explanation", "text", "the explanation with the best score"),
    "score": ("score", "number", "of the explanation: the correlation score, or the first there is"),
    "density": ("density", "share", "share of the measured tokens where its value is above zero; bar: logarithmic, from one token to all"),
    "count": ("tokens", "number", "tokens where its value is above zero"),
    "max": ("max", "number", "largest value; bar: against the largest of all features"),
    "min": ("min", "number", "smallest value"),
    "mean": ("mean", "number", "mean over all measured tokens, zeros among them"),
    "mean_square": ("mean square", "number", "E[a²] over all measured tokens"),
    "skew": ("skew", "number", "E[a³] / E[a²]^1.5 over all measured tokens, about zero"),
    "kurtosis": ("kurtosis", "number", "E[a⁴] / E[a²]² over all measured tokens, about zero"),
    "single_token_share": ("single token", "share", "share of the tokens where it is on that are its commonest one"),
    "top_token": ("top token", "token", "the token that it is on at most often"),
    "promoted": ("raises", "tokens", "tokens whose logits it raises most on the direct path; sorted by the first one's logits per unit"),
    "suppressed": ("lowers", "tokens", "tokens whose logits it lowers most on the direct path; sorted by the first one's logits per unit"),
    "flags": ("flags", "flags", "dead: never above zero; ultralow: density below 1e-6; not finite: NaN or infinite somewhere"),
    "not_finite": ("not finite", "number", "tokens where its value is NaN or infinite; they count nowhere else"),
    "norm": ("norm", "number", "length of its write direction"),
    "rating": ("rating", "rating", "yours, 1 to 5: how well one can tell what it is for"),
    "lists": ("lists", "text", "lists that it stands on"),
    "note": ("note", "text", "your note"),
}  # fmt: skip
EXTRA = ("value", "of_max", "at", "share", "on", "logit", "examples")
DEFAULT = ("explanation", "score", "top_token", "density", "max", "promoted", "single_token_share",
           "kurtosis", "rating", "flags", "lists")  # fmt: skip
NUMBERS = ("density", "count", "max", "min", "mean", "mean_square", "skew", "kurtosis",
            "single_token_share", "norm", "not_finite")  # fmt: skip
