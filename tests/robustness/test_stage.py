"""The stage on a small patient: a ball of 12 mm and a box around it in an image of 20 slices of 3 mm."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from rtpipeline.config import Config, parse_config
from rtpipeline.contracts.tables import ROBUSTNESS
from rtpipeline.demo.small import CENTRE_MM, small_patient
from rtpipeline.demo.solids import Box, Cylinder, sphere
from rtpipeline.errors import ExitCode
from rtpipeline.execution.stage_entry import StageRequest, run_stage
from rtpipeline.prepare.image_files import load_geometry, load_values
from rtpipeline.prepare.nifti import write_nifti
from rtpipeline.radiomics import feature_rows
from rtpipeline.radiomics.extract import extract_features
from rtpipeline.radiomics.profiles import load_profile
from rtpipeline.robustness import item, stage
from rtpipeline.robustness.rows import is_selected
from rtpipeline.robustness.states import seed_of, states_of
from rtpipeline.structures.masks import read_structures
from tests.synthetic.pipeline import COHORT, Chain, StageRun, run_chain

SAME = 1e-9
"""relative; the stage maps the image from a file and a crop changes the last bits"""

NOISE_HU = 15.0
UPSTREAM = ["prepare_images", "prepare_rt", "structures"]
MODES = ["noise", "translation", "rotation", "volume", "contour"]


def chain_of(folder: Path, **changes: Any) -> Chain:
    return run_chain(small_patient(**changes).save(folder / "export"), folder / "work", stages=UPSTREAM)


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Chain:
    """With noise, which the small patient's image has none of."""
    made = chain_of(tmp_path_factory.mktemp("robustness"))
    (image,) = (made.folder(made.course.course_id, "prepare_images") / "images").iterdir()
    values = load_values(image)
    noise = np.random.default_rng(0).normal(0, NOISE_HU, values.shape)
    write_nifti(image / "image.nii.gz", np.rint(values + noise).astype(values.dtype), load_geometry(image).voxel)
    return made


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Feature parameters that take no time."""
    path = tmp_path_factory.mktemp("parameters") / "few.yaml"
    path.write_text("setting: {binWidth: 25}\nfeatureClass: {firstorder: [Mean, Variance], shape: [MeshVolume]}\n")
    return path


class Ran(StageRun):
    """What a run of the stage left."""

    @property
    def rows(self) -> list[dict[str, Any]]:
        return pq.read_table(self.out / "robustness.parquet").to_pylist()

    def states(self, name: str) -> dict[str, dict[str, Any]]:
        return {r["state"]: r for r in self.rows if r["structure_name"] == name}

    @property
    def statuses(self) -> dict[str, Counter[str]]:
        found: dict[str, Counter[str]] = {}
        for row in self.rows:
            found.setdefault(row["structure_name"], Counter())[row["status"]] += 1
        return found


def config(
    parameters: Path | None = None,
    *,
    radiomics: dict[str, Any] | None = None,
    timeout_s: float = 600.0,
    **settings: Any,
) -> Config:
    features = {"profile": "original", "params_file": str(parameters) if parameters else None, **(radiomics or {})}
    section = {"profile": "demo", **settings}
    timeouts = {"radiomics_roi_s": timeout_s}
    return parse_config({"radiomics": features, "radiomics_robustness": section, "timeouts": timeouts})


def run(chain: Chain, out: Path, settings: Config, *, workers: int = 1, **folders: Path) -> Ran:
    """The stage on the chain's outputs; folders: others instead, by stage."""
    course = chain.course.course_id
    inputs = {"organize": chain.root / "organize", **{name: chain.folder(course, name) for name in UPSTREAM}, **folders}
    request = StageRequest(
        "robustness", COHORT, out, settings, course_id=course, inputs=inputs, stage_key="a-b", workers=workers
    )
    return Ran(run_stage(request), out)


