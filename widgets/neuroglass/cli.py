"""The command line: ``neuroglass export``, ``neuroglass train``."""

from __future__ import annotations

import argparse
import signal
import sys
from typing import Any

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
    export.set_defaults(run=_export)
    train = commands.add_parser(
        "train",
        help="train a model or dictionary of the zoo again, or go on where that was interrupted",
    )
    train.add_argument("name", help="A, B or A-gelu; A-1x, A-8x or A-8x-relu")
    train.add_argument(
        "--corpus", required=True, help="made by python -m neuroglass.recipes.corpus"
    )
    train.add_argument("--folder", default="build/zoo", help="where it is kept (build/zoo)")
    train.add_argument("--tokens", type=int, help="to train on, if not as many as the recipe says")
    train.set_defaults(run=_train)
    arguments = parser.parse_args(argv)
    try:
        arguments.run(arguments)
    except (NeuroglassError, OSError) as error:  # OSError: no space, no permission
        print(f"neuroglass: {error}", file=sys.stderr)
        return 1
    return 0


def _export(arguments: argparse.Namespace) -> None:
    from neuroglass.views.export import export_notebook

    print(export_notebook(arguments.notebook, arguments.out))


def _train(arguments: argparse.Namespace) -> None:
    from neuroglass.recipes.dictionaries import DICTIONARIES, train_zoo_dictionary
    from neuroglass.recipes.zoo import train_zoo_model

    asked: list[int] = []
    # Ctrl-C and a polite kill end it after a step, with a checkpoint
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: asked.append(number))

    def say(row: dict[str, Any]) -> None:
        if "loss" in row:
            print(
                f"step {row['step']:>7,}  {row['tokens'] / 1e6:8.2f}M tokens  "
                f"loss {row['loss']:.4f}  {row['tokens_per_second']:,} tokens/s",
                flush=True,
            )
        else:
            print(f"held-out loss {row['held_out']['all']:.4f}", flush=True)

    places = arguments.name, arguments.corpus, arguments.folder
    if arguments.name in DICTIONARIES:
        train_zoo_dictionary(*places, tokens=arguments.tokens, stop=lambda: bool(asked))
    else:
        train_zoo_model(*places, tokens=arguments.tokens, report=say, stop=lambda: bool(asked))
    if asked:
        print("stopped; the same command goes on from here")


if __name__ == "__main__":
    sys.exit(main())
