"""CPUs, memory and threads of the container, and what the published example configurations make of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from rtpipeline.config import parse_config
from rtpipeline.execution import environment
from rtpipeline.execution.environment import (
    available_cpus,
    available_memory_mib,
    cpu_quota,
    gpus,
    memory_limit_mib,
    pool_limits,
    stage_threads,
    workers,
)

MINIMAL = {"workers": "auto", "segmentation": {"workers": 1}, "radiomics": {"thread_limit": None}}
MEDIUM = {
    "workers": 8,
    "segmentation": {"workers": 1, "threads_per_worker": 4, "nr_threads_resample": 4, "nr_threads_save": 4},
    "radiomics": {"thread_limit": 4},
    "custom_models": {"workers": 1},
}
LARGE = {
    "workers": 32,
    "segmentation": {"workers": 2, "threads_per_worker": 8, "nr_threads_resample": 8, "nr_threads_save": 8},
    "custom_models": {"workers": 2},
    "radiomics": {"thread_limit": 8},
}


@pytest.mark.parametrize(
    ("raw", "cpus", "at_once", "pools", "threads"),
    [
        (MINIMAL, 1, 1, (1, 1), {"segmentation": 4, "radiomics": 1}),
        (MINIMAL, 2, 2, (1, 1), {"segmentation": 4, "radiomics": 1}),
        (MINIMAL, 5, 4, (1, 1), {"segmentation": 4, "radiomics": 1}),
        (MINIMAL, 8, 6, (1, 1), {"segmentation": 4, "radiomics": 1}),
        (MINIMAL, 64, 32, (1, 1), {"segmentation": 4, "radiomics": 1}),
        (MEDIUM, 16, 8, (1, 1), {"segmentation": 4, "custom_models": 4, "radiomics": 4, "robustness": 4}),
        (LARGE, 64, 32, (2, 2), {"segmentation": 8, "custom_models": 8, "radiomics": 8, "robustness": 8}),
        (LARGE, 16, 16, (2, 2), {"segmentation": 8, "radiomics": 8}),
    ],
)
def test_the_published_configurations_take_effect(raw, cpus, at_once, pools, threads):
    config = parse_config(raw)
    assert workers(config, cpus) == at_once
    limits = pool_limits(config, cpus)
    assert (limits["seg_workers"], limits["custom_seg_workers"]) == pools
    assert {name: stage_threads(name, config) for name in threads} == threads
    assert stage_threads("dvh", config) == 1, "fixed by the stage table"


def test_more_workers_never_mean_more_threads():
    few, many = parse_config({"workers": 1}), parse_config({"workers": 32})
    assert all(stage_threads(s, few) == stage_threads(s, many) for s in environment_stages())


def environment_stages():
    from rtpipeline.stages import STAGES

    return STAGES


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({"cpu.max": "250000 100000"}, 2.5),
        ({"cpu.max": "max 100000"}, None),
        ({"cpu/cpu.cfs_quota_us": "400000", "cpu/cpu.cfs_period_us": "100000"}, 4.0),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
        ({}, None),
    ],
)
def test_the_cpu_quota_of_both_cgroup_versions(tmp_path, files, quota):
    write(tmp_path, files)
    assert cpu_quota(tmp_path) == quota


def test_cpus_are_those_of_quota_and_affinity_and_at_least_one(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(16)))
    assert available_cpus(tmp_path) == 16
    write(tmp_path, {"cpu.max": "250000 100000"})
    assert available_cpus(tmp_path) == 2
    write(tmp_path, {"cpu.max": "50000 100000"})
    assert available_cpus(tmp_path) == 1


def test_memory_is_that_of_the_container(tmp_path):
    host = memory_limit_mib(tmp_path)
    write(tmp_path, {"memory.max": str(512 * 2**20), "memory.current": str(200 * 2**20)})
    assert memory_limit_mib(tmp_path) == 512 < host
    assert available_memory_mib(tmp_path) == 312
    write(tmp_path, {"memory.max": "max"})
    assert memory_limit_mib(tmp_path) == host


def test_memory_that_the_kernel_would_give_back_counts_as_free(tmp_path):
    write(tmp_path, {"memory.max": str(512 * 2**20), "memory.current": str(500 * 2**20)})
    write(tmp_path, {"memory.stat": f"anon 1000\ninactive_file {200 * 2**20}\nactive_file {100 * 2**20}"})
    assert available_memory_mib(tmp_path) == 312


def test_memory_of_a_container_with_the_first_cgroup_version(tmp_path):
    mib = 2**20
    write(tmp_path, {"memory/memory.limit_in_bytes": str(512 * mib), "memory/memory.usage_in_bytes": str(500 * mib)})
    write(tmp_path, {"memory/memory.stat": f"inactive_file 1\ntotal_inactive_file {100 * mib}\ntotal_active_file 0"})
    assert memory_limit_mib(tmp_path) == 512
    assert available_memory_mib(tmp_path) == 112


def write(folder, files):
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")


@pytest.mark.parametrize("threads", [1, 4])
def test_the_thread_limits_reach_the_libraries_of_a_fresh_process(threads):
    code = "import json, numba, os; print(json.dumps([numba.config.NUMBA_NUM_THREADS, os.environ['OMP_NUM_THREADS']]))"
    out = subprocess.run(
        [sys.executable, "-c", code],
        env=environment.process_environment(threads),
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert json.loads(out) == [threads, str(threads)]


def test_the_gpus_are_those_of_the_machine_unless_the_user_has_chosen(tmp_path, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    for name in ("nvidia10", "nvidia2", "nvidia0", "nvidiactl", "nvidia-uvm"):
        (tmp_path / name).touch()
    assert gpus(tmp_path) == ["0", "2", "10"]
    for chosen, seen in (("2, GPU-8f3a", ["2", "GPU-8f3a"]), ("", []), ("-1", [])):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", chosen)
        assert gpus(tmp_path) == seen


def test_automatic_segmentation_workers_are_one_for_each_gpu(monkeypatch):
    config = parse_config({"workers": 8, "segmentation": {"workers": "auto"}})
    for visible, limit in (("", 1), ("0", 1), ("0,1,2", 3)):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        assert pool_limits(config, 16)["seg_workers"] == limit
