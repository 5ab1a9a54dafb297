"""What the chart renders, over a matrix of values: whole objects against the schemas that a cluster has."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml

from rtpipeline import __version__
from tests.helm.conftest import ARGO, NAMESPACE, Helm, Object, RefusedError, argo_specs, named, parsed
from tests.helm.crd_schemas import crd_schemas, faults
from tests.helm.documented_values import CHART

KUBERNETES = "1.34"
MATRIX = sorted((CHART / "ci").glob("*-values.yaml"))


def rendered(helm: Helm, path: Path) -> list[Object]:
    return helm.objects(yaml.safe_load(path.read_text(encoding="utf-8")))


@pytest.fixture(params=MATRIX, ids=lambda path: path.stem.removesuffix("-values"))
def objects(request: pytest.FixtureRequest, helm: Helm) -> list[Object]:
    return rendered(helm, request.param)


def pods(objects: list[Object]) -> dict[str, Object]:
    """The pod specs that the chart itself makes, by name."""
    found = {}
    for each in objects:
        if each["kind"] == "Pod":
            found[each["metadata"]["name"]] = each["spec"]
        elif each["kind"] == "Job":
            found[each["metadata"]["name"]] = each["spec"]["template"]["spec"]
    return found


@pytest.mark.parametrize("path", MATRIX, ids=lambda path: path.stem)
def test_lint_has_nothing_to_say(helm: Helm, path: Path) -> None:
    done = helm("lint", "--strict", CHART, "--values", path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "[WARNING]" not in done.stdout and "[ERROR]" not in done.stdout, done.stdout


def test_core_objects_fit_the_schemas_of_kubernetes(objects: list[Object]) -> None:
    checked = [each for each in objects if not each["apiVersion"].startswith("argoproj.io/")]
    for each in checked:
        kubernetes_validate.validate(each, KUBERNETES, strict=True)
    assert len(checked) > 10


def test_argo_objects_fit_the_schemas_of_argo(objects: list[Object]) -> None:
    schemas = crd_schemas()
    ours = [each for each in objects if each["apiVersion"].startswith("argoproj.io/")]
    assert [fault for each in ours for fault in faults(each, schemas)] == []
    assert len(ours) >= 3


def test_argo_has_nothing_to_say_either(objects: list[Object], tmp_path: Path) -> None:
    """References between templates, and expressions, which the schemas do not see."""
    argo = os.environ.get("RTPIPELINE_ARGO") or shutil.which("argo")
    if argo is None:
        pytest.skip("no program argo: put it on the PATH, or set RTPIPELINE_ARGO")
    ours = [each for each in objects if each["apiVersion"].startswith("argoproj.io/")]
    path = tmp_path / "objects.yaml"
    path.write_text(yaml.dump_all(ours, Dumper=yaml.CSafeDumper))
    done = subprocess.run([argo, "lint", "--offline", "--strict", path], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_names_and_namespaces_are_unambiguous(objects: list[Object]) -> None:
    names = [(each["kind"], each["metadata"]["name"]) for each in objects]
    assert len(names) == len(set(names))
    assert {each["metadata"].get("namespace", NAMESPACE) for each in objects} == {NAMESPACE}
    cluster_wide = {
        kind for kind, _ in names if kind.startswith("Cluster") or kind in ("Namespace", "PersistentVolume")
    }
    assert cluster_wide == set(), "the chart is for one namespace"
    for each in objects:
        assert each["metadata"]["labels"]["app.kubernetes.io/instance"] == "rt", each["metadata"]["name"]


def test_every_pod_passes_the_restricted_level(objects: list[Object]) -> None:
    """Pods of the chart itself, and the containers of Argo's templates with what podSpecPatch gives init and wait."""
    made = pods(objects)
    assert made
    for name, spec in made.items():
        security = spec["securityContext"]
        assert security["runAsNonRoot"] and security["seccompProfile"] == {"type": "RuntimeDefault"}, name
        for container in spec["containers"]:
            assert restricted(container["securityContext"]), name
    for name, spec in argo_specs(objects).items():
        for template in (each for each in spec["templates"] if "container" in each):
            assert template["securityContext"]["runAsNonRoot"], (name, template["name"])
            assert template["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
            assert restricted(template["container"]["securityContext"]), (name, template["name"])


def restricted(security: dict[str, Any]) -> bool:
    return (
        security["allowPrivilegeEscalation"] is False
        and security["capabilities"] == {"drop": ["ALL"]}
        and security["readOnlyRootFilesystem"] is True
    )


def containers(objects: list[Object]) -> list[Object]:
    """Every container that computes: of Argo's templates, of the Job and of the tests."""
    argo = [t["container"] for spec in argo_specs(objects).values() for t in spec["templates"] if "container" in t]
    return argo + [container for spec in pods(objects).values() for container in spec["containers"]]


def test_no_secret_is_rendered_and_none_is_asked_for_by_value(objects: list[Object]) -> None:
    """Secrets come by reference alone; the one that is made (argo.hideToken) is filled by Kubernetes."""
    for each in objects:
        if each["kind"] == "Secret":
            assert each["type"] == "kubernetes.io/service-account-token"
            assert "data" not in each and "stringData" not in each
    for container in containers(objects):
        for variable in container.get("env", []):
            if re.search("KEY|SECRET|PASSWORD|TOKEN", variable["name"]):
                assert set(variable) == {"name", "valueFrom"}, (container["image"], variable["name"])


def test_references_within_the_release_are_whole(objects: list[Object]) -> None:
    """ConfigMaps, accounts and claims that pods name are made here, or are among the values that name existing ones."""
    made = {(each["kind"], each["metadata"]["name"]) for each in objects}
    for container in containers(objects):
        for source in (variable.get("valueFrom", {}) for variable in container.get("env", [])):
            if "configMapKeyRef" in source:
                settings = named(objects, "ConfigMap", source["configMapKeyRef"]["name"])["data"]
                assert source["configMapKeyRef"]["key"] in settings
    for spec in pods(objects).values():
        assert ("ConfigMap", "rtpipeline-scripts") in made
        commands = [
            part for container in spec["containers"] for part in container["command"] if part.startswith("/etc")
        ]
        scripts = named(objects, "ConfigMap", "rtpipeline-scripts")["data"]
        assert commands and all(Path(command).name in scripts for command in commands)
    for spec in argo_specs(objects).values():
        repository = spec["artifactRepositoryRef"]
        assert repository["key"] in named(objects, "ConfigMap", repository["configMap"])["data"]
    semaphores = named(objects, "ConfigMap", "rtpipeline-semaphores")["data"]
    for spec in argo_specs(objects).values():
        for locks in [spec.get("synchronization"), *(t.get("synchronization") for t in spec["templates"])]:
            for lock in (locks or {}).get("semaphores", []):
                assert lock["configMapKeyRef"]["name"] == "rtpipeline-semaphores"
                assert int(semaphores[lock["configMapKeyRef"]["key"]]) > 0


def test_version_of_the_chart_is_that_of_the_package() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    assert chart["appVersion"] == __version__


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"s3": {"endpoint": ""}}, "s3.endpoint is required"),
        ({"s3": {"bucket": ""}}, "s3.bucket is required"),
        ({"s3": {"endpoint": "s3.example.org:9000"}}, "it must be http:// or https://"),
        ({"s3": {"endpoint": "https://s3.example.org/bucket"}}, "nothing after them"),
        ({"s3": {"readSecret": {"name": ""}}}, "unless s3.instanceCredentials is true"),
        ({"weights": {"kind": "existingClaim"}}, "weights.existingClaim.name is required"),
        ({"weights": {"kind": "image"}}, "weights.image.reference is required"),
        ({"weights": {"fetch": {"enabled": True}}}, "needs weights.fetch.files or weights.fetch.mirror.url"),
        ({"weights": {"kind": "none", "fetch": {"enabled": True}}}, "needs a claim to fill"),
        ({"weights": {"fetch": {"enabled": True, "mirror": {"url": "s3://b/w"}}}}, "mirror.sha256 is required"),
        ({"stages": {"dvh": {"memoryMiB": [1024, 2048, 3072, 4096, 5120]}}}, "stages.dvh.memoryMiB has 5 rungs"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)  # fmt: skip
