"""The stage on a small patient; what the demo's CT cannot show is changed in the prepared image."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from rtpipeline.config import Config, parse_config
from rtpipeline.contracts.tables import RADIOMICS
from rtpipeline.demo.small import small_patient
from rtpipeline.errors import ExitCode
from rtpipeline.execution.stage_entry import StageRequest, run_stage
from rtpipeline.geometry.grid import Grid
from rtpipeline.prepare.image_files import load_geometry, load_values
from rtpipeline.prepare.nifti import write_nifti
from rtpipeline.radiomics import feature_rows, item, stage
from rtpipeline.radiomics.extract import extract_features
from rtpipeline.radiomics.profiles import load_profile
from rtpipeline.structures.masks import read_structures
from tests.synthetic.pipeline import COHORT, Chain, StageRun, run_chain

SAME = 1e-9
"""relative; the stage maps the image from a file and a crop changes the last bits"""

UPSTREAM = ["prepare_images", "prepare_rt", "structures"]


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Chain:
    folder = tmp_path_factory.mktemp("radiomics")
    return run_chain(small_patient().save(folder / "export"), folder / "work", stages=UPSTREAM)


@pytest.fixture(scope="module")
def unbroken(chain: Chain, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The table of a run in which nothing is lost."""
    ran = run(chain, tmp_path_factory.mktemp("unbroken") / "out", config())
    return (ran.out / "radiomics.parquet").read_bytes()


class Ran(StageRun):
    """What a run of the stage left."""

    @property
    def frame(self) -> pd.DataFrame:
        return RADIOMICS.read(self.out / "radiomics.parquet")

    @property
    def rows(self) -> dict[str, dict[str, Any]]:
        return {r["structure_name"]: r for r in pq.read_table(self.out / "radiomics.parquet").to_pylist()}

    @property
    def statuses(self) -> dict[str, str]:
        return {name: row["status"] for name, row in self.rows.items()}


def config(timeouts: dict[str, float] | None = None, **settings: Any) -> Config:
    section = {"profile": "original", "mr_profile": "original-mr", **settings}
    return parse_config({"radiomics": section, "timeouts": timeouts or {}})


def run(chain: Chain, out: Path, settings: Config, *, workers: int = 1, **folders: Path) -> Ran:
    """The stage on the chain's outputs; folders: others instead, by stage."""
    course = chain.course.course_id
    inputs = {"organize": chain.root / "organize", **{name: chain.folder(course, name) for name in UPSTREAM}, **folders}
    request = StageRequest(
        "radiomics", COHORT, out, settings, course_id=course, inputs=inputs, stage_key="a-b", workers=workers
    )
    return Ran(run_stage(request), out)


def prepared_with(chain: Chain, folder: Path, change: Callable[[Path], None]) -> Path:
    """A copy of prepare_images after a change to its only image's folder."""
    copy = folder / "prepare_images"
    shutil.copytree(chain.folder(chain.course.course_id, "prepare_images"), copy)
    (image,) = (copy / "images").iterdir()
    change(image)
    return copy


def facts(**values: object) -> Callable[[Path], None]:
    def change(image: Path) -> None:
        path = image / "geometry.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | values))

    return change


def test_every_structure_has_a_row_and_those_with_features_equal_the_extraction(chain: Chain, tmp_path: Path) -> None:
    ran = run(chain, tmp_path / "out", config())
    assert (ran.code, ran.record.status) == (ExitCode.DONE, "done")
    assert ran.statuses == {"BODY": "skipped", "GTV": "ok", "PTV": "ok", "SpinalCord": "ok"}
    assert ran.codes == []
    course = chain.course.course_id
    prepared = chain.folder(course, "prepare_images")
    reader = read_structures(chain.folder(course, "structures"), prepared)
    (image,) = (prepared / "images").iterdir()
    values, profile = load_values(image), load_profile("original")
    for row in reader.rows:
        if row["structure_name"] == "BODY":
            continue
        mask = reader.mask(row["structure_set_id"], row["structure_id"])
        assert mask is not None
        expected = extract_features(values, mask.whole(), mask.grid, profile)
        found = ran.rows[row["structure_name"]]
        assert found["voxels"] == mask.voxels == np.count_nonzero(mask.whole())
        assert (found["profile"], found["engine"], found["settings_digest"]) == (
            "original",
            "pyradiomics",
            profile.digest,
        )
        assert {name: found[name] for name in expected} == pytest.approx(expected, rel=SAME, nan_ok=True)


def test_the_volume_of_a_sphere_is_that_of_the_closed_form(chain: Chain, tmp_path: Path) -> None:
    """By another route than masks: 4/3 pi r^3, within the half-voxel shell of a mask of 3 mm voxels."""
    row = run(chain, tmp_path / "out", config()).rows["GTV"]
    shell = 4 * np.pi * 12.0**2 * 3.0 / 2
    assert abs(row["original_shape_VoxelVolume"] - 4 / 3 * np.pi * 12.0**3) < shell


