"""Which models a course is offered, and whether their files are those that were declared."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from rtpipeline.config import Config, CustomModelsConfig
from rtpipeline.segmentation.custom_model import InvalidModelError
from rtpipeline.segmentation.model_folder import DEMO_MODEL, CustomModel, check_model, offered_models, weights_in_use
from tests.segmentation.lesions import DATASET, ModelFolder, model_folder


def only(root: Path) -> CustomModel:
    (model,), invalid = offered_models(CustomModelsConfig(root=root), demo=False)
    assert invalid == []
    return model


def fault(folder: ModelFolder) -> InvalidModelError:
    with pytest.raises(InvalidModelError) as raised:
        check_model(only(folder.base.parent))
    return raised.value


def test_a_model_whose_files_are_as_declared_passes(tmp_path: Path) -> None:
    model_folder(tmp_path)
    check_model(only(tmp_path))


@pytest.mark.parametrize("name", ["dataset.json", "plans.json", "fold_0/checkpoint_final.pth"])
def test_a_file_of_another_hash_or_a_missing_one_is_refused(tmp_path: Path, name: str) -> None:
    """A checkpoint can run code when it is loaded: one byte more is another file."""
    folder = model_folder(tmp_path)
    path = folder.files / name
    path.write_bytes(path.read_bytes() + b" ")
    assert f"{name} has sha256" in fault(folder).measured
    path.unlink()
    assert fault(folder).measured == f"{name} is missing"


def test_names_go_by_number_and_not_by_position(tmp_path: Path) -> None:
    """A list of names in the order of a paper, not of dataset.json, once swapped organs without a word."""
    found = fault(model_folder(tmp_path, labels={1: "ventricle", 2: "atrium"}))
    assert found.measured == "label 1 declared as 'ventricle'; label 2 declared as 'atrium'"
    assert found.expected == "label 1 is 'atrium' in dataset.json; label 2 is 'ventricle' in dataset.json"


def test_a_label_too_few_or_too_many_is_refused(tmp_path: Path) -> None:
    assert "label 2 declared as None" in fault(model_folder(tmp_path / "a", labels={1: "atrium"})).measured
    more = model_folder(tmp_path / "b", labels={1: "atrium", 2: "ventricle", 3: "aorta"})
    assert "label 3 is None in dataset.json" in fault(more).expected


@pytest.mark.parametrize(
    ("dataset", "said"),
    [
        (DATASET | {"labels": {"background": 0, "whole": [1, 2], "core": [2]}}, "regions"),
        (DATASET | {"channel_names": {"0": "CT", "1": "PET"}}, "2 input channels"),
        ({"channel_names": {"0": "CT"}}, "no labels"),
    ],
)
def test_a_network_that_needs_more_than_one_image_and_plain_labels_is_refused(
    tmp_path: Path, dataset: dict[str, Any], said: str
) -> None:
    assert said in fault(model_folder(tmp_path).rewrite("dataset.json", dataset)).measured


def test_an_ignore_label_of_the_training_is_no_structure(tmp_path: Path) -> None:
    labels = {**DATASET["labels"], "ignore": 3}  # type: ignore[dict-item]
    model_folder(tmp_path).rewrite("dataset.json", DATASET | {"labels": labels})
    check_model(only(tmp_path))


def test_the_second_network_of_a_cascade_is_refused_also_where_it_inherits_that(tmp_path: Path) -> None:
    plans = {"configurations": {"3d_fullres": {"inherits_from": "base"}, "base": {"previous_stage": "3d_lowres"}}}
    assert "cascade" in fault(model_folder(tmp_path).rewrite("plans.json", plans)).measured


def test_a_network_trained_on_ct_is_no_mr_model(tmp_path: Path) -> None:
    assert "trained on CT" in fault(model_folder(tmp_path, modality="MR")).measured


def test_only_courses_of_the_demo_are_offered_its_model(tmp_path: Path) -> None:
    assert offered_models(CustomModelsConfig(), demo=False) == ([], [])
    (model,), invalid = offered_models(CustomModelsConfig(), demo=True)
    assert (model.name, model.is_phantom, model.is_builtin, invalid) == ("phantom_gtv", True, True, [])
    check_model(model)


def test_a_phantoms_network_is_known_by_its_hash_whatever_its_declaration_says(tmp_path: Path) -> None:
    copy = tmp_path / "renamed"
    shutil.copytree(DEMO_MODEL, copy)
    path = copy / "custom_model.yaml"
    text = path.read_text().replace("phantom: true", "phantom: false").replace("phantom_gtv", "lung_tumour")
    path.write_text(text)
    model = only(tmp_path)
    assert (model.name, model.declaration.phantom, model.is_phantom) == ("lung_tumour", False, True)
    assert all(name.startswith("phantom/") for name in model.weights)


def test_models_are_chosen_by_name_and_may_be_switched_off(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        model_folder(tmp_path, name, enabled=name != "c")
    models, invalid = offered_models(CustomModelsConfig(root=tmp_path, models=["b", "c", "d"]), demo=False)
    assert [m.name for m in models] == ["b"]
    assert [(i.name, i.error.measured) for i in invalid] == [("d", "not declared; declared: a, b, c")]


def test_of_two_models_with_one_name_neither_runs(tmp_path: Path) -> None:
    model_folder(tmp_path, "a")
    other = model_folder(tmp_path, "b")
    other.declare(name="a")
    models, invalid = offered_models(CustomModelsConfig(root=tmp_path), demo=False)
    assert (models, [i.name for i in invalid]) == ([], ["a"])


def test_a_broken_declaration_is_lost_alone(tmp_path: Path) -> None:
    model_folder(tmp_path, "good")
    model_folder(tmp_path, "bad").declare(lables={1: "x"})
    models, invalid = offered_models(CustomModelsConfig(root=tmp_path), demo=False)
    assert ([m.name for m in models], [i.name for i in invalid]) == (["good"], ["Folder_bad"])


def test_a_root_without_models_is_told(tmp_path: Path) -> None:
    for root, said in ((tmp_path, "no folder with"), (tmp_path / "typo", "no such folder")):
        models, (invalid,) = offered_models(CustomModelsConfig(root=root), demo=False)
        assert (models, invalid.name) == ([], "custom_models.root")
        assert said in invalid.error.measured and str(tmp_path) not in invalid.error.measured


def in_use(root: Path) -> dict[str, str]:
    return weights_in_use(Config(custom_models=CustomModelsConfig(root=root)))


def test_weights_in_use_follow_every_file_as_it_is(tmp_path: Path) -> None:
    """A checkpoint that is put right has to give another key: the declared hash alone would keep the failed output."""
    folder = model_folder(tmp_path)
    whole = in_use(tmp_path)
    name = "Folder_heart_parts/fold_0/checkpoint_final.pth"
    assert whole[name] == folder.declaration["sha256"]["fold_0/checkpoint_final.pth"]
    assert "phantom/Dataset901_phantom_gtv/custom_model.yaml" in whole
    checkpoint = folder.files / "fold_0" / "checkpoint_final.pth"
    content = checkpoint.read_bytes()
    checkpoint.unlink()
    assert in_use(tmp_path) == whole | {name: "absent"}
    checkpoint.write_bytes(content)
    assert in_use(tmp_path) == whole
    folder.declare(step_size=0.8)
    changed = {key for key, value in in_use(tmp_path).items() if whole[key] != value}
    assert changed == {"Folder_heart_parts/custom_model.yaml"}
    assert weights_in_use(Config(custom_models=CustomModelsConfig(enabled=False, root=tmp_path))) == {}


def test_weights_in_use_are_those_of_the_models_asked_for(tmp_path: Path) -> None:
    for name in ("a", "b"):
        model_folder(tmp_path, name)
    (tmp_path / "unreadable").mkdir()
    (tmp_path / "unreadable" / "custom_model.yaml").write_text("name: [")
    asked = weights_in_use(Config(custom_models=CustomModelsConfig(root=tmp_path, models=["b"])))
    assert {name.split("/")[0] for name in asked} == {"Folder_b", "unreadable"}


def test_an_empty_root_is_told_from_none(tmp_path: Path) -> None:
    """The stage reports it, so that it may not stand under the key of a run without one."""
    assert in_use(tmp_path) == in_use(tmp_path / "typo") == weights_in_use(Config()) | {"custom_models.root": "absent"}
