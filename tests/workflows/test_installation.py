"""What is missing in a namespace is said before anything is submitted."""

from __future__ import annotations

import pytest

from rtpipeline.errors import UsageError
from tests.workflows.api_server import NOT_FOUND_PATH, Cluster, failure, rbac
from tests.workflows.conftest import Scene
from workflows import kube
from workflows.argo_version import DEPLOYMENTS, argo_version, check_version, version_of_image
from workflows.installation import Reference, check_objects, installation, references


def test_a_whole_installation_passes(installed: Cluster, client: kube.Cluster):
    found = installation(client)
    assert found.cpu_image.startswith("rtpipeline-cpu:")
    assert found.gpu_image.startswith("rtpipeline-gpu:")
    check_objects(client, found, "bucket")


def test_a_missing_template_names_the_chart(installed: Cluster, client: kube.Cluster):
    del installed.templates["rtpipeline-courses"]
    with pytest.raises(UsageError, match=r"has no WorkflowTemplate rtpipeline-courses\. Install the chart there: helm"):
        installation(client)


def test_templates_of_another_version_are_refused_with_both(installed: Cluster, client: kube.Cluster):
    installed.templates["rtpipeline-courses"]["metadata"]["annotations"]["rtpipeline/version"] = "9.9.9"
    with pytest.raises(
        UsageError, match=r"is of RTpipeline 9.9.9, this command of 0.1.0.*pip install rtpipeline==9.9.9"
    ):
        installation(client)


def test_no_crds(installed: Cluster, client: kube.Cluster):
    installed.refuse("*", "/apis/argoproj.io", NOT_FOUND_PATH)
    with pytest.raises(UsageError, match="Argo Workflows is not installed"):
        installation(client)


@pytest.mark.parametrize(
    ("kind", "advice"),
    [
        ("secret", "kubectl -n rt create secret generic"),
        ("configmap", "It comes with the chart"),
        ("serviceaccount", "It comes with the chart"),
        ("persistentvolumeclaim", "values weights"),
    ],
)
def test_each_missing_object_is_named(installed: Cluster, client: kube.Cluster, kind: str, advice: str):
    plural = kube.CORE_KINDS[kind]
    name = sorted(n for p, n in installed.objects if p == plural)[0]
    del installed.objects[plural, name]
    with pytest.raises(UsageError, match=f"namespace rt has no {kind} {name}, which WorkflowTemplate") as caught:
        check_objects(client, installation(client), "bucket")
    assert advice in str(caught.value)


def test_what_may_not_be_asked_for_is_taken_to_be_there(installed: Cluster, client: kube.Cluster):
    installed.objects.clear()
    for kind in kube.CORE_KINDS.values():
        installed.refuse("GET", f"/{kind}/", rbac("get", kind, ""))
    check_objects(client, installation(client), "bucket")


def test_pods_that_write_to_another_bucket(scene: Scene, capsys):
    scene.api.put("configmaps", "artifact-repositories", data={"rt": "s3: {bucket: other}"})
    assert scene.submit() == 2
    assert "write to bucket other, the store is in bucket" in capsys.readouterr().err


def test_the_executors_secret_is_looked_for_too(scene: Scene, capsys):
    del scene.api.objects["secrets", "rtpipeline-s3"]
    assert scene.submit() == 2
    assert "has no secret rtpipeline-s3, which" in capsys.readouterr().err


def test_names_made_by_argo_and_optional_ones_are_no_references():
    spec = {
        "serviceAccountName": "a",
        "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "{{workflow.parameters.claim}}"}}],
        "env": [{"valueFrom": {"secretKeyRef": {"name": "s", "key": "k", "optional": True}}}],
        "synchronization": {"semaphores": [{"configMapKeyRef": {"name": "c", "key": "k"}}]},
    }
    assert set(references(spec)) == {Reference("serviceaccount", "a"), Reference("configmap", "c")}


def deployment(image: str) -> dict:
    return {"items": [{"spec": {"template": {"spec": {"containers": [{"image": image}]}}}}]}


def test_argo_before_4_is_refused_and_faulty_ones_are_warned_of(installed: Cluster, client: kube.Cluster):
    path = DEPLOYMENTS[0].partition("?")[0]
    installed.documents[path] = deployment("quay.io/argoproj/workflow-controller:v3.7.18")
    with pytest.raises(UsageError, match=r"Argo Workflows 3.7.18 is too old; RTpipeline needs 4.0"):
        installation(client)
    installed.documents[path] = deployment("quay.io/argoproj/workflow-controller:v4.0.5")
    assert "Argo Workflows 4.0.5 has faults in its semaphores" in installation(client).warning
    installed.documents[path] = deployment("quay.io/argoproj/workflow-controller:v4.0.10")
    assert installation(client).warning == ""


@pytest.mark.parametrize(
    ("version", "warned"),
    [
        ((4, 0, 9), True),
        ((4, 0, 10), False),
        ((4, 1, 1), True),
        ((4, 1, 2), False),
        ((4, 2, 0), False),
        ((4, 0), False),
    ],
)
def test_each_line_of_argo_has_its_first_good_version(version: tuple[int, ...], warned: bool):
    assert bool(check_version(version)) is warned


def test_who_may_not_see_the_controller_sees_the_executor(api: Cluster, client: kube.Cluster):
    api.refuse("GET", "/apis/apps/v1/deployments", rbac("list", "deployments", "apps"))
    init = {"name": "init", "image": "quay.io/argoproj/argoexec:v4.1.2"}
    api.pods = [
        {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "main", "image": "x"}], "initContainers": [init]}}
    ]
    assert argo_version(client) == (4, 1, 2)


@pytest.mark.parametrize(
    ("locks", "template", "version"),
    [
        ({"mutex": {}, "semaphore": {}}, {}, (3,)),
        ({"mutexes": {}, "semaphores": {}}, {}, (4, 0)),
        ({"mutexes": {}, "semaphores": {}}, {"pendingTimeout": {}}, (4, 1)),
        (None, {}, None),
    ],
)
def test_who_sees_neither_reads_the_schema(api: Cluster, client: kube.Cluster, locks, template, version):
    spec = {"templates": {"items": {"properties": template}}}
    if locks is not None:
        spec["synchronization"] = {"properties": locks}
    schema = {"properties": {"spec": {"properties": spec}}}
    document = {"components": {"schemas": {"io.argoproj.v1alpha1.Workflow": schema}}}
    api.documents["/openapi/v3/apis/argoproj.io/v1alpha1"] = document
    assert argo_version(client) == version


@pytest.mark.parametrize(
    ("image", "version"),
    [
        ("quay.io/argoproj/argoexec:v4.0.5", (4, 0, 5)),
        ("mirror.local:5000/argoproj/workflow-controller:4.1.2", (4, 1, 2)),
        ("argoexec-nonroot:v3.7.0", (3, 7, 0)),
        ("argoexec:latest", None),
        ("python:3.11", None),
    ],
)
def test_versions_are_read_from_tags(image: str, version: tuple[int, ...] | None):
    assert version_of_image(image) == version


def test_a_failing_server_is_not_taken_for_a_missing_right(api: Cluster, client: kube.Cluster):
    api.refuse("GET", "/secrets/", failure(503, "ServiceUnavailable", "etcd is down"))
    from workflows.messages import UnreachableError

    with pytest.raises(UnreachableError):
        client.has("secret", "s")
