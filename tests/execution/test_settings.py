"""Weights are part of the settings of the stages that load them, and of every stage behind those."""

from __future__ import annotations

import subprocess
import sys

from rtpipeline.config import parse_config
from rtpipeline.execution import settings
from rtpipeline.stages import STAGES, dependants
from tests.segmentation.lesions import model_folder


def test_other_weights_change_the_keys_of_the_network_and_of_what_waits_for_it(monkeypatch):
    config = parse_config({})
    before = settings.all_settings(config)
    monkeypatch.setattr(settings, "weights_in_use", lambda config: {"segmentation": {"checkpoint.pth": "0" * 64}})
    after = settings.all_settings(config)
    changed = {name for name in STAGES if before[name] != after[name]}
    assert changed == {"segmentation", *dependants("segmentation")}


def test_other_models_change_the_keys_of_custom_models_and_of_what_waits_for_them(tmp_path):
    before = settings.all_settings(parse_config({"custom_models": {"root": str(tmp_path)}}))
    model_folder(tmp_path, "heart_parts")
    after = settings.all_settings(parse_config({"custom_models": {"root": str(tmp_path)}}))
    changed = {name for name in STAGES if before[name] != after[name]}
    assert changed == {"custom_models", *dependants("custom_models")}


def test_a_network_that_is_switched_off_has_no_weights():
    assert set(settings.weights_in_use(parse_config({}))) == {"segmentation", "custom_models"}
    for name in ("segmentation", "custom_models"):
        assert name not in settings.weights_in_use(parse_config({name: {"enabled": False}}))


def test_the_keys_of_a_run_are_known_without_loading_a_network():
    code = (
        "import sys; from rtpipeline.config import Config; from rtpipeline.execution.settings import all_settings;"
        "all_settings(Config());"
        "print(sorted({'torch', 'nnunetv2', 'numpy', 'nibabel', 'SimpleITK'} & sys.modules.keys()))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"
