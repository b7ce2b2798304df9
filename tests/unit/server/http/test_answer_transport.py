"""The head of an answer goes out with what follows it."""

from __future__ import annotations

import pytest

from farthing.server.http.connection import AnswerTransport

HEAD, BODY = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n", b"body"


class Transport:
    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.is_closed = False

    def write(self, data: bytes) -> None:
        self.writes.append(data)

    def is_closing(self) -> bool:
        return self.is_closed

    def close(self) -> None:
        self.is_closed = True


@pytest.fixture
def transport() -> Transport:
    return Transport()


@pytest.fixture
def answers(transport: Transport) -> AnswerTransport:
    return AnswerTransport(transport)  # type: ignore[arg-type]


def test_head_and_body_are_one_write_and_further_parts_one_each(transport: Transport, answers: AnswerTransport) -> None:
    for _ in range(2):  # two answers on one connection
        for data in (HEAD, BODY, b"more", b"end"):
            answers.write(data)
        answers.end()
    assert transport.writes == [HEAD + BODY, b"more", b"end"] * 2


def test_a_client_that_waits_to_send_its_body_is_told_at_once(transport: Transport, answers: AnswerTransport) -> None:
    answers.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert transport.writes == [b"HTTP/1.1 100 Continue\r\n\r\n"]
    answers.write(HEAD)
    answers.write(BODY)
    assert transport.writes[1:] == [HEAD + BODY]


def test_an_answer_without_a_body_goes_out_at_its_end_or_when_the_connection_closes(
    transport: Transport, answers: AnswerTransport
) -> None:
    answers.write(HEAD)
    answers.end()
    answers.write(HEAD)
    answers.close()
    assert transport.writes == [HEAD, HEAD]
    assert transport.is_closed
    assert answers.is_closing()
