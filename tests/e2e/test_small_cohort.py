"""Three small patients without networks: what runs at first, what runs again, and that the numbers are the laptop's.

The tests go on where the one before ended, as a cohort does in its life.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from rtpipeline.demo.headers import save as save_dataset
from rtpipeline.demo.write_rtrecord import Fraction, rtrecord_dataset
from rtpipeline.stages import COURSE_STAGES, STAGES
from tests.e2e.cluster import Cluster, Submitted, tables_in
from tests.e2e.exports import SMALL as COHORT
from tests.e2e.exports import patient, save, write_config
from tests.whole_runs import assert_same_contents, rtpipeline

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

CHANGED_WITH_RADIOMICS = {"radiomics", "robustness", "qc", "aggregation", "verdict"}
"""Robustness reads the section too; qc and aggregation come after."""


@pytest.fixture(scope="module")
def laptop(cluster: Cluster, export: Path, config: Path, work: Path) -> Path:
    """A store of the same export by `rtpipeline run` on this machine, with the same secret."""
    secret, store = work / "secret", work / "laptop"
    secret.write_text(cluster.secret_text)
    where = ("--input", export, "--output", store, "--cohort", COHORT)
    rtpipeline("run", *where, "--config", config, "--secret-file", secret)
    return store


def test_every_course_has_a_pod_for_each_stage(cluster: Cluster, first: Submitted) -> None:
    (workflow,) = first.workflows
    assert workflow["status"]["phase"] == "Succeeded"
    wanted = {"organize": 1, "aggregation": 1, "verdict": 1} | dict.fromkeys(COURSE_STAGES, 3)
    assert first.stages == wanted
    for course in {p.course for p in first.pods if p.course}:
        ended = {p.stage: p for p in first.pods if p.course == course}
        for name in COURSE_STAGES:
            for before in STAGES[name].upstream:
                assert ended[before].ended <= ended[name].started, (course, before, name)


def test_each_stage_left_three_objects_and_nothing_else(cluster: Cluster, first: Submitted) -> None:
    folders: dict[str, set[str]] = {}
    for key in cluster.list_keys(f"{COHORT}/courses/"):
        folder, _, name = key.rpartition("/")
        folders.setdefault(folder, set()).add(name)
    assert len(folders) == 3 * len(COURSE_STAGES)
    assert set(map(frozenset, folders.values())) == {frozenset({"data.tgz", "tables.tgz", "stage.json"})}


def test_tables_are_those_of_the_laptop(cluster: Cluster, first: Submitted, laptop: Path, tmp_path: Path) -> None:
    there = cluster.results(COHORT, tmp_path / "fetched")
    here = tables_in(laptop / COHORT / "results" / "latest")
    assert len(here["dvh_metrics"]) > 0 and len(here["radiomics"]) > 0 and len(here["robustness"]) > 0
    assert_same_contents(here, there)


def test_the_same_again_starts_no_pod(cluster: Cluster, first: Submitted, export: Path, config: Path) -> None:
    assert cluster.submit(COHORT, export, config).workflows == []


def test_a_number_of_workers_starts_no_pod(cluster: Cluster, first: Submitted, export: Path, work: Path) -> None:
    other = write_config(work / "workers.yaml", workers=7, segmentation={"workers": 3})
    assert cluster.submit(COHORT, export, other).workflows == []


def test_a_setting_of_radiomics_runs_what_reads_it(
    cluster: Cluster, first: Submitted, export: Path, work: Path
) -> None:
    other = write_config(work / "radiomics.yaml", radiomics={"structures": ["GTV", "SpinalCord"]})
    stages = cluster.submit(COHORT, export, other).stages
    assert set(stages) == CHANGED_WITH_RADIOMICS
    assert stages["radiomics"] == stages["qc"] == 3


def test_a_new_patient_runs_alone(cluster: Cluster, first: Submitted, export: Path, config: Path) -> None:
    save(export, 4)
    before = {p.course for p in first.pods if p.course}
    again = cluster.submit(COHORT, export, config)
    (new,) = {p.course for p in again.pods if p.course}
    assert new not in before
    assert again.stages == {"organize": 1, "aggregation": 1, "verdict": 1} | dict.fromkeys(COURSE_STAGES, 1)


def test_a_late_treatment_record_runs_no_network(
    cluster: Cluster, first: Submitted, export: Path, config: Path
) -> None:
    late = patient(1)
    assert late.rtplan is not None
    save_dataset(rtrecord_dataset(Fraction(1, date(2024, 3, 12)), late.study, late.rtplan), export / "late.dcm")
    again = cluster.submit(COHORT, export, config)
    of_image = {name for name in COURSE_STAGES if STAGES[name].digest == "image"}
    assert "segmentation" in of_image
    assert not of_image & set(again.stages)
    assert again.stages["prepare_rt"] == 1


def test_the_tables_after_all_that_are_those_of_the_laptop(
    cluster: Cluster, first: Submitted, laptop: Path, export: Path, config: Path, work: Path, tmp_path: Path
) -> None:
    where = ("--input", export, "--output", laptop, "--cohort", COHORT)
    rtpipeline("run", *where, "--config", config, "--secret-file", work / "secret")
    there = cluster.results(COHORT, tmp_path / "fetched")
    assert_same_contents(tables_in(laptop / COHORT / "results" / "latest"), there)