def test_rows_are_the_same_bytes_whatever_the_workers(chain: Chain, tmp_path: Path) -> None:
    one = run(chain, tmp_path / "one", config(sequential=True))
    two = run(chain, tmp_path / "two", config(), workers=4)
    for name in ("radiomics.parquet", "findings.parquet"):
        assert (one.out / name).read_bytes() == (two.out / name).read_bytes()
    assert sorted(p.name for p in one.out.iterdir()) == ["findings.parquet", "radiomics.parquet", "stage.json"]


def test_disabled_and_nothing_to_do_are_said(chain: Chain, tmp_path: Path) -> None:
    assert run(chain, tmp_path / "a", config(enabled=False)).record.status == "disabled"
    empty = tmp_path / "no_structures"
    empty.mkdir()
    assert run(chain, tmp_path / "b", config(), structures=empty).record.status == "not_applicable"


def test_the_configuration_leaves_out_by_name_and_source(chain: Chain, tmp_path: Path) -> None:
    ran = run(chain, tmp_path / "out", config(structures=["GTV"], sources=["manual"]))
    assert ran.statuses == {"BODY": "not_selected", "GTV": "ok", "PTV": "not_selected", "SpinalCord": "not_selected"}
    assert run(chain, tmp_path / "none", config(sources=["custom"])).statuses["GTV"] == "not_selected"


def test_masks_below_and_above_the_limits_have_a_row_with_the_reason(chain: Chain, tmp_path: Path) -> None:
    limit = 1000 * 27  # 1000 voxels of 3 mm, on the lattice of 1 mm
    ran = run(chain, tmp_path / "out", config(min_voxels=300, max_voxels=limit))
    assert ran.statuses == {"BODY": "skipped", "GTV": "too_small", "PTV": "too_large", "SpinalCord": "ok"}
    assert ran.rows["GTV"]["reason"] == "280 voxels; need 300"
    assert sorted(ran.codes) == ["RAD_MASK_LARGE", "RAD_MASK_SMALL"]
    assert ran.record.status == "done", "another attempt would change nothing"
    assert np.isnan(ran.frame.set_index("structure_name").loc["GTV", "original_firstorder_Mean"])


def test_what_the_library_refuses_has_a_row_with_the_reason(chain: Chain, tmp_path: Path) -> None:
    parameters = tmp_path / "p.yaml"
    parameters.write_text("setting: {minimumROISize: 300}\nfeatureClass: {firstorder: [Mean]}\n")
    ran = run(chain, tmp_path / "out", config(params_file=str(parameters)))
    assert ran.statuses["GTV"] == "too_small" and ran.rows["GTV"]["reason"].startswith("280 voxels after resampling")
    assert ran.codes == ["RAD_MASK_SMALL"]
    assert ran.rows["PTV"]["profile"] == "p"


@pytest.mark.parametrize("hu_status", ["cbct", "missing_rescale", "implausible", "not_ct"])
def test_a_ct_without_hounsfield_units_gets_no_features(chain: Chain, tmp_path: Path, hu_status: str) -> None:
    ran = run(
        chain, tmp_path / "o", config(), prepare_images=prepared_with(chain, tmp_path, facts(hu_status=hu_status))
    )
    assert ran.statuses == {
        "BODY": "skipped",
        "GTV": "not_calibrated",
        "PTV": "not_calibrated",
        "SpinalCord": "not_calibrated",
    }
    assert ran.codes == ["RAD_NOT_CALIBRATED"]
    assert not [name for name in ran.frame.columns if name.startswith("original_")]


def test_pet_gets_no_features_of_raw_counts(chain: Chain, tmp_path: Path) -> None:
    pet = prepared_with(chain, tmp_path, facts(modality="PT", hu_status="not_ct"))
    ran = run(chain, tmp_path / "out", config(), prepare_images=pet)
    assert ran.statuses["GTV"] == "not_computed" and ran.rows["GTV"]["profile"] is None
    assert ran.codes == ["RAD_NO_SUV"] and ran.findings[0].severity.value == "I"


def test_mr_gets_its_own_profile(chain: Chain, tmp_path: Path) -> None:
    magnetic = prepared_with(chain, tmp_path, facts(modality="MR", hu_status="not_ct"))
    ran = run(chain, tmp_path / "out", config(), prepare_images=magnetic)
    assert ran.rows["GTV"]["profile"] == "original-mr" and ran.codes == []
    # 64 bins over the structure's own range, whatever the unit of the image
    assert ran.rows["GTV"]["original_glcm_JointAverage"] > 10
    (image,) = (magnetic / "images").iterdir()
    values = load_values(image).astype(float)
    mean = (ran.rows["GTV"]["original_firstorder_Mean"] * values.std(ddof=1)) + values.mean()
    on_ct = run(chain, tmp_path / "ct", config()).rows["GTV"]["original_firstorder_Mean"]
    assert mean == pytest.approx(on_ct, rel=1e-9), "normalised by the whole image's mean and standard deviation"


