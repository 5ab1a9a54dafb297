"""One namespace with the chart for the whole session; skipped with the reason where there is no cluster."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e import install
from tests.e2e.cluster import Cluster, Submitted
from tests.e2e.exports import SMALL, save, write_config
from tests.e2e.recorder import Recorder
from tests.e2e.settings import Settings, missing
from tests.whole_runs import SECRET


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The undisturbed cohort comes first: other tests look at it, change the chart, and put outputs beside its own."""
    items.sort(key=lambda item: item.path.stem != "test_small_cohort")


@pytest.fixture(scope="session")
def settings() -> Settings:
    """The cluster of the environment."""
    reason = missing()
    if reason:
        pytest.skip(reason)
    return Settings.from_environment()


@pytest.fixture(scope="session")
def cluster(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A namespace under the restricted pod security with the chart installed, removed at the end."""
    from kubernetes import config

    config.load_kube_config()
    name = f"rt-e2e-{secrets.token_hex(3)}"
    recorder = Recorder(name)
    found = Cluster(settings, name, f"{name}/store", SECRET, recorder)
    try:
        install.make_namespace(settings, name, SECRET)
        recorder.start()
        install.put_weights(found.s3, settings.bucket, found.prefix)
        chosen = install.values(settings, found.prefix)
        install.install_chart(name, chosen, tmp_path_factory.mktemp("chart"))
        yield found
    finally:
        recorder.stop()
        install.remove_namespace(name)


@pytest.fixture(scope="session")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where exports and configurations of the session lie."""
    return tmp_path_factory.mktemp("e2e")


@pytest.fixture(scope="session")
def export(work: Path) -> Path:
    """Three small patients."""
    folder = work / SMALL
    for number in (1, 2, 3):
        save(folder, number)
    return folder


@pytest.fixture(scope="session")
def config(work: Path) -> Path:
    """The quick configuration."""
    return write_config(work / "small.yaml")


@pytest.fixture(scope="session")
def first(cluster: Cluster, export: Path, config: Path) -> Submitted:
    """The first submission of the three."""
    return cluster.submit(SMALL, export, config)
