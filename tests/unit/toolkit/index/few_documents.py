"""What is in the index of the tests."""

from __future__ import annotations

from farthing.toolkit.documents.document import Document

DOCUMENTS = [
    Document("wren", "The wren is the smallest bird with the loudest song.", "Wren", metadata={"grams": 9}),
    Document("crow", "Crows know faces, and they count.", "Crow", metadata={"grams": 500}),
    Document(
        "tower",
        " ".join(f"Step {n} of the tower is 330 mm wide." for n in range(40)),
        "Tower",
        metadata={"metres": 330},
    ),
    Document("密码", "如果忘记了登录密码，请打开设置页面重置密码。", "重置密码"),
]
