"""The clean patient and the broken ones, each run once for all tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

# the consequences are assertions in modules of their own; they are to say what differed, like those of tests
pytest.register_assert_rewrite(
    "tests.synthetic.consequences",
    *(
        f"tests.synthetic.fault_{name}"
        for name in ("contours", "courses", "dose_grids", "doses", "files", "images", "objects", "slices", "structures")
    ),
)

from tests.synthetic.faults import FAULTS, ODDITIES  # noqa: E402
from tests.synthetic.pipeline import Chain, run_chain  # noqa: E402
from tests.synthetic.registry import Fault, Writer, patient  # noqa: E402

ChainOf = Callable[[str], Chain]


@pytest.fixture(scope="session")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Chain:
    """The results of the small patient without any fault."""
    folder = tmp_path_factory.mktemp("clean")
    patient().save(folder / "export")
    return run_chain(folder / "export", folder / "work")


@pytest.fixture(scope="session")
def chain_of(tmp_path_factory: pytest.TempPathFactory) -> ChainOf:
    """The results of an export with the fault (or oddity) of a key."""
    made: dict[str, Chain] = {}

    def chain(key: str) -> Chain:
        if key not in made:
            made[key] = _run({**FAULTS, **ODDITIES}[key], tmp_path_factory.mktemp("fault"))
        return made[key]

    return chain


def _run(fault: Fault, folder: Path) -> Chain:
    if fault.before is not None:
        run_chain(_written(fault.before, folder / "earlier"), folder / "work", stages=[])
    return run_chain(_written(fault.write, folder / "export"), folder / "work")


def _written(write: Writer, folder: Path) -> Path:
    folder.mkdir()
    write(folder)
    return folder
