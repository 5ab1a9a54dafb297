"""The built images, run as a pod runs them. They are in buildah's storage (RTPIPELINE_IMAGE_CACHE); else skipped."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from rtpipeline import __version__
from tests.images.running import Image, engine, missing, oci_config

REPOSITORY = os.environ.get("RTPIPELINE_TEST_IMAGES", "localhost")
DEMO_WEIGHTS = Path("opt/rtpipeline/app/rtpipeline/demo/weights")
WEIGHTS = {".pth", ".pt", ".onnx", ".ckpt", ".safetensors"}
COUNTED = """
import os
from rtpipeline.execution.shipped_kernels import use_shipped_kernels
use_shipped_kernels(os.environ)  # as the program does, before numba reads its settings
from numba.core.caching import Cache
compiled = []
saved = Cache.save_overload
Cache.save_overload = lambda self, *given: (compiled.append(self._name), saved(self, *given))
from rtpipeline.dvh.warm import warm
warm()
print(len(compiled), os.environ["NUMBA_CACHE_DIR"])
"""

PACKED = """
import os
from rtpipeline.execution.shipped_kernels import use_shipped_kernels
use_shipped_kernels(os.environ)
from rtpipeline.kernels import use_pack
print(use_pack())
"""


def mounted(kind: str) -> Iterator[Image]:
    if reason := missing():
        pytest.skip(reason)
    name = f"{REPOSITORY}/rtpipeline-{kind}:{__version__}"
    try:
        config = oci_config(name)
    except subprocess.CalledProcessError:
        pytest.skip(f"no image {name}: images/build.sh makes it (RTPIPELINE_IMAGE_CACHE names its storage)")
    container = engine("from", "--pull-never", name)
    try:
        yield Image(Path(engine("mount", container)), config)
    finally:
        engine("rm", container)


@pytest.fixture(scope="module")
def cpu() -> Iterator[Image]:
    yield from mounted("cpu")


@pytest.fixture(scope="module")
def gpu() -> Iterator[Image]:
    yield from mounted("gpu")


@pytest.fixture(params=["cpu", "gpu"])
def image(request: pytest.FixtureRequest) -> Image:
    found: Image = request.getfixturevalue(request.param)
    return found


def test_it_runs_as_a_user_who_can_write_to_tmp_and_work_only(image: Image) -> None:
    assert image.run("id", "-u").stdout.strip() == "8737"
    script = "for d in / /opt /opt/rtpipeline/app /etc /usr /var /tmp /work; do touch $d/x 2>/dev/null && echo $d; done"
    assert image.run("sh", "-c", script).stdout.split() == ["/tmp", "/work"]


def test_the_program_starts_and_names_its_version(image: Image) -> None:
    done = image.run("rtpipeline", "--version")
    assert (done.stdout, done.stderr, done.returncode) == (f"rtpipeline {__version__}\n", "", 0)
    assert image.run("rtpipeline", "--help", timeout_s=120).returncode == 0
    assert image.run("python", "-m", "workflows.submit", "--help").returncode == 0


def test_labels_and_user_are_as_the_dockerfile_says(image: Image) -> None:
    config = image.config["config"]
    assert isinstance(config, dict)
    assert config["User"] == "8737:8737"
    assert config["Entrypoint"] == ["rtpipeline"]
    assert config["Labels"]["org.opencontainers.image.version"] == __version__


def test_no_weights_but_the_phantoms_are_inside(image: Image) -> None:
    found = [p for p in (image.root / "opt/rtpipeline").rglob("*") if p.suffix in WEIGHTS and p.stat().st_size > 10_000]
    assert found
    assert {p for p in found if not p.is_relative_to(image.root / DEMO_WEIGHTS)} == set()


def test_the_layers_keep_no_setting_of_a_package_index(image: Image) -> None:
    history = str(image.config["history"])
    settings = [value for name, value in os.environ.items() if name.startswith(("PIP_", "UV_")) and "://" in value]
    assert not [value for value in settings if value in history + str(image.environment)]
    for path in ("etc/pip.conf", "root/.config/pip", "root/.config/uv", "run/secrets/settings"):
        assert not (image.root / path).exists(), path


def test_nothing_is_left_where_a_pod_mounts_its_own(image: Image) -> None:
    for folder in ("tmp", "work", "root/.cache", "var/cache/kernels", "source", "build"):
        assert not [path for path in (image.root / folder).rglob("*") if path.is_file()], folder


def test_every_module_is_compiled(image: Image) -> None:
    packages = next((image.root / "opt/rtpipeline/venv/lib").glob("python3.*/site-packages"))
    for folder in (packages / "numpy", packages / "pydicom", image.root / "opt/rtpipeline/app/rtpipeline"):
        modules = [p for p in folder.rglob("*.py") if p.stat().st_size]
        compiled = {p.name.split(".")[0] for p in folder.rglob("*.pyc")}
        assert {p.stem for p in modules} <= compiled


def test_kernels_of_the_image_are_loaded_and_none_is_compiled(cpu: Image) -> None:
    done = cpu.run("python", "-c", COUNTED, timeout_s=300)
    compiled, folder = done.stdout.split()
    assert int(compiled) == 0, done.stderr
    assert folder.startswith("/tmp/")


def test_kernels_of_the_image_are_packed(cpu: Image) -> None:
    done = cpu.run("python", "-c", PACKED, timeout_s=60)
    assert done.stdout == "True\n", done.stderr


def test_libraries_are_those_of_the_pins(image: Image) -> None:
    script = "from importlib.metadata import distributions as d; print(*(f'{x.name}=={x.version}' for x in d()))"
    installed = normalised(image.run("python", "-c", script).stdout)
    pinned = normalised(image.run("cat", "/opt/rtpipeline/constraints.txt").stdout)
    assert set(installed.items()) - set(pinned.items()) == {("rtpipeline", __version__)}


def normalised(text: str) -> dict[str, str]:
    """Name (as packages are compared, PEP 503) to version."""
    pairs = (line.split("==") for line in text.split())
    return {re.sub("[-_.]+", "-", name).lower(): version for name, version in pairs}


def test_the_cpu_image_has_no_torch(cpu: Image) -> None:
    assert "No module named 'torch'" in cpu.run("python", "-c", "import torch").stderr


@pytest.mark.slow
def test_the_networks_programs_import_without_a_gpu(gpu: Image) -> None:
    imports = "torch, nnunetv2.inference.predict_from_raw_data, totalsegmentator.python_api"
    script = f"import {imports}; print(torch.ones(2).sum())"
    done = gpu.run("python", "-c", script, timeout_s=600)
    assert done.stdout == "tensor(2.)\n", done.stderr


def test_the_gpu_image_has_the_same_code_as_the_cpu_image(cpu: Image, gpu: Image) -> None:
    def code(image: Image) -> dict[str, bytes]:
        folder = image.root / "opt/rtpipeline/app"
        return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}

    assert code(cpu) == code(gpu)
