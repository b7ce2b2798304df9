"""Tells what kind of text a file holds, by its name; for a packed file, by the name of what is inside."""

from __future__ import annotations

import re
from pathlib import PurePath

from farthing.toolkit.documents.document import PLAIN_TEXT
from farthing.toolkit.records.packed import name_inside

# Programming languages whose structure the splitter knows, with their file suffixes.
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
# Suffixes of text whose structure the splitter does not know: it is split between paragraphs and lines.
OTHER_TEXT = (
    "adoc", "asc", "cfg", "clj", "cmake", "conf", "css", "dart", "ex", "exs", "gradle", "graphql", "hs", "ini", "jl",
    "json", "kdl", "log", "lua", "m", "ml", "nim", "nix", "org", "pl", "proto", "ps1", "r", "rst", "scss", "sql",
    "svelte", "tex", "tf", "toml", "txt", "vue", "yaml", "yml", "zig",
)  # fmt: skip

# Names of files that have no suffix, or one that says nothing (README.Debian, LICENSE-MIT).
TEXT_NAMES = frozenset({
    "authors", "bugs", "changelog", "changes", "codeowners", "containerfile", "contributing", "contributors", "copying",
    "copyright", "credits", "dockerfile", "faq", "gemfile", "hacking", "history", "install", "jenkinsfile", "justfile",
    "license", "licence", "maintainers", "makefile", "manifest", "news", "notice", "notes", "procfile", "rakefile",
    "readme", "release", "releases", "security", "thanks", "todo", "vagrantfile", "version",
})  # fmt: skip

# Suffixes of files that are not text, even with a name such as README.
NO_TEXT = frozenset({"zst", "zip", "pdf", "doc", "docx", "odt", "rtf", "png", "jpg", "svg"})

KINDS = {
    **dict.fromkeys(OTHER_TEXT, PLAIN_TEXT),
    **{suffix: language for language, suffixes in LANGUAGES.items() for suffix in suffixes},
}


def suffix_of(name: str) -> str:
    return PurePath(name).suffix.lower().removeprefix(".")


def kind_of_text(name: str) -> str | None:
    """The kind of text that a name tells; None when the name does not say that the file is text."""
    name = name_inside(name)
    kind = KINDS.get(suffix_of(name))
    if kind is not None:
        return kind
    first = re.split(r"[._-]", name, maxsplit=1)[0]
    return PLAIN_TEXT if first.lower() in TEXT_NAMES and suffix_of(name) not in NO_TEXT else None
