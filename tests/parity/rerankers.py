"""Tiny seeded cross-encoders as transformers saves them, with tokenizers that have a template for pairs."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
    Qwen3ForSequenceClassification,
    RobertaConfig,
    RobertaForSequenceClassification,
    XLMRobertaConfig,
    XLMRobertaForSequenceClassification,
)

from farthing.models.pair_prompt import QWEN3_PROMPT
from farthing.models.synth.tokenizer import tokenizer_json

Pair = tuple[str, str]

QUERY = "which bird sings loudest, yes or no?"
DOCUMENTS = [
    "the wren sings",
    "no",
    "(a crow) does not sing",
    "the wren is the smallest bird with the loudest song of all " * 4,
    " 7 birds\nand a nightingale: yes",
]
PAIRS = [(QUERY, document) for document in DOCUMENTS]

VOCAB = 300
SIZES = {
    "vocab_size": VOCAB,
    "hidden_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 192,
    "max_position_embeddings": 400,
    "num_labels": 1,
}
ROBERTA = {**SIZES, "type_vocab_size": 1, "pad_token_id": 1}
QWEN3 = {
    **SIZES,
    "vocab_size": 151669,
    "hidden_size": 64,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "max_position_embeddings": 4096,
    "pad_token_id": 151643,
}
MAKERS: dict[str, Callable[[], PreTrainedModel]] = {
    "qwen3 tied": lambda: Qwen3ForCausalLM(Qwen3Config(**QWEN3, tie_word_embeddings=True)),
    "qwen3 untied": lambda: Qwen3ForCausalLM(Qwen3Config(**QWEN3, tie_word_embeddings=False)),
    "qwen3 classifier": lambda: Qwen3ForSequenceClassification(Qwen3Config(**QWEN3)),
    "bert": lambda: BertForSequenceClassification(BertConfig(**SIZES)),
    "roberta": lambda: RobertaForSequenceClassification(RobertaConfig(**ROBERTA)),
    "xlm-roberta": lambda: XLMRobertaForSequenceClassification(XLMRobertaConfig(**ROBERTA)),
}


def write_reranker(kind: str, folder: Path) -> Path:
    """A checkpoint with weights that hide no mistake: no zero biases, no unit gains, both token types apart."""
    torch.manual_seed(5)
    model = MAKERS[kind]()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, mean=parameter.mean().item(), std=0.1)
    model.save_pretrained(folder)
    if kind.startswith("qwen3"):
        tokenizer = Tokenizer.from_str(json.dumps(tokenizer_json(appends_end=False)))
    else:
        tokenizer = byte_tokenizer("[CLS]", "[SEP]", 1) if kind == "bert" else byte_tokenizer("<s>", "</s>", 2)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer).save_pretrained(folder)
    return folder


def byte_tokenizer(begin: str, end: str, num_between: int) -> Tokenizer:
    """One token a byte; BERT's template for pairs with its types, or RoBERTa's, which has two separators between."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {token: number for number, token in enumerate([begin, "<pad>", end, *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocab, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.add_special_tokens([begin, "<pad>", end])
    type_b = 1 if num_between == 1 else 0
    between = " ".join([f"{end}:0"] * num_between)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{begin}:0 $A:0 {end}:0",
        pair=f"{begin}:0 $A:0 {between} $B:{type_b} {end}:{type_b}",
        special_tokens=[(begin, vocab[begin]), (end, vocab[end])],
    )
    return tokenizer


def reference_ids(folder: Path, pairs: Sequence[Pair], instruction: str | None = None) -> list[list[int]]:
    return [encoded["input_ids"] for encoded in reference_inputs(folder, pairs, instruction)]


@cache
def tokenizer_of(folder: Path) -> Any:
    """transformers' tokenizer; Qwen3's own takes a second to load."""
    return AutoTokenizer.from_pretrained(folder)


def reference_inputs(
    folder: Path, pairs: Sequence[Pair], instruction: str | None = None
) -> Iterator[dict[str, list[int]]]:
    """What transformers gives its model: the model card's prompt for Qwen3, the tokenizer's own pair for others."""
    tokenizer = tokenizer_of(folder)
    config = json.loads((folder / "config.json").read_text())
    prefix = (
        "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct "
        'provided. Note that the answer can only be "yes" or "no".<|im_end|>\n<|im_start|>user\n'
    )
    suffix = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
    task = instruction or QWEN3_PROMPT.instruction
    begin, end = (tokenizer.encode(text, add_special_tokens=False) for text in (prefix, suffix))
    for query, document in pairs:
        if config["model_type"] == "qwen3":
            body = tokenizer(f"<Instruct>: {task}\n<Query>: {query}\n<Document>: {document}", add_special_tokens=False)
            yield {"input_ids": begin + body["input_ids"] + end}
        else:
            encoded = tokenizer(query, document, return_token_type_ids=True)
            yield {name: encoded[name] for name in ("input_ids", "token_type_ids")}


def reference_scores(folder: Path, pairs: Sequence[Pair], instruction: str | None = None) -> list[float]:
    """P(yes) of softmax over the two answers, or the sigmoid of the one label, a pair at a time, in fp32."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the reference's own deprecations are not ours
        is_causal = "CausalLM" in (folder / "config.json").read_text()
        kind = AutoModelForCausalLM if is_causal else AutoModelForSequenceClassification
        model, tokenizer = (
            kind.from_pretrained(folder, dtype=torch.float32).eval(),
            tokenizer_of(folder),
        )
        scores = []
        with torch.inference_mode():
            for inputs in reference_inputs(folder, pairs, instruction):
                logits = model(**{name: torch.tensor([row]) for name, row in inputs.items()}).logits
                if is_causal:
                    answers = logits[0, -1, [tokenizer.convert_tokens_to_ids(word) for word in ("no", "yes")]]
                    scores.append(answers.log_softmax(0).exp()[1].item())
                else:
                    scores.append(logits.sigmoid().item())
    return scores
