from __future__ import annotations

import pytest

from farthing.core.errors import InputError
from farthing.toolkit.stores.lance.rows import filtered
from farthing.toolkit.stores.milvus.rows import filter_of
from farthing.toolkit.stores.where import (
    MAX_CONDITION_CHARS,
    MAX_CONDITIONS,
    Condition,
    balanced,
    parse_condition,
    parse_conditions,
)


@pytest.mark.parametrize(
    ("text", "condition"),
    [
        ("price <= 20", Condition("price", "<=", 20)),
        ("price>=-2.5e1", Condition("price", ">=", -25.0)),
        ("in stock = true", Condition("in stock", "=", True)),
        ("shop == books and more", Condition("shop", "=", "books and more")),
        ("shop != 'a = \"b\"'", Condition("shop", "!=", 'a = "b"')),
        ('year = "2024"', Condition("year", "=", "2024")),
        ("名前 = 東京", Condition("名前", "=", "東京")),
        ("note = ''", Condition("note", "=", "")),
        ("a<b", Condition("a", "<", "b")),
        ("a = + 5", Condition("a", "=", "+ 5")),
        ("a = -.5", Condition("a", "=", -0.5)),
        ("a = .", Condition("a", "=", ".")),
        ("a = -0", Condition("a", "=", 0)),
        ("zip = 007", Condition("zip", "=", "007")),
        ("zip = 00.5", Condition("zip", "=", "00.5")),
        ("version >= 1.10.0", Condition("version", ">=", "1.10.0")),
        ("new = TRUE", Condition("new", "=", True)),
        ("new = False", Condition("new", "=", False)),
        ("new = tRUE", Condition("new", "=", "tRUE")),
        ("a = 5.", Condition("a", "=", "5.")),
        ("a = 1E+3", Condition("a", "=", 1000.0)),
        ("a = 1e", Condition("a", "=", "1e")),
        ("a = 1e5e5", Condition("a", "=", "1e5e5")),
        ("a = inf", Condition("a", "=", "inf")),
        ("a = nan", Condition("a", "=", "nan")),
        ("a = ٣", Condition("a", "=", 3)),
        ("a = '=> 5'", Condition("a", "=", "=> 5")),
        ("a = 'b and c > 5'", Condition("a", "=", "b and c > 5")),
        ('a = "', Condition("a", "=", '"')),
        ("a = x\ny", Condition("a", "=", "x\ny")),
        (f"a = {10**29}", Condition("a", "=", 10**29)),
        (r'a = "b \"c\""', Condition("a", "=", 'b "c"')),
        (r"a = 'b \'c\' \"d\"'", Condition("a", "=", "b 'c' \"d\"")),
        (r'a = "b\\"', Condition("a", "=", "b\\")),
        (r'a = "\\\"\\"', Condition("a", "=", '\\"\\')),
        (r'a = "C:\temp\new"', Condition("a", "=", r"C:\temp\new")),
        (r"a = b\\c\"", Condition("a", "=", r"b\\c\"")),
        ('a = "null"', Condition("a", "=", "null")),
        ("a != 'NULL'", Condition("a", "!=", "NULL")),
        ("a = nullable", Condition("a", "=", "nullable")),
        ("null = none", Condition("null", "=", "none")),
    ],
)
def test_a_condition_is_read_as_it_is_written(text: str, condition: Condition) -> None:
    found = parse_condition(text)
    assert found == condition
    assert type(found.value) is type(condition.value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "price",
        "= 3",
        "price =",
        "price ~ 3",
        "price = ",
        " " * 4000,
        "a ! b = 3",
        "price => 5",
        "price <> 4",
        "a = =b",
        "price <= 1 and stock > 3",
        "shop = a=b",
    ],
)
def test_what_is_no_condition_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(InputError, match="FIELD OPERATOR VALUE"):
        parse_condition(text)


@pytest.mark.parametrize("text", ["colour = null", "colour != null", "colour<NULL", "colour == Null"])
def test_null_is_no_value_and_it_is_said_how_to_ask_for_the_text(text: str) -> None:
    with pytest.raises(InputError, match="missing or null meets no condition on it, neither = nor !=") as error:
        parse_condition(text)
    written = str(error.value).rpartition("put it into quotes: ")[2].removesuffix(".")
    assert parse_condition(f"colour = {written}").value == text[-4:]
    assert error.value.param == "where"


@pytest.mark.parametrize(
    "text",
    [
        '"a "b""',
        "'it's'",
        '"a" and colour = "b"',
        r'"a\"',
        r'"\"',
        '"""',
        r'"a\\" b"',
        '"' + "\\" * 4001 + '"',
        '"' + '"' * 4000 + '"',
    ],
)
def test_quotes_that_do_not_enclose_all_of_a_value_are_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"do not enclose all of the value. Write .* for a quote inside") as error:
        parse_condition(f"a = {text}")
    assert len(str(error.value)) < 400
    assert error.value.param == "where"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("year = " + "1" * 65, "at most 64"),
        ("year = " + "1" * 4000, "at most 64"),
        ("year < 1e999", "1.79e308"),
        ("year = -1.5e+400", "1.79e308"),
        ("year = " + "x" * MAX_CONDITION_CHARS, "at most 4,096"),
        ("year = b" + " " * 10_000_000 + "c", "at most 4,096"),
    ],
)
def test_what_is_too_long_or_too_large_is_refused_before_it_is_read(text: str, words: str) -> None:
    with pytest.raises(InputError, match=words) as error:
        parse_condition(text)
    assert len(str(error.value)) < 400
    assert error.value.param == "where"


def test_a_condition_of_the_greatest_length_is_read() -> None:
    text = "a = " + "x" * (MAX_CONDITION_CHARS - 4)
    assert parse_conditions([text] * MAX_CONDITIONS)[-1] == Condition("a", "=", "x" * (MAX_CONDITION_CHARS - 4))


def test_there_is_a_greatest_number_of_conditions() -> None:
    with pytest.raises(InputError, match="There are 65 conditions; a search takes at most 64"):
        parse_conditions(["a = 1"] * 65)
    with pytest.raises(InputError, match="50,000"):
        parse_conditions(["nothing"] * 50_000)


@pytest.mark.parametrize(
    "where",
    [
        [Condition("a", "=", 1)] * 65,
        [Condition("a", "=", float("inf"))],
        [Condition("a", "=", float("nan"))],
        [Condition("a", "=", 10**400)],
        [Condition("a" * 5000, "=", 1)],
        [Condition("a", "=", "x" * 5000)],
        [Condition("a", "= 1 OR", 1)],  # type: ignore[arg-type]
        [Condition("a", "=", None)],  # type: ignore[arg-type]
        [Condition("a", "=", ["x"])],  # type: ignore[arg-type]
    ],
)
def test_conditions_that_a_program_makes_have_the_same_limits(where: list[Condition]) -> None:
    for make in (filter_of, lambda where: filtered(None, where)):
        with pytest.raises(InputError) as error:
            make(where)
        assert error.value.param == "where"


def test_expressions_nest_as_little_as_possible() -> None:
    parts = [f"p{number}" for number in range(MAX_CONDITIONS)]
    for num in range(1, MAX_CONDITIONS + 1):
        text = balanced(parts[:num], "AND")
        depths = [text[:place].count("(") - text[:place].count(")") for place in range(len(text))]
        assert max(depths) <= 5
        assert text.replace("(", "").replace(")", "").split(" AND ") == parts[:num]
