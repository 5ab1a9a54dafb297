"""A server that answers as a cluster, and cohorts in a bucket."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT
from tests.workflows.api_server import ApiServer, Cluster, write_kubeconfig
from tests.workflows.rendered import rendered_objects, stage_templates, templates  # noqa: F401
from workflows import kube
from workflows.names import AGGREGATE, COHORT, COURSES

RENDERED = ROOT / "helm" / "rtpipeline" / "files"


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """The cluster behind KUBECONFIG: nothing is installed in it."""
    server = ApiServer()
    write_kubeconfig(tmp_path / "kubeconfig", server.url)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    monkeypatch.delenv("RTPIPELINE_STORE", raising=False)
    yield server.cluster
    server.close()


@pytest.fixture
def client(api: Cluster) -> kube.Cluster:
    """This package's side of it."""
    return kube.connect()


@pytest.fixture
def installed(api: Cluster) -> Cluster:
    """The same with the chart's templates and everything that they name."""
    from workflows.installation import references

    for name in (COHORT, COURSES, AGGREGATE):
        template = yaml.safe_load((RENDERED / f"{name}.yaml").read_text())
        api.templates[name] = template
        for reference in references(template["spec"]):
            api.put(kube.CORE_KINDS[reference.kind], reference.name)
    return api
