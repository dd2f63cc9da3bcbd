"""Price tables: every shipped one has a source and a grade, and one without is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from neurotarget.hardware.energy import twin
from neurotarget.hardware.energy.memory import access_pj, energies
from neurotarget.hardware.energy.prices import GRADES, ORDER, SHIPPED, PriceError, load_table, load_tables
from neurotarget.hardware.energy.published import load_published

GOOD = {
    "title": '"T"',
    "group": '"mine"',
    "node": '"1 nm"',
    "conditions": '"none"',
    "source": '"my bench"',
    "grade": '"measured"',
}


MEMORY = {**GOOD, "access_pj": "[[0, 5.0], [8192, 5.0]]"}


def write(path: Path, keys: dict[str, str], prices: str = "ac = 1.0") -> Path:
    text = "".join(f"{key} = {value}\n" for key, value in keys.items())
    path.write_text(f"{text}[prices_pj]\n{prices}\n")
    return path


def test_every_shipped_table_has_source_grade_and_group() -> None:
    tables = load_tables()
    assert len(tables) == len(list(SHIPPED.glob("*.toml"))) >= 15
    for table in tables:
        assert table.source and table.conditions and table.node
        assert table.grade in GRADES and table.group in ORDER
        assert table.prices_spiking or table.prices_dense
        assert table.prices_memory == (table.group == "memory included")


def test_published_figures_are_the_ones_shipped() -> None:
    tables = {table.name: dict(table.prices_pj) for table in load_tables()}
    assert tables["45nm-fp32"] == {"ac": 0.9, "mac": 4.6, "dense_mac": 4.6}
    assert tables["45nm-int32"] == {"ac": 0.1, "mac": 3.2, "dense_mac": 3.2}
    davies = {"synaptic_operation": 23.6, "neuron_update": 81.0, "inactive_update": 52.0, "message": 1.7}
    assert tables["loihi1-davies2018"] == davies
    sanafe = {"synaptic_operation": 35.5, "neuron_update": 51.2 + 21.6, "inactive_update": 51.2, "spike": 69.3}
    assert tables["loihi1-sanafe"] == pytest.approx({**sanafe, "message": 111.0})
    assert {
        name: prices["synaptic_operation"] for name, prices in tables.items() if set(prices) == {"synaptic_operation"}
    } == {
        "truenorth-akopyan2015": 2.5,
        "truenorth-merolla2014": 26.0,
        "tianjic-deng2020": 1.54,
        "odin-frenkel2018": 12.7,
        "reckon-frenkel2022": 5.3,
        "seneca-tang2023": 2.8,
        "neuronflow-moreira2020": 20.0,
        "ubrain-stuijt2021": 26.0,
        "spinnaker-stromatias2013": 45.0,
        "spinnaker2-hoeppner2021": 10.0,
    }
    assert tables["keras-spiking-loihi"]["synaptic_operation"] == pytest.approx(23.6 + 3.5)
    assert tables["gpu-a100-fp16"]["dense_mac"] == pytest.approx(2 * 1.28, rel=0.01)  # 400 W / 312 TFLOP/s
    assert tables["gpu-h100-fp32"]["dense_mac"] == pytest.approx(2 * 10.4, rel=0.01)


def test_prices_of_an_access_are_published_ones() -> None:
    tables = {table.name: table for table in load_tables() if table.prices_memory}
    assert {name: table.access_pj for name, table in tables.items()} == {
        "lemaire2022-joined": ((0, 0), (8 * 1024, 10), (32 * 1024, 20), (1024**2, 100)),
        "lemaire2022-joined-32bit": ((0, 0), (8 * 1024, 5), (32 * 1024, 10), (1024**2, 50)),
        "lemaire2022-line": ((0, 13.2), (10**6, 13.2 + 87.2)),
    }
    for table in tables.values():
        assert table.prices_pj == {"ac": 0.1, "mac": 3.2}  # an addition; a multiplication of 3.1 and an addition
        assert "2210.13107" in table.source and "Horowitz" in table.source
        assert table.grade == ("derived" if table.name.endswith("32bit") else "second-hand")


def test_a_user_adds_a_price_of_an_access(tmp_path: Path) -> None:
    tables = load_tables([write(tmp_path / "blocks.toml", MEMORY, "ac = 0.1\nmac = 3.2")])
    figures = energies([], tables)
    assert [figure.table for figure in figures if figure.boundary == "memory"][-1] == "blocks"
    assert access_pj(1, tables[-1]) == access_pj(10**6, tables[-1]) == 5.0
    assert (figures[-1].source, figures[-1].grade) == ("my bench", "measured")


@pytest.mark.parametrize(
    ("access", "prices", "reason"),
    [
        ("[]", "ac = 0.1\nmac = 3.2", "at least two points"),
        ("[[0, 5.0]]", "ac = 0.1\nmac = 3.2", "at least two points"),
        ("5.0", "ac = 0.1\nmac = 3.2", "at least two points"),
        ("[[0, 5.0], 6]", "ac = 0.1\nmac = 3.2", "not 6"),
        ("[[0, 5.0], [8]]", "ac = 0.1\nmac = 3.2", "not .8."),
        ("[[0, 5.0], [8, nan]]", "ac = 0.1\nmac = 3.2", "not .8, nan."),
        ("[[0, 5.0], [8, true]]", "ac = 0.1\nmac = 3.2", "not .8, True."),
        ("[[0, -5.0], [8, 6.0]]", "ac = 0.1\nmac = 3.2", "not .0, -5.0."),
        ("[[4, 5.0], [8, 6.0]]", "ac = 0.1\nmac = 3.2", "from 0 up"),
        ("[[0, 5.0], [0, 6.0]]", "ac = 0.1\nmac = 3.2", "not .0.0, 6.0. after .0.0, 5.0."),
        ("[[0, 5.0], [8, 4.0]]", "ac = 0.1\nmac = 3.2", "never falls, not .8.0, 4.0. after .0.0, 5.0."),
        ("[[0, 1.0], [1e-300, 5.0]]", "ac = 0.1\nmac = 3.2", "a byte or more apart"),
        ("[[0, 1.0], [8, 2e12]]", "ac = 0.1\nmac = 3.2", "an access costs at most 1e.12 pJ"),
        (
            "[[0, 1.0], [8, 2.0]]",
            "ac = 0.1\nmac = 1e300",
            "mac = 1e.300; a number above 0 and at most 1e.12",
        ),
        ("[[0, 0.0], [8, 0.0]]", "ac = 0.1\nmac = 3.2", "costs something"),
        ("[[0, 5.0], [8, 6.0]]", "ac = 0.1", "prices ac and mac"),
        ("[[0, 5.0], [8, 6.0]]", "ac = 0.1\nmac = 3.2\ndense_mac = 3.2", "prices ac and mac"),
    ],
)
def test_a_wrong_price_of_an_access_is_refused(tmp_path: Path, access: str, prices: str, reason: str) -> None:
    with pytest.raises(PriceError, match=reason):
        load_table(write(tmp_path / "a.toml", {**GOOD, "access_pj": access}, prices))


def test_what_a_table_with_memory_does_not_heed_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.toml", {**MEMORY, "integer_payload": "'unary'"}, "ac = 0.1\nmac = 3.2")
    with pytest.raises(PriceError, match="integer_payload 'unary' with access_pj"):
        load_table(path)


def test_two_tables_of_one_title_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PriceError, match="have the title"):
        load_tables([write(tmp_path / name, GOOD) for name in ("a.toml", "b.toml")])


def test_figures_outside_the_tables_have_source_and_grade_too() -> None:
    for figure in load_published():
        assert figure.source and figure.unit and figure.boundary and figure.grade in GRADES, figure
    result = twin.compare([])
    assert "2409.08290" in result.source and result.grade in GRADES


def test_a_user_adds_a_table(tmp_path: Path) -> None:
    added = load_tables([write(tmp_path / "mine.toml", GOOD)])[-1]
    assert (added.name, added.prices_pj, added.integer_payload, added.checked) == ("mine", {"ac": 1.0}, "mac", "")


@pytest.mark.parametrize("key", sorted(GOOD))
def test_a_table_that_lacks_a_key_is_refused(tmp_path: Path, key: str) -> None:
    rest = {name: value for name, value in GOOD.items() if name != key}
    with pytest.raises(PriceError, match=f"no {key}"):
        load_table(write(tmp_path / "a.toml", rest))
    with pytest.raises(PriceError, match=f"{key} = ''; "):
        load_table(write(tmp_path / "a.toml", {**rest, key: '" "'}))


@pytest.mark.parametrize(
    ("keys", "prices", "reason"),
    [
        ({"sorce": '"x"'}, "ac = 1.0", "unknown key 'sorce'"),
        ({"grade": '"guessed"'}, "ac = 1.0", "grade = 'guessed'"),
        ({"integer_payload": '"half"'}, "ac = 1.0", "integer_payload = 'half'"),
        ({}, "acc = 1.0", "prices_pj: unknown key 'acc'"),
        ({}, "", "no prices"),
        ({}, "ac = -1.0", "above 0"),
        ({}, "ac = nan", "above 0"),
        ({}, "ac = true", "above 0"),
        ({}, 'ac = "1"', "above 0"),
        ({}, "mac = 1.0", "needs one for ac"),
    ],
)
def test_a_wrong_table_is_refused(tmp_path: Path, keys: dict[str, str], prices: str, reason: str) -> None:
    with pytest.raises(PriceError, match=reason):
        load_table(write(tmp_path / "a.toml", {**GOOD, **keys}, prices))


def test_files_that_are_not_tables(tmp_path: Path) -> None:
    with pytest.raises(PriceError, match="no such file"):
        load_table(tmp_path / "none.toml")
    (tmp_path / "a.toml").write_bytes(b"\xff\xfe = 3")
    with pytest.raises(PriceError, match="not a price table"):
        load_table(tmp_path / "a.toml")
    with pytest.raises(PriceError, match="two price tables are called '45nm-fp32'"):
        load_tables([write(tmp_path / "45nm-fp32.toml", GOOD)])
