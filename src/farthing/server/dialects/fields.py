"""The rules for fields of a body that its route does not have, the same for the clients of all other servers.

In: a parsed body and the field names of the route's schema. Out: the body in those names, and the names of fields that
were not looked at; or an `InputError`. The rows of the tables below are fields that clients were seen to send:

1. Another server's name for a field of ours stands for that field (`OTHER_NAMES`).
2. A field that asks for something that is not done here is refused, unless it asks for what is done anyway (`ONLY`).
3. A field that means nothing here is passed over (`MEANINGLESS`): a gateway's own fields, a user, a priority.
4. A name that is nearly one of ours is treated as a mistake, since ignoring it would silently change the answer.
5. Any other field is not looked at. The answer names it in a header, and the log says it once; a setting refuses it.

A field that is null says nothing, whatever its name is.
"""

from __future__ import annotations

import difflib
import logging
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from farthing.core.errors import InputError
from farthing.core.shown import MAX_SHOWN

logger = logging.getLogger(__name__)

NEAR = 0.8  # difflib's ratio from which a name counts as a slip of one of ours
MAX_COMPARED = 64  # names of a body that are compared with ours: each comparison takes some microseconds
MAX_FIELDS = 1000  # in a body
MAX_LISTED = 16  # names in a header or a message
MAX_LOGGED = 100  # names that are ever written into the log
UNUSUAL = re.compile(r"[^A-Za-z0-9_.$-]")  # in a name; only the other characters go into headers or the log


class OtherName(NamedTuple):
    """A field of ours; `convert` returns None for a value that says nothing here."""

    ours: str
    convert: Callable[[Any], Any] = lambda value: value


class Only(NamedTuple):
    """Values that ask for what is done here anyway, and the advice for a client that sends other values."""

    values: tuple[Any, ...]
    remedy: str


def input_type_of(task: Any) -> Any:
    """Return Jina's `task` as an input type; tasks other than queries and passages have the model's default prompt."""
    if not isinstance(task, str):
        return task
    for end, input_type in ((".query", "query"), (".passage", "document")):
        if task.endswith(end):
            return input_type
    return None if task in OTHER_TASKS else task


def in_list(value: Any) -> Any:
    return value if isinstance(value, list) else [value]


def out_of_list(value: Any) -> Any:
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def negated(value: Any) -> Any:
    return not value if isinstance(value, bool) else value


# Jina's tasks, and other servers' names for the only task of these routes.
OTHER_TASKS = (
    *("text-matching", "classification", "separation", "clustering", "retrieval", "code"),
    *("embed", "embedding", "embeddings", "feature-extraction", "sentence-similarity"),
)
DIMENSIONS = ("dimensions", "output_dimension")
# Where a name may stand for several fields of ours, a route has only one of them.
OTHER_NAMES: dict[str, tuple[OtherName, ...]] = {
    "dimensions": (OtherName("output_dimension"),),
    "output_dimension": (OtherName("dimensions"),),  # Voyage
    "output_dtype": (OtherName("embedding_types", in_list),),  # Voyage
    "embedding_type": (OtherName("output_dtype", out_of_list), OtherName("embedding_types", in_list)),  # Jina
    "embedding_types": (OtherName("output_dtype", out_of_list),),  # Cohere
    "normalized": (OtherName("normalize"),),  # Jina
    "truncation": (OtherName("truncate"),),  # Voyage
    "task": (OtherName("input_type", input_type_of),),  # Jina
    "top_k": (OtherName("top_n"),),  # Voyage
    "raw_scores": (OtherName("use_activation", negated),),  # Infinity, TEI
    "use_activation": (OtherName("raw_scores", negated),),  # vLLM
}
ONLY: dict[str, Only] = {
    "late_chunking": Only((False,), "the chunks of a text are not embedded together; leave it out"),
    "return_multivector": Only((False,), "POST /embed_all for a vector of every token"),
    "modality": Only(("text",), "only texts are embedded"),
    "image": Only((), "only texts are embedded"),
    "images": Only(([],), "only texts are embedded"),
    "add_special_tokens": Only((True,), "texts always have the special tokens that the model was trained with"),
    "embed_dtype": Only(("float32",), "POST /v2/embed for other types of numbers"),
    "endianness": Only(("native", "little"), "base64 is of little-endian numbers"),
    "truncation_side": Only(("right",), 'send "truncate": "START" to cut the beginning'),
    "rank_fields": Only(([], ["text"]), "documents are ranked by their text; put what counts into it"),
}
MEANINGLESS = frozenset(
    (
        # OpenAI's, and those of gateways in front of it
        *("user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key", "stream", "seed"),
        *("drop_params", "additional_drop_params", "proxy_server_request", "model_info", "custom_llm_provider"),
        *("timeout", "request_timeout", "max_retries", "num_retries", "caching", "no-log", "mock_response", "tags"),
        *("api_key", "api_base", "api_version", "base_url", "organization", "extra_headers", "extra_query"),
        # vLLM's, Cohere's, Xinference's, Ollama's
        *("priority", "request_id", "cache_salt", "additional_data", "mm_processor_kwargs"),
        *("max_chunks_per_doc", "overlap_tokens", "return_len", "options", "keep_alive"),
    )
)
MEANINGLESS_BEGINNINGS = ("litellm_", "user_api_key")
# Names for something that a route takes under another name: the first of our names that the route has is meant.
TEXTS = ("input", "texts", "inputs", "documents", "prompt")
MISTAKES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("dimension", "dim", "dims", "num_dimensions", "embedding_dim", "embedding_dimension"), DIMENSIONS),
    **dict.fromkeys((*TEXTS, "text", "input_text", "sentences", "passages"), TEXTS),
}


