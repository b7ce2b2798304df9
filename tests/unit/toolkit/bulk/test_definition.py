from __future__ import annotations

from dataclasses import asdict, fields, replace

import pytest

from farthing.toolkit.bulk.definition import JobDefinition

JOB = JobDefinition(
    model="starter",
    space="0123",
    prompt=None,
    prompt_name=None,
    instruction=None,
    input_type=None,
    dimensions=384,
    normalize=True,
    truncate=False,
    context_length=256,
    short_text="error",
    min_chars=1,
    input_format="jsonl",
    field="text",
    strict=False,
)


def test_a_job_is_the_same_as_itself() -> None:
    assert JOB.differences(asdict(JOB)) == []


@pytest.mark.parametrize("name", [item.name for item in fields(JOB) if item.name not in ("model", "space")])
def test_every_fact_makes_another_job(name: str) -> None:
    now = replace(JOB, truncate=True, short_text="zero", strict=False)
    before = replace(now, **{name: "other"})
    assert now.differences(asdict(before)) == [f"{name} was 'other' and is now {getattr(now, name)!r}"]


def test_another_model_is_named_and_the_same_one_may_have_two_names() -> None:
    now = replace(JOB, model="./copy")
    assert now.differences(asdict(JOB)) == []
    assert replace(now, space="4567").differences(asdict(JOB)) == [
        "model was 'starter' and is now './copy', another vector space"
    ]
    assert replace(JOB, space="4567").differences(asdict(JOB)) == [
        "the vectors of 'starter' are of another space now: another format, or other weights"
    ]


def test_a_refusal_that_is_lifted_is_no_difference_but_taking_it_up_is() -> None:
    lifted = replace(JOB, truncate=True, short_text="zero")
    assert lifted.differences(asdict(JOB)) == []
    assert len(JOB.differences(asdict(lifted))) == 2
