"""A configuration that travels with its files, and is never taken for another one."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest
import yaml

from rtpipeline.config import Config, load_config
from rtpipeline.errors import UsageError
from rtpipeline.execution.plan import organize_key
from rtpipeline.execution.settings import all_settings
from rtpipeline.store.configuration import (
    bundle,
    configuration_name,
    named_configuration,
    named_files,
    unbundle,
)


def written(folder: Path, rx_gy: int = 60) -> Path:
    """A configuration that names a file of every kind, two of them with the same name."""
    for name in ("a", "b", "weights"):
        (folder / name).mkdir(parents=True)
    (folder / "a" / "names.csv").write_text("patient_id,rx_gy\nDEMO-1," + f"{rx_gy}\n")
    (folder / "b" / "names.csv").write_text("structure_name,tg263\nblase,Bladder\n")
    (folder / "constraints.csv").write_text("structure,metric,limit\nBladder,Dmax,<70\n")
    (folder / "custom.yaml").write_text("- {name: X, source_structures: [A], operation: union}\n")
    content = {
        "manifest": "a/names.csv",
        "structure_names": "b/names.csv",
        "dvh": {"constraints": str(folder / "constraints.csv"), "v_gy": [10, 20]},
        "custom_models": {"root": str(folder / "weights")},
        "workers": 3,
        "custom_structures": "custom.yaml",
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(content))
    return folder / "config.yaml"


def save(data: bytes, path: Path) -> Path:
    path.write_bytes(data)
    return path


def test_every_setting_and_file_arrives_with_the_same_digests(tmp_path):
    config = load_config(written(tmp_path / "laptop"))
    archive = save(bundle(config), tmp_path / "config.tgz")
    back = unbundle(archive, tmp_path / "pod")
    assert all_settings(back) == all_settings(config)
    assert organize_key("listing", back) == organize_key("listing", config)
    assert back.workers == 3
    assert back.custom_models.root == config.custom_models.root
    for key, path in named_files(config).items():
        there = named_files(back)[key]
        assert there.read_bytes() == path.read_bytes()
        assert there.parent == tmp_path / "pod" / "files"


def test_the_digests_notice_a_file_that_is_another_one(tmp_path):
    """What the equality above is worth: it is not equal when a file is."""
    one, other = (load_config(written(tmp_path / str(rx), rx)) for rx in (60, 66))
    assert organize_key("listing", one) != organize_key("listing", other)


def test_same_configuration_same_bytes_wherever_it_lies(tmp_path):
    one, other = (load_config(written(tmp_path / name)) for name in ("x", "elsewhere"))
    root = {"custom_models": one.custom_models}
    assert bundle(one) == bundle(other.model_copy(update=root))
    back = unbundle(save(bundle(one), tmp_path / "config.tgz"), tmp_path / "pod")
    assert bundle(back) == bundle(one)


def test_no_folder_of_the_laptop_travels(tmp_path):
    data = bundle(
        load_config(written(tmp_path / "secret-place")).model_copy(update={"custom_models": Config().custom_models})
    )
    assert b"secret-place" not in data


def test_a_file_that_is_gone_is_told(tmp_path):
    config = load_config(written(tmp_path / "laptop"))
    (tmp_path / "laptop" / "b" / "names.csv").unlink()
    with pytest.raises(UsageError, match=r"structure_names names .*names\.csv"):
        bundle(config)


@pytest.mark.parametrize("name", ["", "prostate", "default-2", "Default"])
def test_a_named_configuration_that_is_absent_is_never_the_default(name, tmp_path):
    with pytest.raises(UsageError, match="no configuration"):
        named_configuration(name, tmp_path / "config.tgz", tmp_path / "pod")


def test_the_name_default_alone_means_the_defaults_unless_the_bucket_has_it(tmp_path):
    archive = tmp_path / "config.tgz"
    assert named_configuration("default", archive, tmp_path / "pod") == Config()
    save(bundle(Config(seed=7)), archive)
    assert named_configuration("default", archive, tmp_path / "pod").seed == 7


def test_a_name_with_a_digest_takes_no_other_content(tmp_path):
    mine, other = bundle(Config(seed=7)), bundle(Config(seed=8))
    name = configuration_name("prostate-20240101", mine)
    archive = save(mine, tmp_path / "config.tgz")
    assert named_configuration(name, archive, tmp_path / "pod").seed == 7
    save(other, archive)
    with pytest.raises(UsageError, match="not the one"):
        named_configuration(name, archive, tmp_path / "pod")
    assert named_configuration("prostate-20240101", archive, tmp_path / "pod").seed == 8


@pytest.mark.parametrize("name", ["../x", "/tmp/x", "files/../../x", "files/a/b", "other.yaml"])
def test_an_archive_with_anything_else_is_refused(name, tmp_path):
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w:gz") as archive:
        archive.addfile(tarfile.TarInfo(name))
    with pytest.raises(UsageError):
        unbundle(save(raw.getvalue(), tmp_path / "config.tgz"), tmp_path / "pod")
    assert not (tmp_path / "pod").exists()


def test_an_archive_without_a_configuration_is_refused(tmp_path):
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w:gz"):
        pass
    with pytest.raises(UsageError, match=r"no config\.yaml"):
        unbundle(save(raw.getvalue(), tmp_path / "config.tgz"), tmp_path / "pod")
