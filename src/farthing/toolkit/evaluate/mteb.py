"""Runs the tasks of the `mteb` package (https://github.com/embeddings-benchmark/mteb) on an encoder of this engine.

    import mteb
    from farthing import Embedder
    from farthing.toolkit.evaluate.mteb import MtebEncoder

    with Embedder("starter") as embedder:
        result = mteb.evaluate(MtebEncoder(embedder), mteb.get_tasks(tasks=["STS12", "SciFact"]))

In: batches of texts with the task and the kind of input. Out: float32 vectors of length 1. Only texts are embedded;
mteb asks for the modalities, and refuses tasks on images and sound.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from farthing.serving.request import EmbedRequest
from farthing.toolkit.encoder import Encoder, check_unchanged
from farthing.toolkit.optional import needed

with needed("MtebEncoder", "mteb"):
    from mteb.models import ModelMeta
    from mteb.models.abs_encoder import AbsEncoder, get_prompt
    from mteb.models.model_meta import ScoringFunction
    from mteb.types import PromptType

if TYPE_CHECKING:
    from mteb.abstasks.task_metadata import TaskMetadata

Instructions = Mapping[str, str] | Literal["of the tasks"]


class MtebEncoder(AbsEncoder):
    """An encoder in the form that mteb takes.

    Args:
        encoder: the caller closes it.
        instructions: for models that take them, by mteb's names: a task or its type, a kind of input ("query",
            "document"), or both ("STS12-query"); the most specific name counts. "of the tasks" takes each task's own
            instruction, and None only the model's own prompts. Documents get no instruction.

    In mteb's results the model has the encoder's name, and its revision is the id of the vector space, so that mteb's
    cache does not mix the results of several formats of one model.
    """

    def __init__(self, encoder: Encoder, *, instructions: Instructions | None = None) -> None:
        self.model: Encoder = encoder
        self._instructions = instructions
        self._space = encoder.space
        self.mteb_model_meta = ModelMeta.create_empty(
            {
                "name": name_of(encoder),
                "revision": self._space.id,
                "max_tokens": encoder.context_length,
                "embed_dim": encoder.dimensions,
                "similarity_fn_name": ScoringFunction.COSINE,
                "use_instructions": instructions is not None,
            }
        )

    def encode(
        self,
        inputs: Iterable[Mapping[str, Any]],
        *,
        task_metadata: TaskMetadata,
        hf_split: str,  # noqa: ARG002
        hf_subset: str,  # noqa: ARG002
        prompt_type: PromptType | None = None,
        **kwargs: Any,
    ) -> np.ndarray:
        """Return the vectors of all texts, float32 [texts, dimensions]; texts longer than the context are cut.

        Args:
            kwargs: mteb's `encode_kwargs`; only `show_progress_bar` has an effect, since the engine makes the batches.

        Raises the errors of `Encoder.encode_request`.
        """
        texts = [text for batch in inputs for text in batch["text"]]
        request = EmbedRequest(
            texts,
            instruction=self._instruction(task_metadata, prompt_type),
            input_type=None if prompt_type is None else prompt_type.value,
            truncate=True,
        )
        result = self.model.encode_request(request, show_progress=bool(kwargs.get("show_progress_bar")))
        check_unchanged(self._space, result.space)
        return result.vectors

    def _instruction(self, task: TaskMetadata, prompt_type: PromptType | None) -> str | None:
        if self._instructions is None or prompt_type is PromptType.document:
            return None
        if self._instructions == "of the tasks":
            return self.get_instruction(task, prompt_type)
        return get_prompt(dict(self._instructions), task, prompt_type)


def name_of(encoder: Encoder) -> str:
    """Return the encoder's model name in the form that mteb expects, "organisation/model"."""
    name = encoder.model.rstrip("/").rsplit("/", 1)[-1]
    return encoder.model if encoder.model.count("/") == 1 and not encoder.model.startswith(".") else f"farthing/{name}"
