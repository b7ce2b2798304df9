from __future__ import annotations

import pytest

from farthing.toolkit.records.encoding import guessed_encoding

CASES = [
    ("cp1252", "Le café est fermé à cause de l'été."),
    ("cp1252", "# Notes\n\nThe naïve approach fails in a café near Zürich.\n"),
    ("gb18030", "退货政策：三十天内可以退货。"),
    ("big5", "退貨政策：三十天內可以退貨。"),
    ("shift_jis", "三十日以内に返品できます。送料は当社が負担します。"),
    ("euc_kr", "반품 정책: 삼십일 이내에 반품할 수 있습니다."),
    ("cp1251", "Политика возврата: товар можно вернуть."),
    ("cp1250", "Zażółć gęślą jaźń; można zwrócić towar w ciągu miesiąca."),
]  # fmt: skip


@pytest.mark.parametrize(("encoding", "text"), CASES)
def test_people_s_files_are_told_by_how_they_look(encoding: str, text: str) -> None:
    content = text.encode(encoding)
    assert content.decode(guessed_encoding(content) or "ascii") == text
    later = b"plain words " * 20_000 + b"\n" + content  # the first letters that tell stand far behind the beginning
    assert later.decode(guessed_encoding(later) or "ascii").endswith(text)
