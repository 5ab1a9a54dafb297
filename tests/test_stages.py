from __future__ import annotations

import subprocess
import sys
from importlib import import_module

import pytest

from rtpipeline.config import Config
from rtpipeline.stages import COURSE_STAGES, STAGES, dependants

EXPECTED = [
    "organize",
    "prepare_images",
    "prepare_rt",
    "segmentation",
    "custom_models",
    "structures",
    "dvh",
    "radiomics",
    "robustness",
    "qc",
    "aggregation",
]


def test_the_table_holds_the_eleven_stages_in_order():
    assert list(STAGES) == EXPECTED


@pytest.mark.parametrize("name", EXPECTED)
def test_a_stage_comes_after_everything_it_waits_for(name):
    before = EXPECTED[: EXPECTED.index(name)]
    assert set(STAGES[name].upstream) <= set(before)


@pytest.mark.parametrize("name", EXPECTED)
def test_a_stage_reads_only_configuration_that_exists(name):
    for section, _, field in (entry.partition(".") for entry in STAGES[name].config):
        assert section in Config.model_fields
        assert not field or field in type(getattr(Config(), section)).model_fields


@pytest.mark.parametrize("name", [n for n in EXPECTED if STAGES[n].entry])
def test_the_entry_of_a_built_stage_can_be_called(name):
    module, function = STAGES[name].entry.split(":")
    assert callable(getattr(import_module(module), function))


@pytest.mark.parametrize("name", EXPECTED)
def test_the_memory_ladder_rises(name):
    ladder = STAGES[name].resources.memory_mib
    assert list(ladder) == sorted(set(ladder))


def test_segmentation_stages_ask_for_one_gpu_under_their_pool():
    assert {n: (s.resources.gpu, s.pool) for n, s in STAGES.items() if s.image == "gpu"} == {
        "segmentation": (1, "seg_workers"),
        "custom_models": (1, "custom_seg_workers"),
    }


def test_dependants_are_found_through_others():
    assert dependants("prepare_rt") == {"structures", "dvh", "radiomics", "robustness", "qc", "aggregation"}
    assert dependants("aggregation") == set()


def test_course_stages_are_the_nine_of_a_course():
    assert list(COURSE_STAGES) == EXPECTED[1:-1]


def test_the_table_imports_no_stage_code():
    code = "import sys, rtpipeline.stages; print([m for m in sys.modules if m.startswith('rtpipeline.')])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "['rtpipeline.stages']"
