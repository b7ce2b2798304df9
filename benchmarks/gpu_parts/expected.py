"""What is expected of a card: each expectation with its figure, and whether it is met."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from gpu_parts.setting import Figures

Rows = Mapping[str, Figures]  # by "section / case"


@dataclass(frozen=True)
class Expectation:
    """`figure` raises KeyError where the cases it needs were not run or failed."""

    name: str
    figure: Callable[[Rows], float]
    least: float


def ratio(first: tuple[str, str], second: tuple[str, str]) -> Callable[[Rows], float]:
    """Of two figures, each by its case and name."""
    return lambda rows: float(rows[first[0]][first[1]]) / float(rows[second[0]][second[1]])


def speeds(model: str, first: str, second: str, workload: str = "8x512") -> Callable[[Rows], float]:
    figure = f"{workload} tokens/s"
    return ratio((f"speed / {model} {first} resident", figure), (f"speed / {model} {second} resident", figure))


def share(model: str) -> Callable[[Rows], float]:
    return lambda rows: float(rows[f"speed / {model} bf16 resident"]["32x512 share"])


def fits(case: str) -> Callable[[Rows], float]:
    """1 where the case ran to its end: it could not take more than it was given."""
    return lambda rows: float("planned MiB" in rows[f"small / {case}"])


EXPECTATIONS: Sequence[Expectation] = (
    *(
        Expectation(f"{case} runs", fits(case), 1.0)
        for case in ("4b bf16 in 9.5GB", "4b nf4 in 3.5GB", "8b nf4 in 6GB", "0.6b auto in 1.6GB")
    ),
    Expectation(
        "4b bf16 streamed from the host / resident",
        ratio(("streaming / 4b bf16 host, 2GB", "tokens/s"), ("streaming / 4b bf16 resident, auto", "tokens/s")),
        0.9,
    ),
    *(Expectation(f"{model} nf4 / bf16 at 8x512", speeds(model, "nf4", "bf16"), 0.92) for model in ("0.6b", "4b")),
    *(
        Expectation(f"{model} {name} / bf16 at 32x512", speeds(model, name, "bf16", "32x512"), 1.0)
        for model in ("0.6b", "4b")
        for name in ("int8", "fp8")
    ),
    Expectation(
        "0.6b bf16 / sentence-transformers on mixed lengths",
        ratio(
            ("speed / 0.6b bf16 resident", "mixed tokens/s"),
            ("peers / 0.6b sentence-transformers bf16", "mixed tokens/s"),
        ),
        3.0,
    ),
    *(
        Expectation(
            f"{model} bf16 share of the peak at 32x512",
            share(model),
            0.55,
        )
        for model in ("0.6b", "4b")
    ),
)


def expectation_lines(rows: Rows) -> Iterator[str]:
    for one in EXPECTATIONS:
        try:
            value = one.figure(rows)
        except KeyError:
            yield f"{one.name}: not measured"
            continue
        yield f"{one.name}: {value:.2f}, wanted {one.least:.2f}: {'met' if value >= one.least else 'MISSED'}"
