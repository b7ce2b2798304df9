"""farthing.json: what a folder of quantised weights holds, and what was done to them.

In: such a folder. Out: a `Manifest`, read or written. It is written last, so that a folder with a manifest is whole.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from farthing.checkpoint.json_file import read_json
from farthing.core.deferred import dataclass
from farthing.core.errors import CheckpointError

FILE = "farthing.json"
# The version of what a reader must know: the names and bytes of the tensors, the packed layout and the rotation.
VERSION = 1
MAX_CHARS, MAX_SHOWN_CHARS = 4_096, 200
MAX_NUMBER = 10**15


@dataclass(frozen=True)
class Manifest:
    """
    Attributes:
        format: the row of `farthing.quant.formats.FORMATS` of the weights.
        int8_parts: the names of each layer's matrices that are in int8 in a folder of a coarser format.
        gains_folded: norm gains are multiplied into the matrices behind them.
        rotated: the residual stream is rotated (`farthing.models.forward.rotation`), and attention's values with it.
        source, source_fingerprint: the checkpoint that was quantised, by its name and by its digest.
        folder_fingerprint: the digest of the folder as it was written. A folder that was changed since, in its weights,
            its tokenizer or its config.json, is no longer a copy of the source. Empty in folders of version 0.1.
        farthing_version: the version of Farthing that wrote the folder.
        calibration: the texts that the rounding went by ("texts": what they are, "num_texts", "num_tokens"), so that
            the vectors are of this folder alone; None where the rounding went by the weights.
        closeness: the closeness to the exact model, as `farthing.serving.quantising.closeness` measures it; None when
            it was not measured.
    """

    format: str
    gains_folded: bool
    rotated: bool
    source: str
    source_fingerprint: str
    farthing_version: str
    closeness: Mapping[str, float] | None = None
    calibration: Mapping[str, str | int] | None = None
    int8_parts: tuple[str, ...] = ()
    folder_fingerprint: str = ""
    version: int = VERSION

    def write(self, folder: Path) -> None:
        """Write the manifest in one step: a reader finds all of it or nothing."""
        partial = folder / f".{FILE}.partial"
        partial.write_text(json.dumps(asdict(self), indent=1), encoding="utf-8")
        partial.replace(folder / FILE)


def read_manifest(folder: Path) -> Manifest | None:
    """The folder's manifest; None where there is none, because the weights are not quantised.

    Raises:
        CheckpointError: the manifest is damaged, or of a version that this Farthing does not know.
    """
    content = read_json(folder / FILE, remedy(None))
    if content is None and not (folder / FILE).exists():
        return None
    if not isinstance(content, dict):
        raise CheckpointError(f"{folder / FILE} holds no JSON object. {remedy(None)}")
    if content.get("version") != VERSION:
        raise CheckpointError(
            f"{folder} is of version {shown(repr(content.get('version'))[:MAX_CHARS])}, written by Farthing "
            f"{shown(content.get('farthing_version'))}; this one reads version {VERSION}. "
            f"{remedy(content.get('source'))}"
        )
    wrong = [name for name, is_right in checks(content).items() if not is_right]
    if wrong:
        raise CheckpointError(f"{folder / FILE} lacks or garbles {', '.join(wrong)}. {remedy(content.get('source'))}")
    content["int8_parts"] = tuple(content.get("int8_parts", ()))
    return Manifest(**{item.name: content[item.name] for item in fields(Manifest) if item.name in content})


def checks(content: Mapping[str, Any]) -> dict[str, bool]:
    """Whether each fact is there and of its type, by the fact's name."""
    kinds = {"gains_folded": bool, "rotated": bool}
    names = ("format", "gains_folded", "rotated", "source", "source_fingerprint", "farthing_version")
    facts = {name: isinstance(content.get(name), kinds.get(name, str)) for name in names}
    facts["folder_fingerprint"] = isinstance(content.get("folder_fingerprint", ""), str)  # older folders have none
    facts = {name: is_right and len(str(content.get(name, ""))) <= MAX_CHARS for name, is_right in facts.items()}
    facts["int8_parts"] = is_names(content.get("int8_parts", []))  # older folders have none
    facts["calibration"] = is_calibration(content.get("calibration"))  # older folders have none
    return {**facts, "closeness": is_closeness(content.get("closeness", "none"))}


def is_names(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


def is_calibration(value: object) -> bool:
    kinds = {"texts": str, "num_texts": int, "num_tokens": int}
    return value is None or (
        isinstance(value, dict)
        and {name: type(fact) for name, fact in value.items()} == kinds
        and all(len(fact) <= MAX_CHARS if isinstance(fact, str) else 0 <= fact < MAX_NUMBER for fact in value.values())
    )


def is_closeness(value: object) -> bool:
    if value is None:
        return True
    return (
        isinstance(value, dict)
        and set(value) == {"cosine_mean", "cosine_min", "neighbours_kept", "num_texts"}
        and all(type(number) in (int, float) and abs(number) < MAX_NUMBER for number in value.values())
    )


def remedy(source: object) -> str:
    """A sentence on what to do about a folder that cannot be used."""
    return f"Quantise the model again: farthing quantize {shown(source) if source else 'MODEL'} OUT."


def shown(fact: object) -> str:
    """A fact for a message, cut to what a line has room for: somebody else may have written the file."""
    if isinstance(fact, int) and abs(fact) > MAX_NUMBER:
        return "very large"
    text = fact if isinstance(fact, str) else type(fact).__name__ if isinstance(fact, (dict, list)) else repr(fact)
    return text if len(text) <= MAX_SHOWN_CHARS else f"{text[:MAX_SHOWN_CHARS]}..."