def test_what_is_missing_is_said_before_anything_is_made(helm: Helm, values: dict[str, Any], says: str) -> None:
    with pytest.raises(RefusedError, match=re.escape(says)):
        helm.template(values)


def test_a_cluster_without_argo_is_refused(helm: Helm) -> None:
    with pytest.raises(RefusedError, match="Argo Workflows is not installed"):
        helm.template({}, "--kube-version", "1.34.0")
    assert helm.template({"requireArgo": False}, "--kube-version", "1.34.0")


def test_an_old_kubernetes_is_refused(helm: Helm) -> None:
    with pytest.raises(RefusedError, match="incompatible with Kubernetes"):
        helm.template({}, *ARGO, "--kube-version", "1.28.0")
    assert helm.template({}, *ARGO, "--kube-version", "1.29.3-gke.100")


def test_notes_tell_the_next_command(helm: Helm) -> None:
    done = helm("install", "rt", CHART, "--dry-run=client", "--namespace", NAMESPACE, "--set", "requireArgo=false",
                "--set", "s3.endpoint=https://s3.example.org", "--set", "s3.bucket=cohorts")  # fmt: skip
    assert done.returncode == 0, done.stderr
    notes = done.stdout.partition("NOTES:")[2]
    for command in ("create secret generic rtpipeline-s3 ", "create secret generic rtpipeline-s3-read ",
                    "create secret generic rtpipeline-pseudonyms ", "helm test rt ",
                    f"python -m workflows.submit --namespace {NAMESPACE} "):  # fmt: skip
        assert command in notes, notes


