"""What kind of text a file holds, by its name."""

from __future__ import annotations

from pathlib import PurePath

from farthing.toolkit.documents.document import MARKDOWN, PLAIN_TEXT

# Programming languages whose structure is known when a file is split, with their file suffixes.
LANGUAGES = {
    "bash": ("sh", "bash", "zsh"),
    "c": ("c", "h"),
    "c_sharp": ("cs",),
    "cpp": ("cc", "cpp", "cxx", "cu", "hh", "hpp", "hxx"),
    "go": ("go",),
    "java": ("java",),
    "javascript": ("js", "jsx", "mjs", "cjs"),
    "kotlin": ("kt", "kts"),
    "php": ("php",),
    "python": ("py", "pyi"),
    "ruby": ("rb",),
    "rust": ("rs",),
    "scala": ("scala", "sc"),
    "swift": ("swift",),
    "typescript": ("ts", "mts", "cts"),
    "tsx": ("tsx",),
}
# Text in a structure that is not known here is split between paragraphs and lines.
OTHER_TEXT = (
    "adoc", "cfg", "clj", "cmake", "conf", "css", "dart", "ex", "exs", "gradle", "graphql", "hs", "ini", "jl", "kdl",
    "lua", "m", "ml", "nim", "nix", "org", "pl", "proto", "ps1", "r", "rst", "scss", "sql", "svelte", "tex", "tf",
    "toml", "txt", "vue", "yaml", "yml", "zig",
)  # fmt: skip

KINDS = {
    **dict.fromkeys(("md", "markdown", "mdx"), MARKDOWN),
    **dict.fromkeys(OTHER_TEXT, PLAIN_TEXT),
    **{suffix: language for language, suffixes in LANGUAGES.items() for suffix in suffixes},
}


def suffix_of(name: str) -> str:
    return PurePath(name).suffix.lower().removeprefix(".")


def kind_of_file(name: str) -> str | None:
    """None when the name does not say that it is text."""
    return KINDS.get(suffix_of(name))
