"""TOML files as frozen dataclasses: every key and value is checked, and an error names file, key and what is expected.

A dataclass says what its keys may hold where it declares them:

    epochs: int = number(40, at_least=1)
    grade: str = text(one_of=("measured", "derived"))

Fields without a default must be in the file. Texts lose the blanks around them, and those in the file are not empty
unless their default is.
"""

from __future__ import annotations

import dataclasses
import sys
import tomllib
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar

from neurotarget.errors import UserError, nearest
from neurotarget.kinds import Kind, mistaken

Filled = TypeVar("Filled")

LARGEST_INTEGER = 2**63 - 1
LONGEST_SHOWN = 80  # characters of a value in an error
REQUIRED: Any = dataclasses.MISSING
WORDS: dict[Any, str] = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}
TYPES: dict[Any, tuple[type, ...]] = {int: (int,), float: (int, float), bool: (bool,), str: (str,)}
AS_WRITTEN = int | float  # a number that stays an int where the file has one
WORDS[AS_WRITTEN], TYPES[AS_WRITTEN] = WORDS[float], TYPES[float]


class TableError(UserError):
    """A TOML file that cannot be used: the message names the file, the key and what is expected."""


# ---- what a field may hold -------------------------------------------------------------------------------------------


def number(
    default: Any = REQUIRED, *, at_least: float | None = None, above: float | None = None, at_most: float | None = None
) -> Any:
    """A field that holds an int or a float, finite and within the limits."""
    limits = {"of at least": at_least, "above": above, "at most": at_most}
    return _field(default, limits={word: limit for word, limit in limits.items() if limit is not None})


def text(default: Any = REQUIRED, *, one_of: Sequence[str] = ()) -> Any:
    """A field that holds a text, one of those named where any are."""
    return _field(default, one_of=tuple(one_of))


def table(*, keys: Sequence[str], required: Sequence[str] = (), **limits: Any) -> Any:
    """A field that holds a table of these keys; its values are within the `limits` of `number`."""
    return _field(REQUIRED, keys=tuple(keys), required=tuple(required), **number(**limits).metadata)


def _field(default: Any, **rules: Any) -> Any:
    return dataclasses.field(default=default, metadata=rules)


# ---- reading ---------------------------------------------------------------------------------------------------------


def read(path: str | Path, kind: Kind, error: type[UserError] = TableError) -> dict[str, Any]:
    """The tables of a TOML file, not checked yet.

    Args:
        kind: what the file should be.
        error: to be raised.
    """
    if mistake := mistaken(path, kind):
        raise error(mistake)
    try:
        return parse(Path(path).read_bytes().decode())
    except FileNotFoundError:
        raise error(f"{path}: no such file") from None
    except OSError as fault:
        raise error(f"{path}: {fault.strerror or fault}") from fault
    except (ValueError, RecursionError) as fault:
        raise error(f"{path}: not {kind.words}: {fault}") from fault


def parse(content: str) -> dict[str, Any]:
    """TOML of any origin.

    Raises:
        ValueError, RecursionError: it is none, is nested too deeply, or holds a number of thousands of digits.
    """
    return tomllib.loads(content)


def override(tables: dict[str, Any], setting: str, error: type[UserError] = TableError) -> None:
    """Sets `table.key=value` in the tables; the value is TOML, or a bare text. `list.N.key=value` counts from 1."""
    key, separator, value = setting.partition("=")
    *path, name = key.split(".")
    place: Any = tables
    for part in path:
        if isinstance(place, dict):
            place = place.setdefault(part, {})
        elif isinstance(place, list) and part.isdecimal() and 0 < int(part[:9]) <= len(place):
            place = place[int(part[:9]) - 1]
        elif isinstance(place, list):
            raise error(f"--set {setting}: no {path[0]} {part}; there are {len(place)}, counted from 1")
        else:
            place = None
    if not (separator and path and name and isinstance(place, dict)):
        raise error(f"--set {setting}: expected table.key=value, for example training.epochs=5")
    try:
        place[name] = parse(f"value = {value}")["value"]
    except (ValueError, RecursionError):
        place[name] = value


# ---- checking --------------------------------------------------------------------------------------------------------