def test_targets_have_a_row_for_every_state_and_as_they_are_the_features_of_radiomics(
    chain: Chain, tmp_path: Path
) -> None:
    ran = run(chain, tmp_path / "out", config())
    assert (ran.code, ran.record.status, ran.codes) == (ExitCode.DONE, "done", [])
    assert ran.statuses == {"GTV": Counter(ok=12), "PTV": Counter(ok=12)}
    course = chain.course.course_id
    reader = read_structures(chain.folder(course, "structures"), chain.folder(course, "prepare_images"))
    (image,) = (chain.folder(course, "prepare_images") / "images").iterdir()
    for row in reader.rows:
        if row["structure_name"] in ("GTV", "PTV"):
            mask = reader.mask(row["structure_set_id"], row["structure_id"])
            assert mask is not None
            expected = extract_features(load_values(image), mask.whole(), mask.grid, load_profile("original"))
            found = ran.states(row["structure_name"])["original"]
            assert {name: found[name] for name in expected} == pytest.approx(expected, rel=SAME, nan_ok=True)
            assert found["voxels"] == mask.voxels
    ROBUSTNESS.check(ROBUSTNESS.read(ran.out / "robustness.parquet"))
    assert sorted(p.name for p in ran.out.iterdir()) == ["findings.parquet", "robustness.parquet", "stage.json"]


def test_the_columns_of_a_state_say_what_was_done(chain: Chain, few: Path, tmp_path: Path) -> None:
    settings = config(few, structures=["GTV"])
    rows = run(chain, tmp_path / "out", settings).states("GTV")
    assert list(rows) == sorted(s.name for s in states_of("demo", MODES))
    plain, noisy = rows["original"], rows["noise_1x_1"]
    assert (plain["noise_sd"], plain["noise_seed"], plain["contour_seed"]) == (0.0, None, None)
    key = f"{plain['image_id']}/{plain['structure_id']}"
    seeds = [seed_of(settings.seed, chain.course.image_digest, key, factor, 1) for factor in ("noise", "contour")]
    everything = next(r for name, r in rows.items() if "noise" in name and "contour" in name)
    assert [everything["noise_seed"], everything["contour_seed"]] == seeds
    assert noisy["noise_seed"] == seeds[0] != rows["noise_1x_2"]["noise_seed"]
    assert noisy["noise_sd"] == everything["noise_sd"] == pytest.approx(NOISE_HU, rel=0.1)
    assert [everything[f"translation_{axis}_mm"] for axis in "xyz"] == pytest.approx([0.75, 0.75, 0.75])
    assert (everything["rotation_deg"], everything["volume_pct"], everything["contour_sd_mm"]) == (3.0, 10.0, 1.0)
    for volume_pct in (-10, 10):
        assert rows[f"volume_{volume_pct:+d}"]["voxels"] == round(plain["voxels"] * (1 + volume_pct / 100))
    spread = noisy["original_firstorder_Variance"] - plain["original_firstorder_Variance"]
    assert spread == pytest.approx(noisy["noise_sd"] ** 2, rel=0.25), "280 draws know a variance to 9 %"
    assert noisy["original_shape_MeshVolume"] == plain["original_shape_MeshVolume"]


@pytest.mark.parametrize("position", ["FFS", "HFP", "HFDR"])
def test_a_motion_is_told_in_patient_coordinates_in_every_position(few: Path, tmp_path: Path, position: str) -> None:
    turned = chain_of(tmp_path, position=position)
    row = run(turned, tmp_path / "out", config(few, structures=["GTV"], modes=["translation"])).states("GTV")
    moved = row["shift_+0.25_+0_+0"]
    course = turned.course.course_id
    reader = read_structures(turned.folder(course, "structures"), turned.folder(course, "prepare_images"))
    expected = 0.75 * reader.grid(moved["image_id"]).row_direction  # a quarter of 3 mm along the rows
    assert [moved[f"translation_{axis}_mm"] for axis in "xyz"] == pytest.approx(expected.tolist())


def test_rows_are_the_same_bytes_whatever_the_workers(chain: Chain, few: Path, tmp_path: Path) -> None:
    one = run(chain, tmp_path / "one", config(few, radiomics={"sequential": True}))
    two = run(chain, tmp_path / "two", config(few), workers=4)
    for name in ("robustness.parquet", "findings.parquet"):
        assert (one.out / name).read_bytes() == (two.out / name).read_bytes()


def test_another_seed_draws_other_numbers_and_leaves_the_rest(chain: Chain, few: Path, tmp_path: Path) -> None:
    settings = config(few, structures=["GTV"])
    one = run(chain, tmp_path / "one", settings).states("GTV")
    two = run(chain, tmp_path / "two", settings.model_copy(update={"seed": 5})).states("GTV")
    differ = {n for n in one if one[n]["original_firstorder_Variance"] != two[n]["original_firstorder_Variance"]}
    assert differ == {n for n in one if "noise" in n or "contour" in n}


