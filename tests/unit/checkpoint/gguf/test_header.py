from __future__ import annotations

import contextlib
import struct
from pathlib import Path

import pytest
from gguf import GGUFReader
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from quantised_files import default_metadata, write_gguf

from farthing.checkpoint.gguf.header import is_gguf, read_header
from farthing.core.errors import CheckpointError
from tiers import examples


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_gguf(tmp_path_factory.mktemp("gguf") / "model.gguf", "Q8_0", {"general.alignment": 64}).path


def refusal(path: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        read_header(path)
    return str(caught.value)


def test_metadata_are_what_was_written(file: Path) -> None:
    metadata = read_header(file, with_arrays=True).metadata
    for key, value in default_metadata().items():
        stated = tuple(value) if isinstance(value, list) else value
        assert metadata[key] == (pytest.approx(stated, rel=1e-6) if isinstance(stated, float) else stated), key


def test_arrays_are_passed_over_unless_asked_for(file: Path) -> None:
    short, long = read_header(file), read_header(file, with_arrays=True)
    assert short.metadata["tokenizer.ggml.tokens"] is None
    assert short.metadata["tokenizer.ggml.token_type"] is None
    assert short.tensors == long.tensors


def test_tensors_lie_where_the_gguf_package_finds_them(file: Path) -> None:
    ours = {tensor.name: tensor for tensor in read_header(file).tensors}
    theirs = GGUFReader(file)
    assert set(ours) == {tensor.name for tensor in theirs.tensors}
    for tensor in theirs.tensors:
        mine = ours[tensor.name]
        assert (mine.shape, mine.type) == (tuple(reversed(tensor.shape.tolist())), tensor.tensor_type)
        assert mine.offset == tensor.data_offset
    assert read_header(file).data_offset == theirs.data_offset


def test_a_file_is_known_by_its_first_bytes_alone(file: Path, tmp_path: Path) -> None:
    (tmp_path / "sha256-1").write_bytes(file.read_bytes())
    (tmp_path / "model.gguf").write_bytes(b"PK\x03\x04")
    assert is_gguf(tmp_path / "sha256-1")
    assert not is_gguf(tmp_path / "model.gguf")
    assert not is_gguf(tmp_path)


def test_a_file_that_cannot_be_read_is_a_typed_error() -> None:
    unreadable = Path("/proc/self/mem")  # for everybody, the superuser too
    if not unreadable.is_file():
        pytest.skip("no /proc/self/mem on this system")
    with pytest.raises(CheckpointError, match=r"/proc/self/mem cannot be read: .*Check its permissions"):
        is_gguf(unreadable)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "cannot mmap an empty file"),
        (b"GG", "cut short"),
        (b"PK\x03\x04" * 10, "does not begin with GGUF"),
        (struct.pack("<4sI", b"GGUF", 1) + bytes(16), "version is 1; little-endian files of version 2 and 3"),
        (struct.pack(">4sI", b"GGUF", 3) + bytes(16), "version is 50331648"),  # big-endian
        (struct.pack("<4sIQQ", b"GGUF", 3, 2**60, 0), "cut short"),
        (struct.pack("<4sIQQ", b"GGUF", 3, 0, 2**60), "cut short"),
        (struct.pack("<4sIQQQ", b"GGUF", 3, 0, 1, 2**63), "cut short"),
        (struct.pack("<4sIQQQ1sI", b"GGUF", 3, 0, 1, 1, b"a", 99), "value is of the unknown type 99"),
        (struct.pack("<4sIQQQ1sIIQ", b"GGUF", 3, 0, 1, 1, b"a", 9, 9, 1), "array holds values of type 9"),
        (struct.pack("<4sIQQQ1sIIQ", b"GGUF", 3, 0, 1, 1, b"a", 9, 4, 2**62), "cut short"),
        (struct.pack("<4sIQQQ1sI", b"GGUF", 3, 0, 1, 1, b"\xff", 7), "can't decode byte 0xff"),
        (struct.pack("<4sIQQQ17sII", b"GGUF", 3, 0, 1, 17, b"general.alignment", 4, 48), "48, not a power of two"),
        (struct.pack("<4sIQQQ1sI", b"GGUF", 3, 1, 0, 1, b"a", 5), "a has 5 dimensions"),
        (struct.pack("<4sIQQ", b"GGUF", 3, 2, 0) + 2 * struct.pack("<Q1sIQIQ", 1, b"a", 1, 1, 0, 0), "same name"),
    ],
)
def test_broken_files_are_refused_with_the_reason(tmp_path: Path, content: bytes, why: str) -> None:
    (tmp_path / "model.gguf").write_bytes(content)
    message = refusal(tmp_path / "model.gguf")
    assert why in message
    assert message.startswith(f"{tmp_path / 'model.gguf'} is not a whole GGUF file")
    assert message.endswith("Download it again.")


@given(st.data())
@settings(max_examples=examples(60), suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damage_anywhere_in_the_header_is_a_typed_error_or_read(
    file: Path, tmp_path: Path, data: st.DataObject
) -> None:
    content = bytearray(file.read_bytes())
    place = data.draw(st.integers(0, read_header(file).data_offset - 1))
    content[place : place + 4] = data.draw(st.binary(min_size=1, max_size=4))
    cut = data.draw(st.one_of(st.none(), st.integers(0, len(content))))
    (tmp_path / "damaged.gguf").write_bytes(content[:cut])
    with contextlib.suppress(CheckpointError):
        read_header(tmp_path / "damaged.gguf", with_arrays=True)