def test_roles_allow_what_pods_and_client_need_and_nothing_more(helm: Helm) -> None:
    objects = helm.objects({})
    assert named(objects, "Role", "rtpipeline-pods")["rules"] == [
        {"apiGroups": ["argoproj.io"], "resources": ["workflowtaskresults"], "verbs": ["create", "patch"]}
    ]
    rules = named(objects, "Role", "rtpipeline-submitter")["rules"]
    verbs = {resource: set(rule["verbs"]) for rule in rules for resource in rule["resources"]}
    assert verbs["workflows"] == {"create", "get", "list", "watch", "patch", "delete"}
    assert "secrets" not in verbs, "whoever may read secrets by name reads the pseudonyms' too"
    for rule in rules:
        assert "*" not in [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]
        if set(rule["resources"]) & {"configmaps", "serviceaccounts", "persistentvolumeclaims"}:
            assert rule["resourceNames"] and rule["verbs"] == ["get"]
    bound = named(objects, "RoleBinding", "rtpipeline-pods")["subjects"]
    assert [subject["name"] for subject in bound] == ["rtpipeline-pods"]
    assert {subject["namespace"] for subject in bound} == {NAMESPACE}


def test_nothing_reaches_the_pods_and_they_reach_only_what_is_named(helm: Helm) -> None:
    objects = helm.objects(
        {"networkPolicy": {"s3": {"cidrs": ["192.0.2.7/32"]}}, "s3": {"endpoint": "http://s3.example.org:8333"}}
    )
    policy = named(objects, "NetworkPolicy", "rtpipeline-pods")["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"] and "ingress" not in policy
    dns, api, s3 = policy["egress"]
    assert {port["port"] for port in dns["ports"]} == {53}
    assert {port["port"] for port in api["ports"]} == {443, 6443}
    assert s3 == {"to": [{"ipBlock": {"cidr": "192.0.2.7/32"}}], "ports": [{"port": 8333, "protocol": "TCP"}]}
    assert named(objects, "NetworkPolicy", "rtpipeline-release")["spec"]["egress"] == policy["egress"]


def test_the_small_cluster_of_the_tests_gets_small_pods(helm: Helm) -> None:
    objects = rendered(helm, CHART / "ci" / "one-node-values.yaml")
    for spec in argo_specs(objects).values():
        for template in (t for t in spec["templates"] if "rtpipeline/stage" in t.get("metadata", {}).get("labels", {})):
            requests = template["container"]["resources"]["requests"]
            assert requests["cpu"] == "0.05" and "nvidia.com/gpu" not in requests, template["name"]
            assert template["container"]["imagePullPolicy"] == "IfNotPresent"
            assert template["container"]["image"].startswith("localhost/rtpipeline-")


def test_rendering_is_the_same_each_time(helm: Helm, tmp_path: Path) -> None:
    """Argo CD and `helm diff` compare renderings."""
    first, second = (helm.template({}, *ARGO, "--kube-version", version) for version in ("1.34.0", "1.34.1"))
    assert first == second and parsed(first)
