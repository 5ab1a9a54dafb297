"""An image's compiled kernels are used although their folder cannot be written."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rtpipeline.execution import shipped_kernels
from rtpipeline.execution.shipped_kernels import link_kernels, use_shipped_kernels

KERNEL = """
import sys
import numba

@numba.njit(cache=True)
def twice(x):
    return 2 * x

assert twice(eval(sys.argv[1])) == 2 * eval(sys.argv[1])
print(sum(twice.stats.cache_hits.values()), sum(twice.stats.cache_misses.values()))
"""


def hits_and_misses(script: Path, cache: Path, argument: str) -> tuple[int, int]:
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(cache)}
    done = subprocess.run(
        [sys.executable, script, argument], env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    hits, misses = done.stdout.split()
    return int(hits), int(misses)


def state(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def read_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder with a file that counts as not writable, for the superuser too; links go to `tmp_path`."""
    shipped = tmp_path / "shipped"
    (shipped / "module_1").mkdir(parents=True)
    (shipped / "module_1" / "kernel.nbi").write_bytes(b"index")
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != shipped)
    monkeypatch.setattr(shipped_kernels.tempfile, "gettempdir", lambda: str(tmp_path))
    return shipped


def test_linked_kernels_are_loaded_and_new_ones_go_beside_them(tmp_path: Path) -> None:
    script, shipped = tmp_path / "kernel.py", tmp_path / "shipped"
    script.write_text(KERNEL)
    assert hits_and_misses(script, shipped, "1") == (0, 1)
    before = state(shipped)

    own = link_kernels(shipped, tmp_path)
    assert hits_and_misses(script, own, "1") == (1, 0), "the shipped kernel is loaded, not compiled"
    assert hits_and_misses(script, own, "1.5") == (0, 1), "a kernel that was not shipped is compiled"
    assert hits_and_misses(script, own, "1.5") == (1, 0), "and kept"
    assert hits_and_misses(script, own, "1") == (1, 0), "and the shipped one is still found"
    assert state(shipped) == before, "nothing is written into the image"


def test_a_cache_that_cannot_be_written_is_replaced_by_links(read_only: Path) -> None:
    environment = {"NUMBA_CACHE_DIR": str(read_only)}
    use_shipped_kernels(environment)
    link = Path(environment["NUMBA_CACHE_DIR"]) / "module_1" / "kernel.nbi"
    assert link.is_symlink()
    assert link.resolve() == (read_only / "module_1" / "kernel.nbi").resolve()


def test_a_second_process_takes_the_same_links(read_only: Path) -> None:
    first, second = {"NUMBA_CACHE_DIR": str(read_only)}, {"NUMBA_CACHE_DIR": str(read_only)}
    use_shipped_kernels(first)
    use_shipped_kernels(second)
    assert first == second


def test_kernels_of_another_image_get_links_of_their_own(read_only: Path, tmp_path: Path) -> None:
    before = link_kernels(read_only, tmp_path)
    (read_only / "module_1" / "kernel.nbi").write_bytes(b"another index")
    assert link_kernels(read_only, tmp_path) != before


def test_a_cache_that_can_be_written_stays(tmp_path: Path) -> None:
    environment = {"NUMBA_CACHE_DIR": str(tmp_path)}
    use_shipped_kernels(environment)
    assert environment == {"NUMBA_CACHE_DIR": str(tmp_path)}


@pytest.mark.parametrize("environment", [{}, {"NUMBA_CACHE_DIR": ""}, {"NUMBA_CACHE_DIR": "/nowhere/at/all"}])
def test_without_shipped_kernels_nothing_changes(environment: dict[str, str]) -> None:
    given = dict(environment)
    use_shipped_kernels(environment)
    assert environment == given


def test_a_folder_of_links_that_somebody_else_made_is_not_used(
    read_only: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = link_kernels(read_only, tmp_path)
    others = own.stat().st_uid + 1
    own.rename(tmp_path / own.name.replace(f"-{own.stat().st_uid}-", f"-{others}-"))
    monkeypatch.setattr(os, "getuid", lambda: others)
    environment = {"NUMBA_CACHE_DIR": str(read_only)}
    use_shipped_kernels(environment)
    assert environment == {"NUMBA_CACHE_DIR": str(read_only)}
