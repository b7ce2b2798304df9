"""The words that a language model is given around a query and a document to judge."""

from __future__ import annotations

from farthing.core.deferred import dataclass


@dataclass(frozen=True)
class PairPrompt:
    """The pieces of a prompt, in their order. Each is tokenised by itself, which changes no token (see `lead`).

    Everything but the document is in `prefix` and `query`, so that all documents of a query share these tokens.

    Attributes:
        prefix: the words at the beginning, the same for every pair.
        query: the words of the query, with the fields `{instruction}` and `{query}`; they end where a document follows.
        lead: what a document begins with. It must make the tokenizer split there, whatever the document is: Qwen3's
            never joins a colon and a space.
        suffix: the words after the document.
        instruction: the task, where the caller gives none.
    """

    prefix: str
    query: str
    lead: str
    suffix: str
    instruction: str

    def query_part(self, query: str, instruction: str | None) -> str:
        # The fields are filled one after the other: neither text may be searched for the other's field.
        before, _, after = self.query.partition("{instruction}")
        return before + (self.instruction if instruction is None else instruction) + after.replace("{query}", query)


# https://huggingface.co/Qwen/Qwen3-Reranker-0.6B
QWEN3_PROMPT = PairPrompt(
    prefix=(
        "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct "
        'provided. Note that the answer can only be "yes" or "no".<|im_end|>\n<|im_start|>user\n'
    ),
    query="<Instruct>: {instruction}\n<Query>: {query}\n<Document>:",
    lead=" ",
    suffix="<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n",
    instruction="Given a web search query, retrieve relevant passages that answer the query",
)