def test_an_image_on_another_grid_than_its_geometry_gets_no_features(chain: Chain, tmp_path: Path) -> None:
    def shorten(image: Path) -> None:
        values, grid = load_values(image), load_geometry(image).voxel
        fewer = Grid.from_json(grid.to_json() | {"plane_offsets_mm": grid.plane_offsets_mm[:-1].tolist()})
        write_nifti(image / "image.nii.gz", values[:-1], fewer)

    ran = run(chain, tmp_path / "out", config(), prepare_images=prepared_with(chain, tmp_path, shorten))
    assert ran.statuses["GTV"] == "geometry"
    assert set(ran.codes) == {"RAD_GEOMETRY"}


def changed_structures(chain: Chain, folder: Path, name: str, **values: object) -> Path:
    """A copy of the structures stage with other values in the row of a structure."""
    copy = folder / "structures"
    shutil.copytree(chain.folder(chain.course.course_id, "structures"), copy)
    table = pq.read_table(copy / "structures.parquet")
    rows = [r | values if r["structure_name"] == name else r for r in table.to_pylist()]
    pq.write_table(table.from_pylist(rows, schema=table.schema), copy / "structures.parquet")
    return copy


def test_a_structure_that_leaves_its_image_gets_no_features(chain: Chain, tmp_path: Path) -> None:
    for lost, status in ((5.1, "outside_image"), (4.9, "ok")):
        cut = changed_structures(chain, tmp_path / status, "GTV", outside_image_pct=lost)
        ran = run(chain, tmp_path / f"out-{status}", config(), structures=cut)
        assert ran.statuses["GTV"] == status
        assert ran.codes == ([] if status == "ok" else ["RAD_OUTSIDE_IMAGE"])


def test_a_structure_without_a_volume_has_a_row(chain: Chain, tmp_path: Path) -> None:
    empty = changed_structures(chain, tmp_path, "GTV", status="empty")
    ran = run(chain, tmp_path / "out", config(), structures=empty)
    assert ran.statuses["GTV"] == "no_mask" and "empty" in ran.rows["GTV"]["reason"]


def hang_on_gtv(work: item.Item) -> item.Features:
    """Runs in a worker process: the mask of 280 voxels is the GTV."""
    import time

    if np.count_nonzero(work.mask_zyx) == 280:
        time.sleep(600)
    return item.compute(work)


def fail_on_gtv(work: item.Item) -> item.Features:
    if np.count_nonzero(work.mask_zyx) == 280:
        raise ZeroDivisionError
    return item.compute(work)


def starve_on_gtv(work: item.Item) -> item.Features:
    if np.count_nonzero(work.mask_zyx) == 280:
        raise MemoryError
    return item.compute(work)


@pytest.mark.parametrize(
    ("compute", "status", "code"),
    [
        (hang_on_gtv, "timeout", "RES_TIMEOUT"),
        (fail_on_gtv, "failed", "RAD_FAILED"),
        (starve_on_gtv, "out_of_memory", "RES_MEMORY"),
    ],
)
def test_what_is_lost_is_lost_alone_and_another_attempt_computes_just_that(
    chain: Chain,
    unbroken: bytes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    compute: Callable[[item.Item], item.Features],
    status: str,
    code: str,
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(stage, "compute", compute)
        ran = run(chain, tmp_path / "out", config({"radiomics_roi_s": 8.0 if status == "timeout" else 600.0}))
    assert (ran.code, ran.record.status) == (ExitCode.DONE, "partial")
    assert ran.record.reason == f"structures without features: 1 {status}"
    assert ran.statuses == {"BODY": "skipped", "GTV": status, "PTV": "ok", "SpinalCord": "ok"}
    assert ran.codes == [code] and "GTV" in ran.findings[0].object

    given: list[list[str]] = []
    original = feature_rows.run_items
    monkeypatch.setattr(
        feature_rows,
        "run_items",
        lambda function, items, **options: given.append(list(items)) or original(function, items, **options),
    )
    again = run(chain, tmp_path / "out", config())
    assert [len(names) for names in given] == [1] and again.record.status == "done"
    assert (again.out / "radiomics.parquet").read_bytes() == unbroken


def test_a_profile_that_is_changed_changes_the_key_and_workers_do_not() -> None:
    from rtpipeline.store.keys import settings_digest

    assert settings_digest("radiomics", config()) == settings_digest(
        "radiomics", config(sequential=True, thread_limit=3)
    )
    assert settings_digest("radiomics", config()) != settings_digest("radiomics", config(profile="ct"))
