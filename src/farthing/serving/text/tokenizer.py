"""A model's tokenizer, made from its tokenizer.json alone, or from what a GGUF file says in its stead.

In: cleaned texts. Out: token ids with the special tokens that the model was trained with. The padding and truncation
that the file asks for are switched off: nothing is padded here, and the caller decides about texts that are too long.

The library is only asked for lists of texts: `encode_batch` releases the interpreter's lock while it works, and
`encode` does not. Its answers take more than 100 bytes a token. Therefore it is asked for a bounded number of
characters at a time, and only the ids of its answers are kept. Lists of two and more texts go through threads that the
whole process shares, where they wait for other lists; a single text is tokenised on the thread that asks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tokenizers import models, normalizers

from farthing.checkpoint.tokenizer_file import read_tokenizer, tokenizer_path
from farthing.core.deferred import dataclass
from farthing.core.errors import InvalidTokenError, SettingsError, TokenizerError
from farthing.serving.request import TextEnd
from farthing.serving.text.boundaries import boundaries_of

if TYPE_CHECKING:
    from tokenizers import Encoding

    from farthing.engine.describe import ModelDescription

# Characters of texts that the library is given at once; a longer text goes alone.
PIECE_CHARS = 2**17
# Texts with no more characters than this in all are tokenised one by one, so that short requests wait for nobody's long
# ones.
SHORT_CHARS = 2**14
# A text is tokenised in parts only where it is longer than its first part by more than this factor; each further part
# is longer than the last by the same factor.
PART_GROWTH = 2
LEAST_PART_CHARS = 2**12
# A text with many more bytes than this for each token that is wanted, and with no place to cut it, is a run of emoji,
# of signs, of a script without blanks, or any text for a tokenizer whose places are not known. A part of it is
# tokenised all the same, because the library needs about 160 times a text's bytes. The part counts when it has so many
# more tokens than are wanted (at most as many again) that the tokens which are kept stand far from the cut.
RUN_BYTES, LEAST_RUN_BYTES = 4, 2**16
RUN_MARGIN = 8192


class Token(NamedTuple):
    """
    Attributes:
        text: the part of the text that the token stands for; for special tokens, their name.
        special: whether the tokenizer added the token.
        start, stop: where that part lies in the text's UTF-8, in bytes; None for special tokens.
    """

    id: int
    text: str
    special: bool
    start: int | None
    stop: int | None


def tokens_of(text: str, encoding: Encoding) -> list[Token]:
    """The tokens of `text`, read from its `encoding`."""
    starts: Sequence[int] = range(len(text) + 1)
    if not text.isascii():
        starts = [0, *accumulate(len(char.encode()) for char in text)]
    # Each column is made in one call that holds the interpreter's lock; other threads have their turn between the
    # calls.
    columns = [getattr(encoding, name) for name in ("ids", "tokens", "special_tokens_mask", "offsets")]
    return [
        Token(token, name, True, None, None)
        if special
        else Token(token, text[start:stop], False, starts[start], starts[stop])
        for token, name, special, (start, stop) in zip(*columns, strict=True)
    ]


class Encoded(NamedTuple):
    """The ids of a text; with `is_part` they are those of a part of the text alone, and the text has more."""

    ids: list[int]
    is_part: bool


@dataclass(frozen=True)
class SpecialTokens:
    """The ids that the tokenizer puts before and after a single text."""

    before: tuple[int, ...]
    after: tuple[int, ...]

    @property
    def count(self) -> int:
        return len(self.before) + len(self.after)


class TextTokenizer:
    """
    Attributes:
        special: tokens that it puts around texts.
        unknown: token that it puts in the place of words that it does not know; None where it knows all words.

    Raises:
        TokenizerError: on construction, when there is no tokenizer.json, or encoded texts would not end with
            `end_token`. A Qwen3-Embedding without its <|endoftext|> (151643) gives bad vectors without any error.
    """

    def __init__(self, model_path: Path, *, vocab: int, end_token: str | None, lowercases: bool = False) -> None:
        self._tokenizer = read_tokenizer(model_path)
        file = tokenizer_path(model_path)
        if isinstance(self._tokenizer.model, models.Unigram):
            self._strip_end_as_sentencepiece_does()
        if lowercases:
            self._lowercase_first()
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._vocab = vocab
        self._boundaries = boundaries_of(self._tokenizer)
        self.special = self._special_tokens()
        self.unknown = self._unknown_token()
        if end_token is not None:
            self._check_end(end_token, file)

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of each text, special tokens included. It takes no lock, so it is safe from many threads."""
        return self._ids(texts, add_special_tokens=True)

    def encode_prefix(self, text: str) -> list[int]:
        """The ids of a piece of text, without special tokens."""
        return self._ids([text], add_special_tokens=False)[0]

    def encode_pieces(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of each piece of text, without special tokens."""
        return self._ids(texts, add_special_tokens=False)

    def encode_enough(
        self,
        texts: Sequence[str],
        num_tokens: int,
        where: TextEnd = "end",
        *,
        first_chars: int,
        add_special_tokens: bool = True,
    ) -> list[Encoded]:
        """The ids of each text; of a long text with more than `num_tokens`, perhaps only a part that has more, too.

        Args:
            where: the end of a text that may be missing.
            first_chars: characters of a text that are tried at first; more are tried when they do not have enough
                tokens.
        """
        if all(len(text) <= PART_GROWTH * LEAST_PART_CHARS for text in texts):  # no text has a part to be tried first
            return [Encoded(ids, False) for ids in self._ids(texts, add_special_tokens=add_special_tokens)]
        found: dict[int, Encoded] = {}
        wanted = dict.fromkeys(range(len(texts)), max(first_chars, LEAST_PART_CHARS))
        margin = min(num_tokens, RUN_MARGIN)
        run_bytes = max(RUN_BYTES * (num_tokens + margin), LEAST_RUN_BYTES)
        runs: dict[int, int] = {}  # bytes that are tried, for each text without a place to cut it
        while wanted:
            parts = [self._part(texts[place], num_chars, where) for place, num_chars in wanted.items()]
            for number, place in enumerate(wanted):
                if len(parts[number]) == len(texts[place]):
                    parts[number] = run_part(texts[place], runs.setdefault(place, run_bytes), where)
            encoded = self._ids(parts, add_special_tokens=add_special_tokens)
            for place, part, ids in zip(list(wanted), parts, encoded, strict=True):
                is_part = len(part) < len(texts[place])
                if is_part and len(ids) <= num_tokens + (margin if place in runs else 0):
                    if place in runs:
                        runs[place] *= PART_GROWTH
                    wanted[place] *= PART_GROWTH
                else:
                    found[place] = Encoded(ids, is_part)
                    del wanted[place]
        return [found[place] for place in range(len(texts))]

    def tokens(self, texts: Sequence[str], *, add_special_tokens: bool = True) -> Iterator[list[Token]]:
        """Yield the tokens of each text, in order."""
        for piece in pieces(texts):
            encodings = self._encode(piece, add_special_tokens=add_special_tokens, with_places=True)
            yield from (tokens_of(text, encoding) for text, encoding in zip(piece, encodings, strict=True))

    def decode(self, ids: Sequence[Sequence[int]], *, skip_special_tokens: bool = True) -> list[str]:
        """The text that each list of ids stands for. Raises `InvalidTokenError` for an id outside the vocabulary."""
        for index, item in enumerate(ids):
            self._check_ids(item, index)
        texts: list[str] = self._tokenizer.decode_batch([list(item) for item in ids], skip_special_tokens)
        return texts

    def pair_specials(self) -> tuple[list[int], list[int], list[int]]:
        """The ids that the tokenizer puts before, between and behind the two texts of a pair.

        Raises:
            TokenizerError: it puts nothing between them, so that a model could not tell them apart.
        """
        encoding = self._tokenizer.encode("a", "a")
        owners, ids = encoding.sequence_ids, encoding.ids  # 0 and 1 for the texts, None for special tokens
        first, second, end = owners.index(0), owners.index(1), len(owners) - owners[::-1].index(1)
        between = [token for token, owner in zip(ids[:second], owners, strict=False) if owner is None][first:]
        if not between:
            raise TokenizerError(
                "The tokenizer has no template for pairs of texts. It does not belong to a model that scores them."
            )
        return ids[:first], between, ids[end:]

    def complete(self, ids: Sequence[int], index: int) -> list[int]:
        """The caller's ids, with the special tokens added where they are missing.

        Raises:
            InvalidTokenError: an id is outside the vocabulary; `index` is the text's place in the request.
        """
        self._check_ids(ids, index)
        before, after, ids = self.special.before, self.special.after, list(ids)
        if tuple(ids[: len(before)]) != before:
            ids = [*before, *ids]
        if after and tuple(ids[-len(after) :]) != after:
            ids = [*ids, *after]
        return ids

    def insert_prefix(self, ids: list[int], prefix: Sequence[int]) -> list[int]:
        """The ids with `prefix` put behind the special tokens that come first."""
        at = len(self.special.before)
        return [*ids[:at], *prefix, *ids[at:]]

    def truncate(self, ids: list[int], max_tokens: int, where: TextEnd = "end") -> list[int]:
        """Cut a longer list of ids to `max_tokens`; the special tokens at both ends stay."""
        before, after = self.special.before, self.special.after
        if where == "start":
            return [*before, *ids[len(ids) - max_tokens + len(before) :]]
        return [*ids[: max_tokens - len(after)], *after]

    def _ids(self, texts: Sequence[str], *, add_special_tokens: bool) -> list[list[int]]:
        found: list[list[int]] = []
        for piece in pieces(texts):
            encodings = self._encode(piece, add_special_tokens=add_special_tokens)
            found += [encoding.ids for encoding in encodings]
        return found

    def _encode(
        self, texts: Sequence[str], *, add_special_tokens: bool, with_places: bool = False
    ) -> Sequence[Encoding]:
        encode = self._tokenizer.encode_batch if with_places else self._tokenizer.encode_batch_fast
        if sum(map(len, texts)) > SHORT_CHARS:
            return encode(list(texts), add_special_tokens=add_special_tokens)
        return [encode([text], add_special_tokens=add_special_tokens)[0] for text in texts]

    def _part(self, text: str, num_chars: int, where: TextEnd) -> str:
        """The first characters of a text, about `num_chars`, whose tokens are also the first of the whole text.

        Where the start may be missing, these are the last characters, and the last tokens.
        """
        while self._boundaries is not None and len(text) > PART_GROWTH * num_chars:
            if where == "end":
                place = self._boundaries.last(text, num_chars)
                if place is not None:
                    return text[:place]
            else:
                place = self._boundaries.first(text, len(text) - num_chars)
                if place is not None:
                    return text[place:]
            num_chars *= PART_GROWTH
        return text

    def _check_ids(self, ids: Sequence[int], index: int) -> None:
        wrong = next((token for token in ids if not 0 <= token < self._vocab), None)
        if wrong is not None:
            raise InvalidTokenError(
                f"Text {index} holds the token id {wrong}; this model's ids are 0 to {self._vocab - 1}. "
                "Send ids of this model's own tokenizer, or text.",
                param=f"input[{index}]",
            )

    def _strip_end_as_sentencepiece_does(self) -> None:
        """Strip white space at a text's end, as XLM-R's SentencePiece does.

        Not every tokenizer.json made from it says so.
        """
        strip = normalizers.Strip(left=False, right=True)
        stored = self._tokenizer.normalizer
        self._tokenizer.normalizer = strip if stored is None else normalizers.Sequence([stored, strip])

    def _lowercase_first(self) -> None:
        """Lowercase texts before all else that the tokenizer does to letters, as sentence-transformers does it."""
        stored, lower = self._tokenizer.normalizer, normalizers.Lowercase()
        self._tokenizer.normalizer = lower if stored is None else normalizers.Sequence([lower, stored])

    def _special_tokens(self) -> SpecialTokens:
        encoding = self._tokenizer.encode("a")
        mask, ids = encoding.special_tokens_mask, encoding.ids
        body = [place for place, special in enumerate(mask) if not special]
        if not body:
            raise TokenizerError("The tokenizer makes no tokens of the text 'a'. It does not belong to this model.")
        return SpecialTokens(tuple(ids[: body[0]]), tuple(ids[body[-1] + 1 :]))

    def _unknown_token(self) -> int | None:
        model = self._tokenizer.model
        name = "<unk>" if isinstance(model, models.Unigram) else getattr(model, "unk_token", None)
        token: int | None = None if name is None else self._tokenizer.token_to_id(name)
        return token

    def _check_end(self, end_token: str, file: Path) -> None:
        wanted = self._tokenizer.token_to_id(end_token)
        got = self.special.after[-1] if self.special.after else None
        if wanted is None or got != wanted:
            raise TokenizerError(
                f"{file} ends texts with token {got}; this model needs {wanted} ({end_token}) there, else its vectors "
                "are silently wrong. Take tokenizer.json from the original model. A reranker is no embedding model: "
                "use farthing rerank, or farthing serve with --task rerank."
            )


def run_part(text: str, num_bytes: int, where: TextEnd) -> str:
    """About `num_bytes` bytes of a text that has far more, else all of it."""
    if 4 * len(text) <= PART_GROWTH * num_bytes or num_utf8_bytes(text) <= PART_GROWTH * num_bytes:
        return text
    sample = text[:num_bytes] if where == "end" else text[-num_bytes:]
    num_chars = num_bytes * len(sample) // num_utf8_bytes(sample)
    return text[:num_chars] if where == "end" else text[-num_chars:]


def num_utf8_bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def pieces(texts: Sequence[str]) -> Iterator[list[str]]:
    """Yield the texts in order, in lists of at most `PIECE_CHARS` characters, or of one longer text."""
    piece: list[str] = []
    num_chars = 0
    for text in texts:
        if piece and num_chars + len(text) > PIECE_CHARS:
            yield piece
            piece, num_chars = [], 0
        piece.append(text)
        num_chars += len(text)
    if piece:
        yield piece


def open_tokenizer(description: ModelDescription) -> TextTokenizer:
    """The tokenizer of a model.

    Raises `TokenizerError`, and `SettingsError` where the context has no room beside the special tokens.
    """
    made = description.embedding
    tokenizer = TextTokenizer(
        description.path, vocab=description.spec.vocab, end_token=made.end_token, lowercases=made.lowercases
    )
    context_length, num_special = description.plan.context_length, tokenizer.special.count
    if context_length <= num_special:
        raise SettingsError(
            f"context_length is {context_length}; this model adds {num_special} special tokens to every text, so it "
            "must be more",
            param="context_length",
        )
    return tokenizer
