"""TOML as frozen dataclasses: what is read, what is refused, and how it is said."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neurotarget import tables
from neurotarget.errors import UserError
from neurotarget.kinds import Kind
from neurotarget.tables import TableError, number, table, text


@dataclass(frozen=True)
class Leaf:
    name: str
    value: int | float = number(at_least=0)


@dataclass(frozen=True)
class Tree:
    title: str
    kind: str = text(one_of=("oak", "elm"))
    leaves: Mapping[str, Leaf] = table(keys=("first", "second"), required=("first",))
    prices: Mapping[str, float] = table(keys=("ac", "mac"), above=0)
    age: int = number(3, at_least=1, at_most=900)
    height: float = number(1.5, above=0)
    tall: bool = False
    note: str = ""
    names: tuple[str, ...] = ()
    file: Path | None = None


KIND = Kind("a tree")
GIVEN = {"title": "a", "kind": "oak", "leaves": {"first": {"value": 128}}, "prices": {"ac": 1}}


def tree(**changes):
    return tables.fill(Tree, {**GIVEN, **changes}, "x.toml")


def test_what_is_left_out_has_its_default_and_what_is_given_its_type():
    leaves, prices = {"first": Leaf("first", 128)}, {"ac": 1.0}
    assert tree() == Tree("a", "oak", leaves, prices)
    full = tree(title=" b ", age=900, height=2, tall=True, names=["x", "y"], file="f.nir")
    assert full == Tree("b", "oak", leaves, prices, 900, 2.0, True, "", ("x", "y"), Path("f.nir"))
    assert type(full.height) is float and type(full.prices["ac"]) is float
    assert type(full.leaves["first"].value) is int
    assert tree(note="").note == ""


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"hight": 3}, r"x\.toml: unknown key 'hight' \(did you mean height\?\); known are title, kind, leaves"),
        ({"kind": "fir"}, "kind = 'fir'; one of oak, elm is expected"),
        ({"title": " "}, "title = ''; a text is expected"),
        ({"age": 0}, "age = 0; a whole number of at least 1 and at most 900 is expected"),
        ({"age": 901}, "age = 901; "),
        ({"age": 3.0}, "age = 3.0; a whole number"),
        ({"age": True}, "age = True; a whole number"),
        ({"age": 10**400}, r"age = 1000+\.\.\.; a whole number"),
        ({"age": 10**5000}, "age = a int that is too long to show; "),
        ({"height": 0}, "height = 0; a number above 0 is expected"),
        ({"height": 10**400}, r"height = 1000+\.\.\.; a number above 0"),
        ({"height": float("nan")}, "height = nan; a number above 0"),
        ({"height": float("inf")}, "height = inf; a number above 0"),
        ({"height": True}, "height = True; a number above 0"),
        ({"tall": 1}, "tall = 1; true or false is expected"),
        ({"names": "x"}, "names = 'x'; a list of texts is expected"),
        ({"names": [1]}, r"names = \[1\]; a list of texts"),
        ({"file": 3}, "file = 3; a text is expected"),
        ({"leaves": {}}, "leaves: no first"),
        ({"leaves": 3}, "leaves = 3; a table is expected"),
        ({"leaves": {"fist": {}}}, r"leaves: unknown key 'fist' \(did you mean first\?\)"),
        ({"leaves": {"first": {}}}, "leaves: first: no value"),
        ({"leaves": {"first": {"value": -1}}}, "leaves: first: value = -1; a number of at least 0"),
        ({"prices": {"ac": -1}}, "prices: ac = -1; a number above 0"),
    ],
)
def test_a_wrong_key_or_value_is_named(changes, words):
    with pytest.raises(TableError, match=words):
        tree(**changes)


def test_a_missing_key_is_named_and_the_error_is_the_readers_own():
    class OwnError(UserError):
        pass

    with pytest.raises(OwnError, match=r"x\.toml: no kind"):
        tables.fill(Tree, {"title": "a"}, "x.toml", OwnError)
    with pytest.raises(OwnError, match=r"x\.toml = \[\]; a table is expected"):
        tables.fill(Tree, [], "x.toml", OwnError)


HOSTILE = {
    "a long integer": b"a = " + b"9" * 5000,
    "brackets": b"a = " + b"[" * 3000,
    "not UTF-8": b"a = '\xff'",
    "no TOML": b"a = = 3",
    "binary": bytes(range(256)),
    "tables": b"[" + b"a." * 3000 + b"a]",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_toml_is_one_sentence(tmp_path, name):
    (tmp_path / "bad.toml").write_bytes(HOSTILE[name])
    try:
        tables.fill(Tree, tables.read(tmp_path / "bad.toml", KIND), str(tmp_path / "bad.toml"))
    except TableError as error:
        assert "bad.toml: " in str(error) and len(str(error)) < 1000
    else:
        raise AssertionError("it was taken")


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(content):
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        path = Path(folder, "a.toml")
        path.write_bytes(content)
        try:
            tables.fill(Tree, tables.read(path, KIND), str(path))
        except TableError as error:
            assert str(path) in str(error)


@pytest.mark.parametrize(
    ("setting", "where", "value"),
    [
        ("a.b=3", ("a", "b"), 3),
        ("a.b=[1, 2]", ("a", "b"), [1, 2]),
        ("a.b=bare words", ("a", "b"), "bare words"),
        ("new.c.d=true", ("new", "c", "d"), True),
        ("list.2.x=1", ("list", 1, "x"), 1),
        ("a.b=" + "[" * 3000, ("a", "b"), "[" * 3000),
    ],
)
def test_overrides_set_what_they_name(setting, where, value):
    content = {"a": {"b": 0}, "list": [{}, {}]}
    tables.override(content, setting)
    for key in where:
        content = content[key]
    assert content == value


NOT_NAMED = dict.fromkeys(("a", "a=3", "a.b", "a.b.c=3"), r"expected table\.key=value") | {
    f"list.{number}.x=1": rf"no list {number}; there are 2, counted from 1" for number in (0, 3, 9999999999999, "x")
}


@pytest.mark.parametrize("setting", NOT_NAMED)
def test_overrides_that_name_nothing_are_refused(setting):
    with pytest.raises(TableError, match=NOT_NAMED[setting]):
        tables.override({"a": {"b": 0}, "list": [{}, {}]}, setting)
