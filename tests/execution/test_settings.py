"""Weights are part of the settings of the stages that load them, and of every stage behind those."""

from __future__ import annotations

from rtpipeline.config import parse_config
from rtpipeline.execution import settings
from rtpipeline.stages import STAGES, dependants


def test_other_weights_change_the_keys_of_the_network_and_of_what_waits_for_it(monkeypatch):
    config = parse_config({})
    before = settings.all_settings(config)
    monkeypatch.setattr(settings, "weights_in_use", lambda config: {"segmentation": {"checkpoint.pth": "0" * 64}})
    after = settings.all_settings(config)
    changed = {name for name in STAGES if before[name] != after[name]}
    assert changed == {"segmentation", *dependants("segmentation")}


def test_a_network_that_is_switched_off_has_no_weights():
    assert settings.weights_in_use(parse_config({"segmentation": {"enabled": False}})) == {}
    assert "segmentation" in settings.weights_in_use(parse_config({}))
