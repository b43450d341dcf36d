"""Twenty token strings that have broken token views: each must end as text, visibly."""

from __future__ import annotations

HOSTILE = [
    "<script>window.hacked = 1</script>",
    "<img src=x onerror='window.hacked = 1'>",
    "</script>",
    "<!--",
    "-->",
    "<svg onload=window.hacked=1>",
    "</style><b>bold</b>",
    "&lt;b&gt;&amp;",
    '" onmouseover="window.hacked=1',
    "javascript:window.hacked=1",
    "${window.hacked=1}",
    "\u202eright to left",
    "\u2066isolate\u2069",
    "\u200b",
    "\ufeff",
    "\ud800",
    "\udcff\udcfe",
    "\x00",
    "\x1b[31mred\x07",
    "\u2028line\u2029paragraph",
]
assert len(HOSTILE) == 20

# what a person sees in place of the characters that show nothing, or worse
SHOWN = {
    11: "⟨U+202E⟩right to left",
    12: "⟨U+2066⟩isolate⟨U+2069⟩",
    13: "⟨U+200B⟩",
    14: "⟨U+FEFF⟩",
    15: "⟨U+D800⟩",
    16: "⟨U+DCFF⟩⟨U+DCFE⟩",
    17: "⟨U+0000⟩",
    18: "⟨U+001B⟩[31mred⟨U+0007⟩",
    19: "⟨U+2028⟩line⟨U+2029⟩paragraph",
}
EXPECTED = [SHOWN.get(i, token) for i, token in enumerate(HOSTILE)]
