"""What the doctor finds, part by part, and when its exit code is 1."""

import json
import sys

import pytest
from neurotarget.hardware import doctor

from neurotarget.errors import UserError


def test_a_part_that_raises_is_missing_with_its_first_line_and_the_remedy():
    def find():
        raise UserError("not here\nand more")

    assert doctor.check("part", find, "get one") == doctor.Check("part", False, "not here", "get one", False)
    assert doctor.check("part", lambda: "here", "get one") == doctor.Check("part", True, "here", "", False)
    with pytest.raises(KeyError):  # a fault of ours is no missing part
        doctor.check("part", lambda: {}["key"], "")


def test_the_simulator_runs_a_neuron():
    """v = v / 2 + 1 passes 1.2 at every second of eight steps."""
    assert doctor.simulator() == "runs a neuron: 4 spikes"


def test_packages_by_name():
    assert doctor.packages("numpy")().startswith("numpy 2.")
    missing = doctor.check("parts", doctor.packages("numpy", "neurotarget-no-such-package"), "pip install it")
    assert not missing.works and missing.remedy == "pip install it"


def test_a_data_set_is_known_by_a_file(tmp_path):
    find = doctor.data_set("FOLDER", "shd_train.h5", {"FOLDER": str(tmp_path)})
    with pytest.raises(UserError, match=r"FOLDER is .*, where no shd_train\.h5 is"):
        find()
    (tmp_path / "shd_train.h5").touch()
    assert find() == str(tmp_path)
    with pytest.raises(UserError, match="FOLDER is not set"):
        doctor.data_set("FOLDER", "shd_train.h5", {})()


def test_it_fails_only_where_nothing_works(monkeypatch, capsys):
    whole = [doctor.Check("Python", True, "3.12", "", True), doctor.Check("Lava", False, "none", "get Lava", False)]
    monkeypatch.setattr(doctor, "checks", lambda: whole)
    assert doctor.main([]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said == [
        "state    part    found",
        "works    Python  3.12",
        "missing  Lava    none",
        "                 get it: get Lava",
        "1 of 2 parts work; what every command needs works",
    ]
    monkeypatch.setattr(doctor, "checks", lambda: [doctor.Check("Python", False, "2.7", "3.11", True), whole[1]])
    assert doctor.main(["--json"]) == 1
    figures = json.loads(capsys.readouterr().out)
    assert not figures["works"] and [part["part"] for part in figures["parts"]] == ["Python", "Lava"]


def test_all_parts_are_asked(monkeypatch):
    monkeypatch.setattr(doctor, "in_lava", lambda: "runs")  # takes ten seconds; tests/sim/lava run Lava
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    found = {one.part: one for one in doctor.checks()}
    assert len(found) == 13 + len(doctor.DATA_SETS)
    assert [name for name, one in found.items() if one.required] == ["Python", "simulator"]
    assert found["simulator"].works and found["Lava"].found == "runs"
    assert not found["speech (synth)"].works and "neurotarget[demo]" in found["speech (synth)"].remedy
    assert all(one.works or one.remedy for one in found.values())