class Fitted(NamedTuple):
    """A body in the names of a route's schema.

    Attributes:
        content: the body, with only the fields of the schema.
        sent_as: the client's names of fields that it calls differently, by our names.
        ignored: the names of fields that were not looked at.
    """

    content: dict[str, Any]
    sent_as: Mapping[str, str]
    ignored: tuple[str, ...]


class FieldRules:
    """The rules, for all routes of a server.

    Args:
        refuses_unknown: makes every unknown field an error.
    """

    def __init__(self, *, refuses_unknown: bool = False) -> None:
        self._refuses_unknown = refuses_unknown
        self._logged: set[str] = set()

    def fit(self, content: dict[str, Any], known: Collection[str], path: str) -> Fitted:
        """Return `content` in the names of `known`, the fields of the route at `path`. Raises `InputError`."""
        check_number(content)
        found: dict[str, Any] = {}
        sent_as: dict[str, str] = {}
        unknown: list[str] = []
        for name, value in content.items():
            if name in known:
                found[name] = value
            elif (row := other_name(name, known)) is not None:
                said = None if value is None else row.convert(value)
                if said is not None:
                    check_once(name, said, row.ours, content, found, sent_as)
                    found[row.ours], sent_as[row.ours] = said, name
            elif name in ONLY:
                check_only(name, value)
            elif name not in MEANINGLESS and not name.startswith(MEANINGLESS_BEGINNINGS):
                unknown.append(name)
        if unknown:
            self._take_unknown(unknown, content, known, path)
        return Fitted(found, sent_as, tuple(unknown))

    def _take_unknown(
        self, names: Sequence[str], content: Mapping[str, Any], known: Collection[str], path: str
    ) -> None:
        """Raise `InputError` for a name that is nearly a field, and for all unknown names where the settings say so."""
        near = near_names([name for name in names if content[name] is not None], known)
        if near or self._refuses_unknown:
            raise unknown_error(names if self._refuses_unknown else list(near), near, known)
        self._log(names, path)

    def _log(self, names: Sequence[str], path: str) -> None:
        """Log each name once, and only a limited number of names: clients make them up."""
        if len(self._logged) >= MAX_LOGGED:
            return
        new = {shown(name) for name in names[:MAX_LISTED]} - self._logged
        if new:
            self._logged |= new
            logger.warning(
                "A client sent fields to %s that are not known here and were not looked at: %s. Answers name such "
                "fields in x-farthing-ignored; --unknown-fields error refuses them. This is said once for each name.",
                path,
                ", ".join(sorted(new)),
            )


