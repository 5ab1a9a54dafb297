"""Which device a network gets."""

from __future__ import annotations

import pytest

from rtpipeline.segmentation.device import Device, choose_device


@pytest.mark.parametrize(
    ("setting", "gpus", "chosen"),
    [
        ("cpu", ["0", "1"], Device()),
        ("auto", [], Device(is_fallback=True)),
        ("auto", ["3"], Device("3")),
        ("gpu", ["2", "3"], Device("2")),
        ("gpu:1", ["2", "3"], Device("3")),
        ("gpu:1", ["2"], None),
        ("gpu", [], None),
    ],
)
def test_a_gpu_asked_for_by_name_is_never_replaced_by_the_cpu(
    setting: str, gpus: list[str], chosen: Device | None
) -> None:
    assert choose_device(setting, gpus) == chosen
