"""The settings digests of a run: the configuration, and the weights that its networks would load."""

from __future__ import annotations

from collections.abc import Mapping

from rtpipeline.config import Config
from rtpipeline.stages import STAGES
from rtpipeline.store.keys import settings_digest


def all_settings(config: Config) -> dict[str, str]:
    """The settings digest of every stage."""
    return settings_with(config, weights_in_use(config))


def settings_with(
    config: Config, weights: Mapping[str, Mapping[str, str]], libraries: Mapping[str, str] | None = None
) -> dict[str, str]:
    """The settings digest of every stage with given weights, and libraries (None: those of this machine)."""
    found: dict[str, str] = {}
    for name in STAGES:  # in an order in which what is waited for comes first
        found[name] = settings_digest(name, config, weights, libraries=libraries, upstream=found)
    return found


def weights_in_use(config: Config) -> dict[str, dict[str, str]]:
    """For each stage with a network, file name to sha256 of what it would load, `absent` where that is missing."""
    from rtpipeline.segmentation.model_folder import weights_in_use as of_custom_models
    from rtpipeline.segmentation.weights import weights_in_use as of_segmentation

    found = {"segmentation": of_segmentation(config)} if config.segmentation.enabled else {}
    if config.custom_models.enabled:
        found["custom_models"] = of_custom_models(config)
    return found
