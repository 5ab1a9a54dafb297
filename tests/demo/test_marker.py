from __future__ import annotations

from rtpipeline.demo.marker import carries_demo_marker
from rtpipeline.demo.small import small_patient


def test_every_object_of_the_demo_carries_the_marker() -> None:
    for ds in small_patient().datasets():
        assert carries_demo_marker(ds.Manufacturer, ds.ManufacturerModelName)


def test_a_hospital_scanner_does_not() -> None:
    assert not carries_demo_marker("RTpipeline", "Some scanner")
    assert not carries_demo_marker("Some vendor", "RTpipeline demo phantom")
    assert not carries_demo_marker(None, None)
