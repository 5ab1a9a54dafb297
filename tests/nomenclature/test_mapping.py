from __future__ import annotations

import pytest

from rtpipeline.errors import ConfigError
from rtpipeline.nomenclature.mapping import load_mapping


def written(tmp_path, text, encoding="utf-8"):
    path = tmp_path / "names.csv"
    path.write_text(text, encoding=encoding)
    return path


def test_a_table_is_read_as_it_stands(tmp_path):
    text = (
        'structure_name;TG263;source\nHerz 1;Heart;\nHerz 1;~Heart_Sub;custom\n"Ring; 2 cm";;\nZiel;PTV_5000;manual\n'
    )
    mapping = load_mapping(written(tmp_path, "\ufeff" + text))
    assert mapping.get("Herz 1", "manual") == "Heart"
    assert mapping.get("Herz 1", "custom") == "~Heart_Sub"
    assert mapping.has("Ring; 2 cm", "derived") and mapping.get("Ring; 2 cm", "derived") is None
    assert mapping.has("Ziel", "manual") and not mapping.has("Ziel", "custom")


def test_the_same_row_twice_is_no_contradiction(tmp_path):
    path = written(tmp_path, "structure_name,tg263\nHerz,Heart\nHerz,Heart\n")
    assert load_mapping(path).get("Herz", "manual") == "Heart"


def test_a_name_is_not_broken_at_signs_that_end_no_line(tmp_path):
    mapping = load_mapping(written(tmp_path, "structure_name,tg263\nHerz\x85 alt,Heart\n"))
    assert mapping.get("Herz\x85 alt", "manual") == "Heart"
    assert not mapping.has("Herz", "manual")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "no column 'structure_name'"),
        ("name,tg263\nHerz,Heart\n", "unknown column 'name'"),
        ("structure_name\nHerz\n", "no column 'tg263'"),
        ("structure_name,tg263,tg263\nHerz,Heart,Heart\n", "a column twice"),
        ("structure_name,tg263\nHerz,Heart\n,Heart\n", "line 3: structure_name is empty"),
        ("structure_name,tg263\nHerz,Hart\n", "line 2: tg263 is 'Hart', which is no TG-263 name"),
        ("structure_name,tg263\nHerz,heart\n", "write ~heart for a name of your own"),
        ("structure_name,tg263\nHerz,~\n", "a name behind it is needed"),
        ("structure_name,tg263,source\nHerz,Heart,doctor\n", "source is 'doctor'; empty or one of manual,"),
        ("structure_name,tg263\nHerz,Heart\nHerz,Liver\n", "line 3: 'Herz' is Liver here and Heart above"),
        ("structure_name,tg263\nHerz,Heart,manual\n", "more values than columns"),
        ('structure_name,tg263\n"Herz"x,Heart\n', "line 2:"),
        ("structure_name,tg263\nHerz\n", "line 2: no value for tg263"),
    ],
)
def test_a_wrong_table_is_refused_with_the_line(tmp_path, text, told):
    with pytest.raises(ConfigError, match="structure_names") as error:
        load_mapping(written(tmp_path, text))
    assert told in str(error.value)


def test_a_table_in_another_encoding_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="UTF-8"):
        load_mapping(written(tmp_path, "structure_name,tg263\nDrüse,Glnd_Thyroid\n", "latin-1"))
    with pytest.raises(ConfigError, match="cannot be read"):
        load_mapping(tmp_path / "absent.csv")
