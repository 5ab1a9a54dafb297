"""What `custom_model.yaml` may say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rtpipeline.segmentation.custom_model import InvalidModelError, read_declaration
from tests.segmentation.lesions import model_folder

HASH = "0" * 64


def measured(tmp_path: Path, **declared: Any) -> str:
    """What is wrong with a declaration that is right but for these keys."""
    folder = model_folder(tmp_path, **declared)
    with pytest.raises(InvalidModelError) as raised:
        read_declaration(folder.base / "custom_model.yaml")
    return raised.value.measured


def test_a_declaration_has_every_default_but_name_folder_labels_and_hashes(tmp_path: Path) -> None:
    read = read_declaration(model_folder(tmp_path).base / "custom_model.yaml")
    assert (read.name, read.labels) == ("heart_parts", {1: "atrium", 2: "ventricle"})
    assert (read.modality, read.orientation, read.step_size, read.phantom) == ("CT", "LPS", 0.5, False)
    assert (read.used_folds, read.checkpoint) == ((0,), "checkpoint_final.pth")


def test_an_unknown_key_is_refused_with_the_nearest_one(tmp_path: Path) -> None:
    assert measured(tmp_path, step_sise=0.5) == "unknown key 'step_sise'; did you mean 'step_size'?"


@pytest.mark.parametrize("folder", ["../elsewhere", "/srv/models/x", "a/../../b", ".."])
def test_the_model_folder_may_not_leave_the_declarations_folder(tmp_path: Path, folder: str) -> None:
    made = model_folder(tmp_path)
    made.declare(folder=folder)
    with pytest.raises(InvalidModelError, match="within the model's folder"):
        read_declaration(made.base / "custom_model.yaml")


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("name", "../x", "name"),
        ("name", "with space", "name"),
        ("labels", {0: "background", 1: "atrium"}, "labels.0"),
        ("labels", {}, "at least one"),
        ("labels", {1: "same", 2: "same"}, "each name may stand there once"),
        ("sha256", {"dataset.json": HASH, "plans.json": HASH}, "no checkpoint declared"),
        ("sha256", {"dataset.json": HASH, "fold_0/checkpoint_final.pth": HASH}, "plans.json not declared"),
        ("sha256", {"dataset.json": "12ab"}, "64 hexadecimal digits"),
        ("sha256", {"../dataset.json": HASH}, "within the model's folder"),
        ("folds", [0, 1], "fold 1 is not declared"),
        ("orientation", "LAP", "three letters"),
        ("orientation", "XYZ", "three letters"),
        ("required_body_regions", ["CHEST"], "required_body_regions"),
        ("min_region_confidence", 1.5, "min_region_confidence"),
        ("step_size", 0, "step_size"),
    ],
)
def test_a_value_that_does_not_fit_is_told_with_its_key(tmp_path: Path, key: str, value: Any, said: str) -> None:
    assert said in measured(tmp_path, **{key: value})


def test_text_that_is_no_mapping_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "custom_model.yaml"
    for text in ("- a\n- b\n", "a: [1", "\xff"):
        path.write_text(text, encoding="latin-1")
        with pytest.raises(InvalidModelError):
            read_declaration(path)


def test_declared_folds_are_averaged_in_order_and_a_network_of_all_data_stands_alone(tmp_path: Path) -> None:
    hashes = {"dataset.json": HASH, "plans.json": HASH}
    folds = {f"fold_{n}/checkpoint_best.pth": HASH for n in ("10", "2")}
    read = read_declaration(model_folder(tmp_path / "a", sha256=hashes | folds).base / "custom_model.yaml")
    assert (read.used_folds, read.checkpoint) == ((2, 10), "checkpoint_best.pth")
    folds["fold_all/checkpoint_best.pth"] = HASH
    read = read_declaration(model_folder(tmp_path / "b", sha256=hashes | folds).base / "custom_model.yaml")
    assert read.used_folds == ("all",)
    read = read_declaration(model_folder(tmp_path / "c", sha256=hashes | folds, folds=[2]).base / "custom_model.yaml")
    assert read.used_folds == (2,)
