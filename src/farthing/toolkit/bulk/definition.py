"""What makes two runs of the bulk job the same job, so that one may go on where the other stopped.

In: the facts that decide a vector and what is written with it. Out: what differs from an earlier run, in words.
Where the input lies, the device, batch sizes and chunk sizes are not part of it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

# Of the files in the folder; raised when an older folder could not be read any more.
LAYOUT = 1
MAX_SHOWN_CHARS = 200
# Settings by which a text is refused, with the value that does.
REFUSALS = {"truncate": False, "short_text": "error", "strict": True}


@dataclass(frozen=True)
class JobDefinition:
    """
    Attributes:
        model: name as it was asked for; for messages only, the same model may go by two names.
        space: id of the model's vector space, before `dimensions` and `normalize`.
        prompt, prompt_name, instruction, input_type, dimensions, normalize: of the request.
        truncate, context_length, short_text, min_chars: what becomes of texts that are too long or too short.
        input_format, field: how the input is read.
        strict: the first row that cannot be read or embedded is an error.
    """

    model: str
    space: str
    prompt: str | None
    prompt_name: str | None
    instruction: str | None
    input_type: str | None
    dimensions: int
    normalize: bool
    truncate: bool
    context_length: int
    short_text: str
    min_chars: int
    input_format: str
    field: str
    strict: bool
    layout: int = LAYOUT

    def differences(self, earlier: dict[str, object]) -> list[str]:
        """What `earlier` (of `asdict`) had otherwise, one phrase each; none when this run may go on.

        Rows that are done stay right when a refusal (of long or short texts) is lifted, so that is no difference.
        """
        now, earlier = asdict(self), {"strict": True, **earlier}  # as all jobs were once
        lifted = {name for name, refusal in REFUSALS.items() if earlier.get(name) == refusal}
        same = {"model", "space", *lifted}
        phrases = []
        if earlier.get("space") != self.space:
            before, after = shown(earlier.get("model")), shown(self.model)
            same_name = f"the vectors of {after} are of another space now: another format, or other weights"
            phrases.append(
                same_name if before == after else f"model was {before} and is now {after}, another vector space"
            )
        return phrases + [
            f"{name} was {shown(earlier.get(name))} and is now {shown(value)}"
            for name, value in now.items()
            if name not in same and earlier.get(name) != value
        ]


def shown(fact: object) -> str:
    """Prompts may be long, and what is read from a file may be anything."""
    text = repr(fact)
    return text if len(text) <= MAX_SHOWN_CHARS else f"{text[:MAX_SHOWN_CHARS]}..."