def test_disabled_and_nothing_to_do_are_said(chain: Chain, few: Path, tmp_path: Path) -> None:
    assert run(chain, tmp_path / "a", config(few, enabled=False)).record.status == "disabled"
    for name, structures in (("b", ["Nothing"]), ("c", [])):
        none = run(chain, tmp_path / name, config(few, structures=structures))
        assert none.record.status == "not_applicable" and not (none.out / "robustness.parquet").exists()


@pytest.mark.parametrize(
    ("changes", "by_default", "by_name"),
    [
        ({}, True, True),
        ({"structure_source": "derived"}, False, True),
        ({"structure_source": "custom"}, True, True),
        ({"roi_type": "ORGAN", "structure_name_tg263": None}, False, True),
        ({"roi_type": None, "structure_name": "tumour", "structure_name_tg263": "GTVp"}, True, False),
        ({"structure_name": "tumour", "structure_name_tg263": "GTV"}, True, True),
    ],
)
def test_targets_that_were_drawn_are_chosen_and_names_choose_anything(
    changes: dict[str, Any], by_default: bool, by_name: bool
) -> None:
    row = {"structure_name": "GTV", "structure_name_tg263": "GTV", "roi_type": "GTV", "structure_source": "manual"}
    assert is_selected(row | changes, None) is by_default
    assert is_selected(row | changes, ["GTV"]) is by_name


def cut_off(z_mm: float) -> dict[str, Any]:
    """A target whose box reaches so far in z; the outermost slices lie at 28.5 mm."""
    body = Cylinder(CENTRE_MM, (50.0, 44.0), 28.6)
    target = Box(CENTRE_MM, (18.0, 18.0, z_mm))
    return {"solids": {"BODY": ("EXTERNAL", body), "GTV": ("GTV", sphere(CENTRE_MM, 12.0)), "PTV": ("PTV", target)}}


def test_a_structure_at_the_scan_edge_drops_out_and_blocks_nothing(few: Path, tmp_path: Path) -> None:
    edge = chain_of(tmp_path, **cut_off(28.6))
    ran = run(edge, tmp_path / "out", config(few))
    assert (ran.code, ran.record.status) == (ExitCode.DONE, "done"), "another attempt would change nothing"
    assert ran.statuses == {"GTV": Counter(ok=12), "PTV": Counter(scan_edge=12)}
    assert ran.codes == ["ROB_EDGE"] and ran.findings[0].severity.value == "W"
    assert "PTV" in ran.findings[0].object and ran.findings[0].measured.startswith(
        "12 of 12 states scan_edge: it touches"
    )
    still = run(edge, tmp_path / "noise", config(few, modes=["noise"]))
    assert still.statuses["PTV"] == Counter(ok=3) and still.codes == [], "noise needs nothing beyond the image"


def test_a_state_that_leaves_the_image_is_lost_with_the_distance(few: Path, tmp_path: Path) -> None:
    near = chain_of(tmp_path, **cut_off(26.0))  # one slice of 3 mm is left on each side
    outlines = {"modes": ["contour"], "segmentation_perturbation": {"contour_sd_mm": 4.0}}
    ran = run(near, tmp_path / "out", config(few, **outlines))
    assert ran.statuses == {"GTV": Counter(ok=3), "PTV": Counter(scan_edge=2, ok=1)}
    assert ran.states("PTV")["original"]["status"] == "ok"
    lost = ran.states("PTV")["contour_4_1"]
    assert re.fullmatch(r"reaches (3|6|9)\.0 mm beyond the outermost voxel centres of the image", lost["reason"])
    assert lost["original_firstorder_Mean"] is None and lost["voxels"] is None
    assert ran.codes == ["ROB_EDGE"] and ran.findings[0].measured.startswith("2 of 3 states scan_edge: reaches")


def test_a_mask_without_features_has_rows_with_the_reason(chain: Chain, few: Path, tmp_path: Path) -> None:
    ran = run(chain, tmp_path / "out", config(few, radiomics={"min_voxels": 300}))
    assert ran.statuses == {"GTV": Counter(too_small=12), "PTV": Counter(ok=12)}
    assert ran.codes == ["ROB_FAILED"] and ran.record.status == "done"
    assert ran.findings[0].measured == "12 of 12 states too_small: 280 voxels; need 300"


