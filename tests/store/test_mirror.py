"""What is fetched of a store in a bucket lies as it would on one machine."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest

from rtpipeline.errors import UsageError
from rtpipeline.store import mirror
from rtpipeline.store.bucket import Bucket
from rtpipeline.store.folder import CohortFolder
from rtpipeline.store.keys import output_digest, stage_path
from rtpipeline.store.packing import OBJECTS, pack
from rtpipeline.store.transfers import in_order
from tests.store.test_packing import contents, output

WHOLE, RECORD_ONLY, NOTHING = (stage_path("toy", "dvh", f"k-{n}", f"p{n}-c01") for n in (1, 2, 3))


@pytest.fixture
def store(bucket_url: str, tmp_path: Path) -> Bucket:
    """A store with one output, one that was only begun to be taken away, and one of another key."""
    bucket = Bucket.open(bucket_url)
    pack(output(tmp_path / "out"), tmp_path / "packed")
    for name in OBJECTS:
        bucket.upload(tmp_path / "packed" / name, str(WHOLE / name))
        bucket.upload(tmp_path / "packed" / name, str(WHOLE.parent / "older" / name))
    bucket.upload(tmp_path / "packed" / "stage.json", str(RECORD_ONLY / "stage.json"))
    return bucket


@pytest.mark.parametrize("few", [0, 100], ids=["listed", "one by one"])
def test_the_records_of_whole_outputs_are_fetched_and_no_others(few, store, tmp_path, monkeypatch):
    monkeypatch.setattr(mirror, "FEW", few)
    folder = CohortFolder(tmp_path / "mirror", "toy")
    assert mirror.mirror_records(store, folder, [WHOLE, RECORD_ONLY, NOTHING]) == 1
    found = {p.relative_to(folder.store) for p in folder.store.rglob("*") if p.is_file()}
    assert found == {Path(WHOLE / "stage.json")}
    assert (folder.store / WHOLE / "stage.json").read_bytes() == (tmp_path / "out" / "stage.json").read_bytes()


@pytest.mark.parametrize("tables_only", [True, False])
def test_outputs_lie_at_their_place_and_what_is_not_whole_is_told(tables_only, store, tmp_path):
    folder = CohortFolder(tmp_path / "mirror", "toy")
    mirror.mirror_records(store, folder, [WHOLE, RECORD_ONLY])  # as aggregation does before
    absent = mirror.mirror_outputs(store, folder, [WHOLE, RECORD_ONLY, NOTHING], tables_only=tables_only)
    assert absent == [RECORD_ONLY, NOTHING]
    there = contents(folder.store / WHOLE)
    if tables_only:
        assert set(there) == {"metrics.parquet", "plans.json", "course.html", "stage.json"}
    else:
        assert there == contents(tmp_path / "out")
        assert output_digest(folder.store / WHOLE) == output_digest(tmp_path / "out")
    left = {p.name for p in (folder.root / "courses").glob("*/dvh/*")}
    assert left == {WHOLE.name}


def test_an_error_in_one_thread_ends_the_whole():
    def work(path: PurePosixPath) -> str:
        if path.name == "7":
            raise UsageError("seven")
        return path.name

    with pytest.raises(UsageError, match="seven"):
        list(in_order(work, [PurePosixPath(str(n)) for n in range(100)], threads=mirror.THREADS))
    assert list(in_order(work, [PurePosixPath(str(n)) for n in range(7)], threads=mirror.THREADS)) == list("0123456")
