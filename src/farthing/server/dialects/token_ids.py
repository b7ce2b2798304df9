"""Token ids that clients send instead of texts, and that may be those of another tokenizer.

In: requests for vectors. Out: the same requests, or requests with texts in place of the ids, or an `InputError`.
LangChain sends the ids of OpenAI's cl100k_base unless it is told not to. Any model with as many words takes them for
its own, and returns vectors that have nothing to do with the texts. Nobody can tell one tokenizer's ids from another's,
so a setting says what they are. Where they are taken as they are, the log names each client once, and every answer
warns.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.concurrency import run_in_threadpool

from farthing.core.errors import InputError, InvalidTokenError, MissingExtraError, SettingsError
from farthing.server.callers.guard import address_of
from farthing.server.http.request_record import exchange_of
from farthing.server.limits.in_flight import claim_memory

if TYPE_CHECKING:
    from starlette.requests import Request

    from farthing.core.settings import ServerSettings
    from farthing.server.models.answers import Answer
    from farthing.serving.request import EmbedRequest

logger = logging.getLogger(__name__)

WARNING = "inputs are token ids, which were taken as this model's own"
MAX_CLIENTS = 1000  # that are warned of; there may be as many clients as there are addresses

Decode = Callable[[Sequence[int]], str]


class TokenIds:
    """Treats token ids as the setting `token_ids` says.

    Args:
        settings: `token_ids` and, where ids are decoded, `token_ids_vocabulary`.

    Raises:
        SettingsError: there is no such vocabulary, or it cannot be read.
        MissingExtraError: the vocabulary is one of OpenAI's, and tiktoken is not installed.
    """

    def __init__(self, settings: ServerSettings) -> None:
        self._refuses = settings.token_ids == "refuse"
        self._vocabulary = Vocabulary(settings.token_ids_vocabulary) if settings.token_ids == "decode" else None
        self._warned: set[str] = set()

    async def admit(self, request: Request, wanted: EmbedRequest) -> EmbedRequest:
        """Return the request in the form in which it is to be served. Raises `InputError`."""
        if not has_token_ids(wanted):
            return wanted
        if self._refuses:
            raise InputError(
                "This server takes no token ids, since they could be another tokenizer's; send texts. LangChain does "
                "with OpenAIEmbeddings(check_embedding_ctx_length=False).",
                param="input",
            )
        if self._vocabulary is not None:
            vocabulary = self._vocabulary
            await claim_memory(request, sum(map(len, wanted.inputs)) * vocabulary.longest_token)
            texts = await run_in_threadpool(
                lambda: [vocabulary.decode(ids, index) for index, ids in enumerate(wanted.inputs)]
            )
            return replace(wanted, inputs=texts)
        self._warn_once(request)
        return wanted

    def warned(self, wanted: EmbedRequest, answer: Answer) -> Answer:
        """Return the answer to an admitted request, with a warning where ids were taken as they came."""
        if not has_token_ids(wanted):
            return answer
        return replace(answer, result=replace(answer.result, warnings=(*answer.result.warnings, WARNING)))

    def _warn_once(self, request: Request) -> None:
        client = str(exchange_of(request).notes.get("key") or address_of(request))
        if client in self._warned or len(self._warned) >= MAX_CLIENTS:
            return
        self._warned.add(client)
        logger.warning(
            "The client %s sends token ids, which are taken as this model's own. If they are another tokenizer's "
            "(LangChain's OpenAIEmbeddings without check_embedding_ctx_length=False sends OpenAI's), its vectors are "
            "meaningless: start the server with --token-ids refuse, or decode. This is said once for each client.",
            client,
        )


def has_token_ids(wanted: EmbedRequest) -> bool:
    return len(wanted.inputs) > 0 and not isinstance(wanted.inputs[0], str)


class Vocabulary:
    """The words that ids stand for: a tokenizer.json by its path, or one of OpenAI's vocabularies by its name.

    Attributes:
        longest_token: the length of the longest token, in bytes or in characters.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        opened = open_file(Path(name)) if name.endswith(".json") else open_tiktoken(name)
        self._decode, self._num_tokens, self.longest_token = opened

    def decode(self, ids: Any, index: int) -> str:
        """Return the text of `ids`. Bytes that are not UTF-8, because a text was cut within a character, become U+FFFD.

        Raises `InputError`.
        """
        wrong = next((str(token) for token in ids if not 0 <= token < self._num_tokens), "")
        if not wrong:
            try:
                return self._decode(ids)
            except KeyError:  # a number between those of the words and those of the special tokens
                wrong = "of no word"
        raise InvalidTokenError(
            f"Text {index} holds a token id ({wrong}) that {self._name} (token_ids_vocabulary) does not have.",
            param=f"input[{index}]",
        )


def open_file(path: Path) -> tuple[Decode, int, int]:
    """Return a decoder of ids, the number of ids, and the length of the longest token. Raises `SettingsError`."""
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_str(path.read_text(encoding="utf-8"))
    except Exception as error:  # the library raises nothing more specific
        raise SettingsError(f"Cannot read {path}: {error}", param="token_ids_vocabulary") from error
    words = tokenizer.get_vocab()
    return (
        lambda ids: str(tokenizer.decode(list(ids), skip_special_tokens=True)),
        max(words.values(), default=-1) + 1,
        max(map(len, words), default=1),
    )


def open_tiktoken(name: str) -> tuple[Decode, int, int]:
    """Return the same as `open_file`. Raises `MissingExtraError`, too."""
    try:
        import tiktoken
    except ImportError as error:
        raise MissingExtraError("Decoding token ids of OpenAI's vocabularies", "tiktoken") from error
    try:
        encoding = tiktoken.get_encoding(name)
    except ValueError as error:
        known = ", ".join(tiktoken.list_encoding_names())
        raise SettingsError(
            f"token_ids_vocabulary is {name!r}; it must be the path of a tokenizer.json, or one of {known}",
            param="token_ids_vocabulary",
        ) from error
    except OSError as error:
        raise SettingsError(
            f"The vocabulary {name} could not be downloaded: {error}. Put it into a folder and name that in "
            "TIKTOKEN_CACHE_DIR, or give the path of a tokenizer.json",
            param="token_ids_vocabulary",
        ) from error
    return (
        lambda ids: encoding.decode_bytes(ids).decode(errors="replace"),
        encoding.max_token_value + 1,
        max(map(len, encoding.token_byte_values())),
    )