def facts(image: Path, **values: object) -> None:
    path = image / "geometry.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.mark.parametrize(
    ("values", "status", "code"),
    [
        ({"hu_status": "cbct"}, "not_calibrated", "RAD_NOT_CALIBRATED"),
        ({"modality": "PT", "hu_status": "not_ct"}, "not_computed", "RAD_NO_SUV"),
    ],
)
def test_an_image_without_features_is_said_once(
    chain: Chain, few: Path, tmp_path: Path, values: dict[str, str], status: str, code: str
) -> None:
    copy = tmp_path / "prepare_images"
    shutil.copytree(chain.folder(chain.course.course_id, "prepare_images"), copy)
    (image,) = (copy / "images").iterdir()
    facts(image, **values)
    ran = run(chain, tmp_path / "out", config(few), prepare_images=copy)
    assert ran.statuses == {"GTV": Counter({status: 12}), "PTV": Counter({status: 12})}
    assert ran.codes == [code]


def is_gtv_under_noise(work: item.Item) -> bool:
    return np.count_nonzero(work.mask_zyx) == 280 and work.state.name == "noise_1x_1"


def hang(work: item.Item) -> item.StateFeatures:
    """Runs in a worker process."""
    import time

    if is_gtv_under_noise(work):
        time.sleep(600)
    return item.compute(work)


def fail(work: item.Item) -> item.StateFeatures:
    if is_gtv_under_noise(work):
        raise ZeroDivisionError
    return item.compute(work)


def starve(work: item.Item) -> item.StateFeatures:
    if is_gtv_under_noise(work):
        raise MemoryError
    return item.compute(work)


@pytest.mark.parametrize(
    ("compute", "status", "code"),
    [(hang, "timeout", "RES_TIMEOUT"), (fail, "failed", "ROB_FAILED"), (starve, "out_of_memory", "RES_MEMORY")],
)
def test_a_lost_state_is_lost_alone_and_another_attempt_computes_just_that(
    chain: Chain,
    few: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    compute: Callable[[item.Item], item.StateFeatures],
    status: str,
    code: str,
) -> None:
    whole = run(chain, tmp_path / "whole", config(few))
    with monkeypatch.context() as broken:
        broken.setattr(stage, "compute", compute)
        ran = run(chain, tmp_path / "out", config(few, timeout_s=5.0 if status == "timeout" else 600.0))
    assert (ran.code, ran.record.status) == (ExitCode.DONE, "partial")
    assert ran.record.reason == f"states without features: 1 {status}"
    assert ran.statuses == {"GTV": Counter({"ok": 11, status: 1}), "PTV": Counter(ok=12)}
    assert ran.codes == [code] and "GTV" in ran.findings[0].object

    given: list[list[str]] = []
    original = feature_rows.run_items
    monkeypatch.setattr(
        feature_rows,
        "run_items",
        lambda function, items, **options: given.append(list(items)) or original(function, items, **options),
    )
    again = run(chain, tmp_path / "out", config(few))
    assert [len(names) for names in given] == [1] and again.record.status == "done"
    assert (again.out / "robustness.parquet").read_bytes() == (whole.out / "robustness.parquet").read_bytes()


def test_what_changes_numbers_changes_the_key_and_labels_do_not() -> None:
    from rtpipeline.store.keys import settings_digest

    base = settings_digest("robustness", config())
    label = {"robust": {"icc": 0.8, "cov_pct": 30.0}}
    assert settings_digest("robustness", config(thresholds=label, metrics={"qcd": False})) == base
    assert settings_digest("robustness", config(profile="standard")) != base
    assert settings_digest("robustness", config(segmentation_perturbation={"correlation_mm": 5})) != base


def test_the_profiles_of_the_configuration_are_those_there_are() -> None:
    from typing import get_args

    from rtpipeline.config import RobustnessConfig
    from rtpipeline.robustness.states import FIELDS_OF_MODE, PROFILES

    fields = RobustnessConfig.model_fields
    assert set(get_args(fields["profile"].annotation)) == set(PROFILES)
    assert list(FIELDS_OF_MODE) == RobustnessConfig().modes == MODES
