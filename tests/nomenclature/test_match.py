from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtpipeline.nomenclature.mapping import NameMapping
from rtpipeline.nomenclature.match import NO_MATCH, match_name
from rtpipeline.nomenclature.tg263 import nomenclature

NAMES = sorted(nomenclature().names)


def found(name, source="manual"):
    match = match_name(name, source=source)
    return match.tg263, match.evidence


@pytest.mark.parametrize("name", NAMES)
def test_a_name_of_the_list_is_itself(name):
    assert found(name) == (name, "exact")


@pytest.mark.parametrize(
    ("name", "tg263"),
    [
        ("HEART", "Heart"),
        ("Spinal Cord", "SpinalCord"),
        ("spinal_cord", "SpinalCord"),
        ("lung l", "Lung_L"),
        ("LungL", "Lung_L"),
        ("VB L1", "VB_L1"),
        ("FEMUR_HEAD_R", "Femur_Head_R"),
        ("ptv", "PTV"),
    ],
)
def test_case_spaces_and_underscores_do_not_matter(name, tg263):
    assert found(name) == (tg263, "case")


@pytest.mark.parametrize(
    ("name", "tg263"),
    [
        ("Lunge_li", "Lung_L"),
        ("Lunge, links", "Lung_L"),
        ("Niere_re", "Kidney_R"),
        ("Niere re.", "Kidney_R"),
        ("Lt Lung", "Lung_L"),
        ("Lt. Lung", "Lung_L"),
        ("RLung", "Lung_R"),
        ("Rt Kidney", "Kidney_R"),
        ("kidney_left", "Kidney_L"),
        ("N. opticus sin", "OpticNrv_L"),
        ("Parotis dex", "Parotid_R"),
        ("riñón derecho", "Kidney_R"),
        ("rein gauche", "Kidney_L"),
        ("Płuco lewe", "Lung_L"),
        ("Herz", "Heart"),
        ("Myelon", "SpinalCord"),
        ("cord", "SpinalCord"),
        ("Harnblase", "Bladder"),
        ("Rippe 4 li", "Rib04_L"),
        ("Nieren", "Kidneys"),
        ("Niere bds", "Kidneys"),
        ("Lung both", "Lungs"),
        ("Femoral head left", "Femur_Head_L"),
    ],
)
def test_whole_names_of_other_languages_and_habits_are_synonyms(name, tg263):
    assert found(name) == (tg263, "synonym")


@pytest.mark.parametrize("name", ["Tränendrüse re", "Traenendruese re", "TRÄNENDRÜSE RE", "Tra\u0308nendru\u0308se re"])
def test_umlauts_may_be_written_in_any_way(name):
    assert found(name) == ("Glnd_Lacrimal_R", "synonym")


@pytest.mark.parametrize(
    "name",
    [
        "Drüse", "Lung", "Lunge", "Kidney", "Parotis", "Auge",  # a side, or a gland, has to be written
        "L+R Lung", "Lunge li re", "Lung LR", "Left lung right", "Niere bds li",  # two sides are none
        "Heart2", "Heart 2", "Heart 1.5", "Heart_old", "Herz_Lunge", "Heart test", "NotHeart", "Hearts",
        "Heart+5mm", "Heart*", "Heart?", "Heart^old", "~Heart", "_Heart", "zHeart", "Heart-5", "Lung_L-GTV",
        "Lung_S", "vbs", "Hear", "Haert", "reniere", "Liniere", "Lung left 2", "", " ", "_", "-", "Ω",
    ],
)  # fmt: skip
def test_nothing_is_guessed(name):
    assert match_name(name, source="manual") == NO_MATCH


@pytest.mark.parametrize(
    "name",
    [
        "PTV", "GTV", "CTV", "ITV", "IGTV", "ICTV", "PTV!", "GTVp", "GTVn2", "CTVsb", "PTV1", "PTV_High", "PTV_Mid01",
        "PTV_5000", "PTV_5040", "PTV_50.4Gy", "PTV_50p4Gy", "PTV_Liver_20Gyx3", "PTV_Liver_2000x3", "PTVp1_CT1PT1",
        "CTV_A_Aorta", "PTV_Boost", "PTV_Eval_7000-08", "CTVp2-05", "PTVn_High",
    ],
)  # fmt: skip
def test_targets_that_follow_the_rule_are_kept_as_they_are(name):
    assert found(name) == (name, "target")


