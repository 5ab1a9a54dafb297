from __future__ import annotations

import re
from collections import Counter

import pytest

from rtpipeline.nomenclature.tg263 import TARGETS, nomenclature, rows
from rtpipeline.nomenclature.words import BOTH, SIDES, key, words

LONGEST_NAME = 16  # AAPM Report 263: names stay within what every planning system shows


def test_names_are_as_the_report_allows_them():
    for name in nomenclature().names:
        assert len(name) <= LONGEST_NAME and re.fullmatch(r"[A-Z][A-Za-z0-9]*(_[A-Za-z0-9]+|-[CGIP]TV)*", name), name


def test_every_name_stands_once_and_every_pair_is_a_name():
    table = list(rows())
    assert not [name for name, n in Counter(row["name"] for row in table).items() if n > 1]
    assert {row["forms"] for row in table} == {"", "LR", "+LR"}
    assert {row["both"] for row in table if row["both"]} <= nomenclature().names
    assert all(row["forms"].endswith("LR") for row in table if row["both"])
    assert all(row["meaning"] for row in table)


def test_a_left_name_has_its_right_one():
    names = nomenclature().names
    alone = {"VB_L", "LN_L"} | {n for n in names if re.fullmatch(r"VB_[A-Z]", n)}
    assert not [n for n in names - alone if n.endswith("_L") and f"{n[:-2]}_R" not in names]


def test_no_synonym_stands_for_two_structures():
    meant: dict[str, set[str]] = {}
    for row in rows():
        for name in (row["name"], *filter(None, row["synonyms"].split("|"))):
            meant.setdefault(key(words(name)), set()).add(row["name"])
    assert not {spelt: names for spelt, names in meant.items() if len(names) > 1}


def test_no_synonym_of_a_sided_structure_says_a_side_or_is_a_target():
    for row in rows():
        for synonym in filter(None, row["synonyms"].split("|")):
            spelt = words(synonym)
            assert spelt, synonym
            assert not row["forms"].endswith("LR") or not set(spelt) & (SIDES.keys() | BOTH), synonym
            assert synonym.upper() not in TARGETS


def test_classes_are_those_of_the_installed_networks():
    networks = pytest.importorskip("totalsegmentator.map_to_binary", reason="TotalSegmentator is not installed")
    existing = {name for classes in networks.class_map.values() for name in classes.values()}
    assert set(nomenclature().totalsegmentator) <= existing
