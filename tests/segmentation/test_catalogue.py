"""The catalogue is the library's: what is read from its tables agrees with what its own code would load."""

from __future__ import annotations

import subprocess
import sys

import pytest

from rtpipeline.config import parse_config
from rtpipeline.errors import ConfigError
from rtpipeline.segmentation import catalogue
from rtpipeline.segmentation.weights import PHANTOM, configured_networks, configured_tasks, subset_of


@pytest.mark.parametrize(
    ("name", "mode", "datasets", "trainer", "edge_mm"),
    [
        ("total", "full", [291, 292, 293, 294, 295], "nnUNetTrainerNoMirroring", 1.5),
        ("total", "fast", [297], "nnUNetTrainer_4000epochs_NoMirroring", 3.0),
        ("total", "fastest", [298], "nnUNetTrainer_4000epochs_NoMirroring", 6.0),
        ("total_mr", "full", [850, 851], "nnUNetTrainer_2000epochs_NoMirroring", 1.5),
        ("body", "fast", [300], "nnUNetTrainer", 6.0),
        ("liver_lesions", "full", [591, 297], "nnUNetTrainer", 1.0),
        ("teeth", "full", [113, 115, 298], "nnUNetTrainer_onlyMirror01", 0.5),
        ("vertebrae_pp_refined", "full", [803, 305], "nnUNetTrainerNoMirroring", 1.5),
    ],
)
def test_a_task_names_its_networks_and_those_that_it_crops_with(
    name: str, mode: catalogue.Mode, datasets: list[int], trainer: str, edge_mm: float
) -> None:
    task = catalogue.task(name, mode)
    assert [network.dataset for network in task.networks] == datasets
    assert task.networks[0].configuration.startswith(f"{trainer}__nnUNetPlans__3d_")
    assert task.resolution_mm == edge_mm


def test_selected_structures_need_the_coarse_network_too() -> None:
    assert [n.dataset for n in catalogue.task("total", "fast", subset=True).networks] == [297, 298]
    assert [n.dataset for n in catalogue.task("total", "fastest", subset=True).networks] == [298]
    assert [n.dataset for n in catalogue.task("total_mr", "fastest", subset=True).networks] == [853, 852]


def test_a_task_without_a_mode_takes_the_next_finer_one() -> None:
    assert catalogue.best_mode("body", fast=False, fastest=True) == "fast"
    assert catalogue.best_mode("lung_vessels", fast=True, fastest=True) == "full"
    assert catalogue.best_mode("total", fast=True, fastest=True) == "fastest"


def test_every_task_of_the_library_can_be_described() -> None:
    for name in catalogue.task_names():
        for mode in catalogue.modes(name):
            task = catalogue.task(name, mode)
            assert task.networks and task.classes and 0 not in task.classes
            assert task.modality in catalogue.TOTAL


def test_licences_are_the_librarys() -> None:
    assert not catalogue.task("total").needs_license
    assert catalogue.task("heartchambers_highres").needs_license


def test_the_phantoms_networks_lie_where_their_tasks_look() -> None:
    for name, mode in (("total", "fastest"), ("total", "fast"), ("body", "fast")):
        for network in catalogue.task(name, mode).networks:  # type: ignore[arg-type]
            assert (PHANTOM / network.path / "plans.json").is_file()


def test_extra_models_run_on_their_own_modality_only() -> None:
    section = parse_config({"segmentation": {"fastest": True, "extra_models": ["body", "body_mr"]}}).segmentation
    assert configured_tasks(section, "CT") == [("total", "fastest"), ("body", "fast")]
    assert configured_tasks(section, "MR") == [("total_mr", "fastest"), ("body_mr", "fast")]
    assert {n.dataset for n in configured_networks(section)} == {298, 300, 853, 598}


def test_a_subset_keeps_the_structures_that_a_task_has() -> None:
    section = parse_config({"segmentation": {"roi_subset": ["liver", "heart"]}}).segmentation
    assert subset_of(section, "total") == ["liver", "heart"]
    assert subset_of(section, "body") == []


@pytest.mark.parametrize(
    ("section", "says"),
    [
        ({"roi_subset": ["livr"]}, "'livr'; did you mean 'liver'?"),
        ({"extra_models": ["lung_vesels"]}, "'lung_vesels'; did you mean 'lung_vessels'?"),
        ({"device": "gpu:x"}, "segmentation.device"),
    ],
)
def test_a_slip_in_the_configuration_shows_before_anything_runs(section: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigError, match=says.replace("?", r"\?")):
        parse_config({"segmentation": section})


def test_the_catalogue_loads_no_network_library() -> None:
    code = (
        "import sys; from rtpipeline.config import Config; from rtpipeline.segmentation.weights import weights_in_use;"
        "weights_in_use(Config()); print([m for m in ('torch', 'numpy', 'nnunetv2', 'pandas') if m in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.strip() == "[]"
