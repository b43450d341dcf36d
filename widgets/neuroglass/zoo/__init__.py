"""What comes with the package: trained models and texts, as folders of plain files.

``path(name)`` finds them; ``neuroglass.recipes`` says how they were made.
"""

from __future__ import annotations

from pathlib import Path

_HERE = Path(__file__).parent


def names() -> list[str]:
    """The models that are here."""
    return sorted(folder.parent.name for folder in _HERE.glob("*/config.json"))


def path(name: str) -> Path:
    """The folder or file of this name.

    Raises:
        FileNotFoundError: there is none; the message lists the models.
    """
    found = _HERE / name
    if name not in names() and not (name == "texts.json" and found.is_file()):
        raise FileNotFoundError(f"The zoo has no {name!r}, only {', '.join(names())}.")
    return found
