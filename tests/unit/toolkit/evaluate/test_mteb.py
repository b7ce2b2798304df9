from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("mteb", reason="the extra mteb is not installed")

import mteb
from datasets import Dataset, DatasetDict
from mteb.abstasks import AbsTaskRetrieval, AbsTaskSTS
from mteb.abstasks.retrieval_dataset_loaders import RetrievalSplitData
from mteb.abstasks.task_metadata import TaskMetadata
from mteb.types import PromptType

from farthing import Embedder
from farthing.core.errors import UnknownPromptError
from farthing.toolkit.evaluate.mteb import MtebEncoder
from farthing.toolkit.evaluate.pairs import pair_figures

FACTS = {
    "description": "A few sentences.",
    "dataset": {"path": "none", "revision": "none"},
    "eval_splits": ["test"],
    "eval_langs": ["eng-Latn"],
    "modalities": ["text"],
    "category": "t2t",
}
PAIRS = [("a bird", "a small bird", 5.0), ("a bird", "the train", 0.0), ("a coin", "a penny", 3.0), ("a", "noon", 1.0)]
DOCUMENTS = {"d0": "The wren is a small brown bird.", "d1": "A penny is a coin.", "d2": "The train leaves at noon."}
QUERIES = {"q0": "small bird", "q1": "money", "q2": "departure"}


class FewPairs(AbsTaskSTS):
    metadata = TaskMetadata(type="STS", name="FewPairs", main_score="cosine_spearman", **FACTS)
    min_score, max_score = 0, 5

    def load_data(self, **_: object) -> None:
        columns = dict(zip(("sentence1", "sentence2", "score"), zip(*PAIRS, strict=True), strict=True))
        self.dataset = DatasetDict({"test": Dataset.from_dict({name: list(found) for name, found in columns.items()})})
        self.data_loaded = True


class FewDocuments(AbsTaskRetrieval):
    metadata = TaskMetadata(
        type="Retrieval", name="FewDocuments", main_score="ndcg_at_10", prompt={"query": "Find a note"}, **FACTS
    )

    def load_data(self, **_: object) -> None:
        texts = [[{"id": name, "text": text} for name, text in found.items()] for found in (QUERIES, DOCUMENTS)]
        queries, corpus = map(Dataset.from_list, texts)
        grades = {f"q{place}": {f"d{place}": 1} for place in range(3)}
        data = RetrievalSplitData(queries=queries, corpus=corpus, relevant_docs=grades, top_ranked=None)
        self.dataset = {"default": {"test": data}}
        self.data_loaded = True


def scores(encoder: MtebEncoder, task: mteb.AbsTask) -> dict[str, float]:
    result = mteb.evaluate(encoder, task, cache=None, show_progress_bar=False, co2_tracker=False)
    found: dict[str, float] = result.task_results[0].scores["test"][0]
    return found


def test_a_task_of_mteb_runs_on_an_encoder_of_ours(starter: Embedder) -> None:
    found = scores(MtebEncoder(starter), FewPairs())
    first, second, given = zip(*PAIRS, strict=True)
    ours = pair_figures(starter.encode(first), starter.encode(second), given)
    assert found["cosine_spearman"] == pytest.approx(ours["Spearman"])
    assert found["cosine_pearson"] == pytest.approx(ours["Pearson"], abs=1e-5)
    assert scores(MtebEncoder(starter), FewDocuments())["ndcg_at_10"] == 1


def encode(encoder: MtebEncoder, task: mteb.AbsTask, prompt_type: PromptType | None) -> np.ndarray:
    batches = [{"text": ["a wren", "a penny"]}, {"text": ["noon"]}]
    return encoder.encode(batches, task_metadata=task.metadata, hf_split="", hf_subset="", prompt_type=prompt_type)


@pytest.mark.parametrize(
    ("instructions", "prompt_type", "expected"),
    [
        (None, None, {}),
        (None, PromptType.query, {"input_type": "query"}),
        (None, PromptType.document, {"input_type": "document"}),
        ("of the tasks", PromptType.query, {"instruction": "Find a note", "input_type": "query"}),
        ("of the tasks", PromptType.document, {"input_type": "document"}),
        ({"Retrieval": "by type", "query": "by kind"}, PromptType.query, {"instruction": "by type"}),
        ({"FewDocuments-query": "by both", "Retrieval": "by type"}, PromptType.query, {"instruction": "by both"}),
        ({"query": "by kind"}, PromptType.query, {"instruction": "by kind"}),
        ({"query": "by kind"}, PromptType.document, {"input_type": "document"}),
        ({"STS": "another type"}, PromptType.query, {"input_type": "query"}),
    ],
)
def test_prompts_follow_the_task_and_the_kind_of_input(
    instructions: object, prompt_type: PromptType | None, expected: dict[str, str], tiny: Embedder
) -> None:
    encoder = MtebEncoder(tiny, instructions=instructions)  # type: ignore[arg-type]
    rows = encode(encoder, FewDocuments(), prompt_type)
    np.testing.assert_allclose(rows, tiny.encode(["a wren", "a penny", "noon"], **expected), atol=1e-5)  # type: ignore[arg-type]


def test_a_model_that_takes_no_instructions_says_so(starter: Embedder) -> None:
    with pytest.raises(UnknownPromptError, match="not trained with instructions"):
        encode(MtebEncoder(starter, instructions="of the tasks"), FewDocuments(), PromptType.query)


def test_results_are_told_apart_by_the_vector_space(starter: Embedder, starter_dir: Path) -> None:
    facts = MtebEncoder(starter).mteb_model_meta
    with Embedder(str(starter_dir), format="fp32") as exact:
        other = MtebEncoder(exact).mteb_model_meta
    assert facts is not None
    assert other is not None
    assert facts.name == other.name == f"farthing/{starter_dir.name}"
    assert facts.revision == starter.space.id != other.revision
    assert json.loads(facts.model_dump_json())["embed_dim"] == 384
