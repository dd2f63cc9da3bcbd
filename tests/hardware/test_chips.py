"""Chips as data: every shipped number has a source and a grade, and one without is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from neurotarget.hardware.chips import synapses
from neurotarget.hardware.chips.limits import GRADES, SHIPPED, ChipError, load_chip, shipped


@pytest.mark.parametrize("name", shipped())
def test_every_shipped_number_has_unit_source_and_grade(name: str) -> None:
    chip = load_chip(name)
    for group in (chip.limits, chip.sizes, chip.mesh):
        for item in group.values():
            assert item.unit and item.source and item.grade in GRADES, item
            # What nobody published says so in its source, and the other way round.
            assert ("not published" in item.source) <= (item.grade == "assumed"), item


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('grade = "second-hand"', "", "no grade"),
        ('grade = "second-hand"', 'grade = "certain"', "grade = 'certain'"),
        ('unit = "cores"', "", "no unit"),
        ("value = 128", 'value = "128"', "a number of at least 0"),
        ("value = 128", "value = true", "a number of at least 0"),
        ("value = 128", "value = nan", "a number of at least 0"),
        ("value = 128", "value = 1e30", "at most"),
        ("[mesh.tile_cores]\nvalue = 4", "[mesh.tile_cores]\nvalue = 0", "tile_cores is 0; at least 1"),
        ("[sizes.block_synapses]\nvalue = 64", "[sizes.block_synapses]\nvalue = 0.5", "block_synapses is 0.5"),
        ("[limits.cores]", "[limits.corse]", "limits: unknown key 'corse' .did you mean cores"),
        ("[limits.input_axons]", "[limits.axons]", "limits: unknown key 'axons'"),
        ("[limits.cores]", "[limits.cores]\nguess = 1", "unknown key 'guess'"),
        ('encoding = "blocks"', 'encoding = "zip"', "encoding = 'zip'"),
        ('title = "Loihi 1"', 'title = "Loihi 1"\nname = "x"', "unknown key 'name'"),
        ('title = "Loihi 1"', 'title = "', "not a chip"),
    ],
)
def test_a_number_of_unknown_origin_is_refused(tmp_path: Path, old: str, new: str, words: str) -> None:
    path = tmp_path / "chip.toml"
    text = (SHIPPED / "loihi1.toml").read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(ChipError, match=words):
        load_chip(str(path))


def test_a_source_is_required(tmp_path: Path) -> None:
    path = tmp_path / "chip.toml"
    path.write_text((SHIPPED / "loihi1.toml").read_text().replace("source = ", "checked = ", 1))
    with pytest.raises(ChipError, match="no source"):
        load_chip(str(path))


def test_an_unknown_chip_names_those_that_ship() -> None:
    with pytest.raises(ChipError, match="loihi1, loihi2"):
        load_chip("loihi3")


# nengo-loihi 1.1.0: SynapseConfig(weight_bits, delay_bits, idx_bits, n_synapses=63).bits_per_axon(n), run once.
NENGO_LOIHI_BITS = [
    # weight bits, delay bits, index bits, synapses, bits
    *[(8, 0, 0, n, b) for n, b in ((1, 64), (63, 576), (64, 576), (65, 640), (128, 1152), (130, 1216), (1000, 9024))],
    *[(8, 6, 0, n, b) for n, b in ((1, 64), (63, 896), (64, 960), (65, 1024), (130, 1984), (1000, 14976))],
    *[(8, 6, 10, n, b) for n, b in ((1, 64), (63, 1536), (64, 1600), (65, 1664), (130, 3264), (1000, 25024))],
    *[(4, 0, 6, n, b) for n, b in ((1, 64), (63, 640), (64, 704), (65, 768), (130, 1472), (1000, 11008))],
    *[(1, 0, 0, n, b) for n, b in ((1, 64), (63, 128), (64, 128), (65, 192), (130, 320), (1000, 1984))],
]


@pytest.mark.parametrize(("weight", "delay", "index", "count", "bits"), NENGO_LOIHI_BITS)
def test_loihi_1_blocks_take_what_nengo_loihi_says(weight: int, delay: int, index: int, count: int, bits: int) -> None:
    form = synapses.Format(weight, delay, index)
    assert synapses.memory_bits(load_chip("loihi1"), np.array([count]), form) == bits
    assert synapses.memory_bits(load_chip("loihi1"), np.array([count, count]), form) == 2 * bits


def test_loihi_2_has_no_headers() -> None:
    form = synapses.Format(8, 0, 0)
    assert synapses.memory_bits(load_chip("loihi2"), np.array([64, 65]), form) == 512 + 576


def test_widths_of_index_and_delay() -> None:
    assert [synapses.index_bits(n) for n in (1, 64, 65, 1024, 4096)] == [6, 6, 7, 10, 12]
    with pytest.raises(ValueError, match="4097 targets needs 13 bits"):
        synapses.index_bits(4097)
    assert [synapses.delay_bits(n) for n in (0, 1, 2, 62, 63)] == [0, 1, 2, 6, 6]