def fill(kind: type[Filled], content: Any, where: str, error: type[UserError] = TableError, /, **given: Any) -> Filled:
    """An instance of a dataclass from a table.

    Args:
        content: what stands in the file.
        where: the file and the place in it, for messages.
        error: to be raised.
        given: fields that do not come from the table.

    Raises:
        UserError: as `error`: no table, a key that is unknown or missing, a value of another type or beyond a limit.
    """
    hints = typing.get_type_hints(kind)
    fields = {field.name: field for field in dataclasses.fields(kind) if field.name not in given}  # type: ignore[arg-type]
    _check_keys(content, tuple(fields), where, error)
    values = dict(given)
    for name, field in fields.items():
        if name in content:
            rules = {**field.metadata, "may_be_blank": field.default == ""}
            values[name] = _value(hints[name], content[name], rules, where, name, error)
        elif field.default is REQUIRED and field.default_factory is REQUIRED:
            raise error(f"{where}: no {name}; without its {name} it is refused")
    return kind(**values)


def _check_keys(content: Any, known: Sequence[str], where: str, error: type[UserError]) -> None:
    if not isinstance(content, dict):
        raise error(f"{where} = {shown(content)}; a table is expected")
    for key in content:
        if key not in known:
            raise error(f"{where}: unknown key {shown(key)}{nearest(key, known)}; known are {', '.join(known)}")


def _value(kind: Any, value: Any, rules: Mapping[str, Any], where: str, name: str, error: type[UserError]) -> Any:
    if typing.get_origin(kind) is UnionType and type(None) in typing.get_args(kind):  # X | None: left out it is None
        kind = next(part for part in typing.get_args(kind) if part is not type(None))
    if dataclasses.is_dataclass(kind):
        return fill(kind, value, f"{where}: {name}", error)  # type: ignore[arg-type]
    if "keys" in rules:
        return _values(typing.get_args(kind)[1], value, rules, f"{where}: {name}", error)
    if typing.get_origin(kind) is tuple:
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            raise error(f"{where}: {name} = {shown(value)}; a list of texts is expected")
        return tuple(value)
    if kind is Path:
        return Path(_scalar(str, value, rules, where, name, error))
    return _scalar(kind, value, rules, where, name, error)


def _values(kind: Any, content: Any, rules: Mapping[str, Any], where: str, error: type[UserError]) -> dict[str, Any]:
    _check_keys(content, rules["keys"], where, error)
    for key in rules["required"]:
        if key not in content:
            raise error(f"{where}: no {key}")
    fills = dataclasses.is_dataclass(kind)
    return {
        key: fill(kind, value, f"{where}: {key}", error, name=key)
        if fills
        else _scalar(kind, value, rules, where, key, error)
        for key, value in content.items()
    }


def _scalar(kind: Any, value: Any, rules: Mapping[str, Any], where: str, name: str, error: type[UserError]) -> Any:
    expected, fits = WORDS[kind], type(value) in TYPES[kind]
    if kind is str:
        value = value.strip() if fits else value
        fits = fits and (bool(value) or rules["may_be_blank"])
        if one_of := rules.get("one_of"):
            expected, fits = f"one of {', '.join(one_of)}", fits and value in one_of
    elif fits and kind is not bool:
        fits = abs(value) <= (LARGEST_INTEGER if kind is int else sys.float_info.max)
        fits = fits and all(WITHIN[word](value, limit) for word, limit in rules.get("limits", {}).items())
    if limits := rules.get("limits"):
        expected += " " + " and ".join(f"{word} {limit:g}" for word, limit in limits.items())
    if not fits:
        raise error(f"{where}: {name} = {shown(value)}; {expected} is expected")
    return float(value) if kind is float else value


WITHIN = {
    "of at least": lambda value, limit: value >= limit,
    "above": lambda value, limit: value > limit,
    "at most": lambda value, limit: value <= limit,
}


def shown(value: Any) -> str:
    """A value of a file for a message: short, whatever it is."""
    try:
        words = repr(value)
    except (ValueError, RecursionError):  # Python writes no number of thousands of digits
        return f"a {type(value).__name__} that is too long to show"
    return words if len(words) <= LONGEST_SHOWN else f"{words[:LONGEST_SHOWN]}..."
