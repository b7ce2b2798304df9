"""What makes two runs of the bulk job the same job, so that the second may go on where the first stopped.

In: the facts that decide a vector and what is written with it. Out: the differences from an earlier run, in words.
The path of the input, the device, batch sizes and chunk sizes are not part of the definition.
"""

from __future__ import annotations

from dataclasses import asdict

from farthing.core.deferred import dataclass

# Version of the folder's files; it goes up when this code can no longer read older folders.
LAYOUT = 1
MAX_SHOWN_CHARS = 200
# Settings that can make the job refuse a text, each with the value that does so.
REFUSALS = {"truncate": False, "short_text": "error", "strict": True}


@dataclass(frozen=True)
class JobDefinition:
    """
    Attributes:
        model: the name that was asked for; only for messages, since one model may go by two names.
        space: id of the model's vector space, before `dimensions` and `normalize`.
        prompt, prompt_name, instruction, input_type, dimensions, normalize: as in the request.
        truncate, context_length, short_text, min_chars: what happens to texts that are too long or too short.
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
        """Return one phrase for each difference from `earlier` (made by `asdict`); none when this run may go on.

        Lifting a refusal (of long or short texts) is no difference, because finished rows stay right.
        """
        now, earlier = asdict(self), {"strict": True, **earlier}  # jobs without this field were strict
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
    """Return the fact's `repr`, cut to `MAX_SHOWN_CHARS`: prompts may be long, and a file may hold anything."""
    text = repr(fact)
    return text if len(text) <= MAX_SHOWN_CHARS else f"{text[:MAX_SHOWN_CHARS]}..."
