"""What the pods' account may do, what the pods are given, and that nothing in the cluster says who a patient is."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pydicom
import pytest

from rtpipeline.stages import STAGES
from tests.e2e.cluster import ARGO, Cluster, Submitted
from tests.e2e.recorder import container

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

IDENTIFYING = ("PatientID", "PatientName", "PatientBirthDate", "StudyInstanceUID", "SeriesInstanceUID")
UID = re.compile(r"1\.2\.\d+(?:\.\d+){4,}")
CREATED = (200, 201)


def test_the_account_of_the_pods_can_report_results_and_nothing_else(cluster: Cluster) -> None:
    token = cluster.token_of("rtpipeline-pods")
    here, argo = f"/api/v1/namespaces/{cluster.namespace}", f"/apis/argoproj.io/v1alpha1/namespaces/{cluster.namespace}"
    result = {"apiVersion": "argoproj.io/v1alpha1", "kind": "WorkflowTaskResult", "metadata": {"name": "tried"}}
    assert cluster.ask("POST", f"{argo}/workflowtaskresults", result, token)[0] in CREATED
    assert cluster.ask("PATCH", f"{argo}/workflowtaskresults/tried", {"phase": "Failed"}, token)[0] in CREATED
    workflow = {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Workflow",
        "metadata": {"name": "tried"},
        "spec": {"workflowTemplateRef": {"name": "rtpipeline-cohort"}},
    }
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "tried"}, "spec": {"containers": []}}
    bare = {"metadata": {"name": "tried"}}
    tried = [
        *(("GET", f"{here}/{kind}", None) for kind in ("secrets", "configmaps", "pods", "events", "serviceaccounts")),
        *(("GET", f"{here}/secrets/{name}", None) for name in ("rtpipeline-s3", "rtpipeline-pseudonyms")),
        *(("GET", f"{argo}/{kind}", None) for kind in ("workflows", "workflowtemplates", "workflowtaskresults")),
        ("GET", f"{argo}/workflowtaskresults/tried", None),
        ("DELETE", f"{argo}/workflowtaskresults/tried", None),
        ("POST", f"{argo}/workflows", workflow),
        ("PATCH", f"{argo}/workflowtemplates/rtpipeline-courses", {"spec": {}}),
        ("POST", f"{here}/pods", pod),
        ("POST", f"{here}/secrets", bare),
        ("POST", f"{here}/serviceaccounts/rtpipeline-submitter/token", {"spec": {}}),
        ("GET", "/api/v1/secrets", None),
        ("GET", "/api/v1/namespaces", None),
        ("GET", "/api/v1/nodes", None),
    ]
    answers = {(method, path): cluster.ask(method, path, body, token)[0] for method, path, body in tried}
    assert {where: code for where, code in answers.items() if code != 403} == {}
    cluster.custom.delete_namespaced_custom_object(*ARGO, cluster.namespace, "workflowtaskresults", "tried")


def test_computing_containers_hold_no_secret_but_the_readers_read_only_one(cluster: Cluster, first: Submitted) -> None:
    seen = set()
    for pod in cluster.recorder.pods.values():
        stage = pod["metadata"].get("labels", {}).get("rtpipeline/stage")
        if stage not in STAGES:
            continue
        seen.add(stage)
        main = container(pod)
        secrets = {
            variable["valueFrom"]["secretKeyRef"]["name"]
            for variable in main.get("env", [])
            if "secretKeyRef" in variable.get("valueFrom", {})
        }
        mounted = {mount["name"] for mount in main.get("volumeMounts", [])}
        files = {v["secret"]["secretName"] for v in pod["spec"]["volumes"] if "secret" in v and v["name"] in mounted}
        assert secrets == ({"rtpipeline-s3-read"} if STAGES[stage].opens_store else set()), stage
        assert files == ({"rtpipeline-pseudonyms"} if STAGES[stage].reader else set()), stage
        assert main["securityContext"]["readOnlyRootFilesystem"] is True
        assert main["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert seen == set(STAGES)


def identifiers(export: Path) -> set[str]:
    """What identifies the patients of an export: ids, names, birth dates, UIDs, names of folders."""
    found = {folder.name for folder in export.iterdir() if folder.is_dir()}
    for path in export.rglob("*.dcm"):
        header = pydicom.dcmread(path, stop_before_pixels=True)
        found |= {str(header.get(name, "")) for name in IDENTIFYING}
        found |= {str(e.value) for e in header.iterall() if e.VR == "UI" and UID.match(str(e.value))}
    names = {part for text in found if "^" in text for part in text.split("^")}
    standard = {uid for uid in found if uid.startswith("1.2.840.10008.")}
    return {text for text in found | names if len(text) >= 6} - standard


def objects(cluster: Cluster) -> Iterator[tuple[str, str]]:
    """Every object of the namespace and every pod that was ever there, as (name, JSON)."""
    lists = [(None, json.loads(cluster.ask("GET", "/api/v1")[1]))]
    for group in json.loads(cluster.ask("GET", "/apis")[1])["groups"]:
        version = group["preferredVersion"]["groupVersion"]
        lists.append((version, json.loads(cluster.ask("GET", f"/apis/{version}")[1])))
    for version, kinds in lists:
        base = f"/apis/{version}" if version else "/api/v1"
        for kind in kinds["resources"]:
            if not kind["namespaced"] or "list" not in kind["verbs"] or "/" in kind["name"]:
                continue
            answer = json.loads(cluster.ask("GET", f"{base}/namespaces/{cluster.namespace}/{kind['name']}")[1])
            for item in answer.get("items", []):
                yield f"{kind['kind']} {item['metadata']['name']}", json.dumps(item)
    for pod in cluster.recorder.seen:
        yield f"pod {pod['metadata']['name']}", json.dumps(pod)


def logs(cluster: Cluster) -> Iterator[tuple[str, str]]:
    """Every archived log."""
    for key in cluster.list_keys("logs/"):
        content = cluster.read(key)
        text = gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
        yield key, text.decode("utf-8", "replace")


def test_nothing_in_the_cluster_says_who_a_patient_is(cluster: Cluster, first: Submitted, export: Path) -> None:
    wanted = identifiers(export)
    assert len(wanted) > 50
    pattern = re.compile("|".join(re.escape(text) for text in sorted(wanted)))
    assert pattern.search((export / "x").as_posix()) is None, "else paths of this machine would be found"
    found, looked_at = [], 0
    for name, text in [*objects(cluster), *logs(cluster), *(("key", key) for key in cluster.list_keys())]:
        looked_at += 1
        found += [(name, match.group()) for match in pattern.finditer(text)]
    assert looked_at > 100
    assert len(list(logs(cluster))) > 20
    assert found == []


def test_results_and_records_say_it_as_little(cluster: Cluster, first: Submitted, export: Path) -> None:
    pattern = re.compile("|".join(re.escape(text) for text in sorted(identifiers(export))).encode())
    for key in cluster.list_keys("small/"):
        if "/private/" not in key:
            content = cluster.read(key)
            assert pattern.search(content) is None, key


def test_who_submits_has_what_the_client_needs(cluster: Cluster) -> None:
    token = cluster.token_of("rtpipeline-submitter")
    here, argo = f"/api/v1/namespaces/{cluster.namespace}", f"/apis/argoproj.io/v1alpha1/namespaces/{cluster.namespace}"
    may_not = ("/secrets", "/secrets/rtpipeline-s3", "/secrets/rtpipeline-pseudonyms", "/configmaps")
    assert cluster.ask("GET", f"{argo}/workflows", token=token)[0] == 200
    assert {path: cluster.ask("GET", f"{here}{path}", token=token)[0] for path in may_not} == dict.fromkeys(
        may_not, 403
    )
    assert cluster.ask("POST", f"{here}/pods", {"metadata": {"name": "tried"}}, token)[0] == 403


def test_the_readers_account_cannot_write(cluster: Cluster) -> None:
    import boto3
    from botocore.exceptions import ClientError

    settings = cluster.settings
    if settings.read_key == settings.key:
        pytest.skip("this bucket has one account for all (RT_S3_READ_KEY, RT_S3_READ_SECRET)")
    reader = boto3.client(
        "s3",
        endpoint_url=settings.endpoint,
        region_name=settings.region,
        aws_access_key_id=settings.read_key,
        aws_secret_access_key=settings.read_secret,
    )
    with pytest.raises(ClientError, match="AccessDenied"):
        reader.put_object(Bucket=settings.bucket, Key=f"{cluster.prefix}/tried", Body=b"x")