@pytest.mark.parametrize(
    "name",
    ["PTV 5.0", "PTV 50", "PTV_5.0", "PTV-ring", "PTVring", "ptv_high", "PTV_Foo", "PTV_0.5", "PTV+5", "PTV 1", "GTV "],
)
def test_targets_that_break_the_rule_have_no_name_and_none_becomes_another(name):
    expected = ("GTV", "target") if name == "GTV " else (None, None)  # blanks at the end are padding of DICOM
    assert found(name) == expected


def test_a_decimal_point_is_not_lost():
    # the seed took `PTV 5.0` for `PTV50`, and so doses of 5 and of 50 Gy for one target
    assert found("PTV50") == ("PTV50", "target")
    assert found("PTV 5.0") == (None, None)
    assert found("Rib 1.0 L") == (None, None)


@pytest.mark.parametrize(
    ("name", "tg263", "evidence"),
    [
        ("SpinalCord_PRV05", "SpinalCord_PRV05", "exact"),
        ("OpticNrv_PRV03_L", "OpticNrv_PRV03_L", "exact"),
        ("Brainstem_PRV", "Brainstem_PRV", "exact"),
        ("Myelon PRV 3mm", "SpinalCord_PRV03", "synonym"),
        ("cord_PRV5mm", "SpinalCord_PRV05", "synonym"),
        ("PRV Hirnstamm", "Brainstem_PRV", "synonym"),
        ("Opticus li PRV 3 mm", "OpticNrv_PRV03_L", "synonym"),
        ("cord PRV 5", None, None),  # 5 mm or 0.5 cm
        ("cord PRV 0.5", None, None),
        ("cord PRV 0.5mm", None, None),
        ("PRV", None, None),
        ("cord PRV PRV", None, None),
        ("Hirnstamm PRV alt", None, None),
    ],
)
def test_a_planning_risk_volume_is_not_its_organ(name, tg263, evidence):
    assert found(name) == (tg263, evidence)


def test_classes_of_totalsegmentator_are_read_as_its_authors_mean_them():
    of_network = {"heart": "Heart", "kidney_left": "Kidney_L", "lung_upper_lobe_left": "Lung_LUL", "aorta": "A_Aorta",
                  "urinary_bladder": "Bladder", "femur_right": "Femur_R", "rib_left_4": "Rib04_L"}  # fmt: skip
    assert {c: match_name(c, source="totalsegmentator").tg263 for c in of_network} == of_network
    assert {match_name(c, source="totalsegmentator").evidence for c in of_network} == {"totalsegmentator"}
    # colon reaches to the anus, small_bowel lacks the duodenum, a vertebra is more than its body
    for name in ("colon", "small_bowel", "vertebrae_L1", "lung_left_lobe", "Heart"):
        assert match_name(name, source="totalsegmentator") == NO_MATCH
    assert found("colon") == ("Colon", "case")


def test_the_table_of_the_user_wins_and_may_say_that_there_is_no_name():
    mapping = NameMapping({("Heart", ""): None, ("OAR 1", ""): "~Heart_Wall", ("OAR 1", "custom"): "Heart"})
    assert match_name("Heart", source="manual", mapping=mapping) == match_name(
        "Heart", source="custom", mapping=mapping
    )
    assert (match_name("Heart", source="manual", mapping=mapping).evidence, found("Heart")[1]) == ("mapping", "exact")
    assert match_name("Heart", source="manual", mapping=mapping).tg263 is None
    assert match_name("OAR 1", source="manual", mapping=mapping).tg263 == "~Heart_Wall"
    assert match_name("OAR 1 ", source="custom", mapping=mapping).tg263 == "Heart"
    assert match_name("oar 1", source="custom", mapping=mapping) == NO_MATCH


@given(st.text(max_size=30))
def test_any_text_has_an_answer_that_is_a_name_or_none(name):
    match = match_name(name, source="manual")
    assert (match.tg263 is None) == (match.evidence is None)
    if match.tg263 is not None:
        assert match_name(match.tg263, source="manual").tg263 == match.tg263


@given(st.sampled_from(NAMES), st.sampled_from([str.lower, str.upper, lambda n: n.replace("_", " ")]))
def test_another_spelling_never_gives_another_name(name, respelt):
    assert match_name(respelt(name), source="manual").tg263 in (name, None)


@given(st.sampled_from(NAMES), st.sampled_from("0123456789"), st.booleans())
def test_a_digit_more_never_gives_the_same_name(name, more, in_front):
    assert match_name(more + name if in_front else name + more, source="manual").tg263 != name
