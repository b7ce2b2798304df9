"""Texts that have tripped embedding servers: scripts, code, emoji, one token, many tokens."""

from __future__ import annotations

SAMPLES = [
    "The weather is lovely today.",
    "It's so sunny outside!",
    "He drove to the stadium.",
    "a",
    "今天的天气真好，我们去公园散步吧。",
    "日本の首都は東京です。カタカナも漢字もある。",
    "def add(a: int, b: int) -> int:\n\treturn a + b  # sum\n",
    "family 👨\u200d👩\u200d👧 rocket 🚀 flag 🇯🇵",
    "Größenwahn, naïve café, Ελληνικά, العربية, हिन्दी, עברית",
    "  leading and   inner   spaces\n\n\nand newlines \t tabs  ",
    "A farthing was the smallest coin of the realm, and it carried a wren. " * 12,
    "0123456789 " * 20,
]
