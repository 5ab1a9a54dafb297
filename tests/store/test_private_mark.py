"""What the mark of a cohort's private files says of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from rtpipeline.store.private_mark import FILES, is_whole, mark, marked_key


@pytest.fixture
def private(tmp_path: Path) -> Path:
    for length, name in enumerate(FILES):
        (tmp_path / name).write_bytes(b"x" * length)
    return tmp_path


def size_in(folder: Path):
    return lambda name: (folder / name).stat().st_size if (folder / name).is_file() else None


def test_a_mark_says_its_key_and_that_its_files_are_there(private: Path) -> None:
    content = mark("aaa-bbb", private)
    assert marked_key(content) == "aaa-bbb"
    assert is_whole(content, size_in(private))


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_missing_or_of_another_size_is_noticed(name: str, private: Path) -> None:
    content = mark("aaa-bbb", private)
    (private / name).write_bytes(b"another")
    assert not is_whole(content, size_in(private))
    (private / name).unlink()
    assert not is_whole(content, size_in(private))


def test_the_mark_of_one_machine_is_its_key_alone() -> None:
    assert marked_key(b"aaa-bbb\n") == "aaa-bbb"
    assert is_whole(b"aaa-bbb\n", lambda name: None)


def test_no_mark_has_no_key() -> None:
    assert marked_key(None) == marked_key(b"") == ""
