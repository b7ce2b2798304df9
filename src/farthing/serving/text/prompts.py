"""Which words go in front of a request's texts."""

from __future__ import annotations

from farthing.core.errors import InputError, InvalidTextError, TextTooLargeError, UnknownPromptError
from farthing.core.shown import MAX_NAME, shown_name
from farthing.models.spec import EmbeddingSpec
from farthing.serving.request import EmbedRequest


def prompt_prefix(request: EmbedRequest, spec: EmbeddingSpec, max_chars: int) -> str:
    """The literal prefix that the request asks for in one of four ways; the model's default when it uses none.

    Raises:
        InputError: the request uses two ways that contradict each other.
        TextTooLargeError: the prefix has more than `max_chars` characters, which is what a text may have with its
            prompt.
        InvalidTextError: the prefix is not valid Unicode.
        UnknownPromptError: the model has no such prompt, or takes no instruction.
    """
    ways = [name for name in ("prompt", "prompt_name", "instruction") if getattr(request, name) is not None]
    if len(ways) > 1 or (ways and ways != ["instruction"] and request.input_type):
        given = [*ways, *(["input_type"] if request.input_type else [])]
        raise InputError(f"{' and '.join(given)} were given together; give one of them.", param=given[-1])
    if request.instruction is not None:
        check_prompt(request.instruction, "instruction", max_chars)
        return from_instruction(request, spec)
    if request.prompt is not None:
        check_prompt(request.prompt, "prompt", max_chars)
        return request.prompt
    name = request.prompt_name or request.input_type or spec.default_prompt
    if name is None:
        return ""
    if len(name) <= MAX_NAME and name in spec.prompts:
        return spec.prompts[name]
    if request.prompt_name is None:  # a model without prompts treats queries and documents alike
        return ""
    known = ", ".join(spec.prompts) or "none"
    raise UnknownPromptError(f"This model has no prompt {shown_name(name)}; it has: {known}.", param="prompt_name")


def check_prompt(text: str, param: str, max_chars: int) -> None:
    """Raise `TextTooLargeError` for more than `max_chars` characters, `InvalidTextError` for invalid Unicode."""
    if len(text) > max_chars:
        raise TextTooLargeError(
            f"The {param} has {len(text)} characters; at most {max_chars} are taken, with the text. Shorten it, or set "
            "a larger max_text_chars.",
            param=param,
        )
    if not text.isascii() and not is_unicode(text):
        raise InvalidTextError(f"The {param} is not valid Unicode: it has a lone surrogate. Send UTF-8.", param=param)


def is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def from_instruction(request: EmbedRequest, spec: EmbeddingSpec) -> str:
    if request.input_type == "document":
        raise InputError(
            "Documents take no instruction; leave it out, or set input_type to query.", param="instruction"
        )
    if spec.instruction_template is None:
        raise UnknownPromptError(
            "This model was not trained with instructions; use prompt to put literal text before every text.",
            param="instruction",
        )
    return spec.instruction_template.replace("{task}", request.instruction or "")
