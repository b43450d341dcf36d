"""What comes with the package: trained models, dictionaries and texts, as folders of plain files.

``path(name)`` finds them; ``neuroglass.recipes`` says how they were made.
"""

from __future__ import annotations

from pathlib import Path

_HERE = Path(__file__).parent


def names() -> list[str]:
    """The models that are here."""
    return sorted(folder.parent.name for folder in _HERE.glob("*/config.json"))


def dictionaries() -> list[str]:
    """The sparse dictionaries that are here."""
    return sorted(folder.parent.name for folder in _HERE.glob("*/cfg.json"))


def stores() -> list[str]:
    """The harvested stores that are here."""
    return sorted(folder.parent.name for folder in _HERE.glob("stores/*/meta.json"))


def path(name: str) -> Path:
    """The folder or file of this name.

    Raises:
        FileNotFoundError: there is none; the message lists what there is.
    """
    have = [*names(), *dictionaries(), "stores", "texts.json"]
    if name not in have:
        raise FileNotFoundError(f"The zoo has no {name!r}, only {', '.join(have)}.")
    return _HERE / name
