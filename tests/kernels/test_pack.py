"""The file of packed kernels holds for one state of the sources and one machine."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

import rtpipeline
from rtpipeline.kernels import pack
from rtpipeline.kernels.pack import load_pack, pack_path, save_pack, source_files

PACKAGE = Path(rtpipeline.__file__).parent
CONTENT = {("module.function", (f"kind {n}",)): b"code" * n for n in range(20)}


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two files that count as the sources; the pack lies beside them."""
    for name in ("geometry/plane.py", "dicom/decimal_text.py"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text("x = 1\n")
    monkeypatch.setattr(pack, "PACKAGE", tmp_path)
    monkeypatch.setattr(pack, "SOURCES", ("geometry", "dicom/decimal_text.py"))
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path


def test_what_was_saved_is_found_and_nothing_is_left_beside_it(sources: Path) -> None:
    assert load_pack() is None
    save_pack(CONTENT)
    found = load_pack()
    assert found is not None and len(found) == len(CONTENT)
    assert list((sources / "cache").iterdir()) == [pack_path()]


@pytest.mark.parametrize("change", ["edited", "added", "removed", "renamed"])
def test_a_pack_of_other_sources_is_not_used(sources: Path, change: str) -> None:
    save_pack(CONTENT)
    file = sources / "geometry" / "plane.py"
    if change == "edited":
        file.write_text("x = 2\n")
    elif change == "added":
        (sources / "geometry" / "more.py").write_text("")
    elif change == "removed":
        file.unlink()
    else:
        file.rename(file.with_name("other.py"))
    assert load_pack() is None
    save_pack(CONTENT)
    assert load_pack() is not None


def test_a_source_with_a_new_time_and_the_same_text_is_the_same(sources: Path) -> None:
    save_pack(CONTENT)
    os.utime(sources / "geometry" / "plane.py", (1, 1))
    assert load_pack() is not None


def test_another_machine_has_a_file_of_its_own(sources: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_pack(CONTENT)
    here = pack_path()
    monkeypatch.setattr(pack, "machine", lambda: ("a triple", "a processor", "+its features", "an LLVM"))
    assert pack_path() != here
    assert load_pack() is None


def test_a_damaged_pack_is_not_used(sources: Path) -> None:
    save_pack(CONTENT)
    whole = pack_path().read_bytes()
    for damaged in (b"", whole[:50], whole[:70], whole[:64] + bytes(len(whole) - 64), whole[:-2] + b"x" + whole[-1:]):
        pack_path().write_bytes(damaged)
        assert load_pack() is None


def test_whoever_reads_while_others_write_finds_a_whole_pack(sources: Path) -> None:
    save_pack(CONTENT)
    writers = [threading.Thread(target=lambda: [save_pack(CONTENT) for _ in range(20)]) for _ in range(2)]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        found = load_pack()
        assert found is not None and len(found) == len(CONTENT)
    for writer in writers:
        writer.join()
    assert list((sources / "cache").iterdir()) == [pack_path()]


def test_every_module_with_a_kernel_is_among_the_sources() -> None:
    with_kernels = {file for file in PACKAGE.rglob("*.py") if "\n@kernel(" in file.read_text(encoding="utf-8")}
    assert len(with_kernels) >= 20
    assert with_kernels <= set(source_files())
    assert not [file for file in PACKAGE.rglob("*.py") if "@njit" in file.read_text(encoding="utf-8")]
