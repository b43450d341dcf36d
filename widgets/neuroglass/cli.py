"""The command line: ``neuroglass export``."""

from __future__ import annotations

import argparse
import sys

from neuroglass import __version__
from neuroglass.model.errors import NeuroglassError


def main(argv: list[str] | None = None) -> int:
    """Run a command; returns the exit code (0 done, 1 failed with a message)."""
    parser = argparse.ArgumentParser(prog="neuroglass", description="The glass box, from a shell.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True)
    export = commands.add_parser(
        "export", help="write an executed notebook as one HTML file that works offline"
    )
    export.add_argument("notebook", help="an executed .ipynb")
    export.add_argument("-o", "--out", help="file to write (default: beside the notebook)")
    arguments = parser.parse_args(argv)
    try:
        from neuroglass.views.export import export_notebook

        print(export_notebook(arguments.notebook, arguments.out))
    except NeuroglassError as error:
        print(f"neuroglass: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