def unknown_error(names: Sequence[str], near: Mapping[str, str], known: Collection[str]) -> InputError:
    """Return one error for all of the names; `near` has our names for those that are slips."""
    if len(names) == 1:
        hints = [f"Did you mean {ours!r}?" for ours in near.values()]
    else:
        hints = [f"Did you mean {near[name]!r} by {shown(name)!r}?" for name in names[:MAX_LISTED] if name in near]
    what = "parameter" if len(names) == 1 else "parameters"
    more = hints or [f"Known parameters: {', '.join(known)}."]
    return InputError(" ".join([f"Unknown {what} {listed(names, quoted=True)}.", *more]), param=shown(names[0]))


def near_names(names: Sequence[str], known: Collection[str]) -> dict[str, str]:
    """Return the names that are slips of ours, each with the name that it is a slip of."""
    ours = tuple(known)
    return {name: found for name in names[:MAX_COMPARED] if (found := nearest(name, ours)) is not None}


def refuse_unknown(content: Mapping[str, Any], known: Collection[str]) -> None:
    """Refuse unknown fields, on routes of our own that no other server's client calls. Raises `InputError`."""
    if not content.keys() <= set(known):
        check_number(content)
        names = [name for name in content if name not in known]
        raise unknown_error(names, near_names(names, known), known)


def check_number(content: Mapping[str, Any]) -> None:
    """Raise `InputError` for more fields than anybody has a reason to send."""
    if len(content) > MAX_FIELDS:
        raise InputError(f"The request body has {len(content):,} fields; at most {MAX_FIELDS:,} are taken.")


def check_only(name: str, value: Any) -> None:
    """Raise `InputError` for a value that asks for something that is not done here."""
    row = ONLY[name]
    if value is not None and not any(type(value) is type(allowed) and value == allowed for allowed in row.values):
        raise InputError(f"{name!r} asks for what this server does not do: {row.remedy}.", param=name)


def other_name(name: str, known: Collection[str]) -> OtherName | None:
    """Return the field of ours that another server calls `name`, where the route has it."""
    return next((row for row in OTHER_NAMES.get(name, ()) if row.ours in known), None)


def check_once(
    name: str,
    said: object,
    ours: str,
    content: Mapping[str, Any],
    found: Mapping[str, Any],
    sent_as: Mapping[str, str],
) -> None:
    """Raise `InputError` where the body gives a field different values under two of its names."""
    given = content.get(ours) if content.get(ours) is not None else found.get(ours)
    if given is not None and given != said:
        raise InputError(f"{name!r} and {sent_as.get(ours, ours)!r} say different things; send one.", param=name)


def nearest(name: str, known: tuple[str, ...]) -> str | None:
    """Return the field that `name` is a slip of, or None."""
    return _nearest(name, known) if len(name) <= MAX_SHOWN else None


@lru_cache(maxsize=1024)  # clients send the same names with every request
def _nearest(name: str, known: tuple[str, ...]) -> str | None:
    mistaken = next((ours for ours in MISTAKES.get(name, ()) if ours in known), None)
    if mistaken is not None:
        return mistaken
    close = difflib.get_close_matches(name.lower(), known, n=1, cutoff=NEAR)
    # The name may also be the first words of ours: encoding for encoding_format.
    return next(iter(close), None) or next((ours for ours in known if ours.startswith(f"{name.lower()}_")), None)


def shown(name: str) -> str:
    """Return a client's name as headers, messages and the log may hold it: short and plain ASCII."""
    return UNUSUAL.sub("?", name[:MAX_SHOWN])


def listed(names: Sequence[str], *, quoted: bool = False) -> str:
    """Return the first of the names, and how many more there are."""
    parts = [repr(shown(name)) if quoted else shown(name) for name in names[:MAX_LISTED]]
    if len(names) > MAX_LISTED:
        parts.append(f"and {len(names) - MAX_LISTED} more")
    return ", ".join(parts)
