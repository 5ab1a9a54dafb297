"""The crate lists every file with its hash, as RO-Crate 1.1 asks."""

from __future__ import annotations

import hashlib
import json

import pytest


@pytest.fixture(scope="module")
def graph(results) -> dict[str, dict]:
    crate = json.loads((results / "ro-crate-metadata.json").read_text())
    assert crate["@context"] == "https://w3id.org/ro/crate/1.1/context"
    entities = {e["@id"]: e for e in crate["@graph"]}
    assert len(entities) == len(crate["@graph"])
    return entities


def test_root_and_descriptor_are_as_the_specification_asks(graph):
    descriptor = graph["ro-crate-metadata.json"]
    assert descriptor["about"] == {"@id": "./"}
    assert descriptor["conformsTo"] == {"@id": "https://w3id.org/ro/crate/1.1"}
    assert {"name", "description", "datePublished", "license"} <= set(graph["./"])


def test_every_file_is_part_of_the_crate_with_its_hash(results, graph):
    on_disk = {p.relative_to(results).as_posix(): p for p in results.rglob("*") if p.is_file()}
    del on_disk["ro-crate-metadata.json"]
    assert {part["@id"] for part in graph["./"]["hasPart"]} == set(on_disk)
    for name, path in on_disk.items():
        assert graph[name]["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest(), name
        assert graph[name]["contentSize"] == str(path.stat().st_size)


def test_every_reference_leads_to_an_entity(graph):
    def references(value):
        if isinstance(value, dict):
            if set(value) == {"@id"}:
                yield value["@id"]
            else:
                for inner in value.values():
                    yield from references(inner)
        elif isinstance(value, list):
            for inner in value:
                yield from references(inner)

    missing = {r for e in graph.values() for r in references(e)} - set(graph)
    assert missing == {"https://w3id.org/ro/crate/1.1"}


def test_the_run_names_its_software_with_versions(graph):
    programs = {graph[p["@id"]]["name"]: graph[p["@id"]]["version"] for p in graph["#run"]["instrument"]}
    assert programs["numpy"] == "2.4.1"
    assert "rtpipeline" in programs
