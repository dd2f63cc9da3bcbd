"""The ways in which a command fails. Every error class of the project derives from one of the two below.

What is none of them is a fault of the program and ends in a traceback.
"""

from __future__ import annotations

import difflib
import importlib.util
import sys
import unicodedata
from collections.abc import Iterable


class NeurotargetError(Exception):
    """Base of the project's errors; the message is one sentence for the user.

    Attributes:
        exit_code: of a command that it ends.
    """

    exit_code = 2


class UserError(NeurotargetError):
    """Input or usage that cannot be used: the message says what was found, what is expected and what to do."""


class PackageMissing(UserError, ImportError):
    """A package that is not installed: the message says how to get it."""


# What every command may import (`dependencies` of pyproject.toml), and what networks in PyTorch need besides.
CORE = ("h5py", "jinja2", "matplotlib", "nir", "numba", "numpy", "rich", "scipy", "soundfile", "tqdm")
TRAINING = ("torch", "spikingjelly")


def package_missing(error: ModuleNotFoundError) -> PackageMissing | None:
    """What to do where a package that we need was imported in vain; None where it was another."""
    package = (error.name or "").partition(".")[0]
    if package not in CORE + TRAINING:
        return None
    if package in CORE or importlib.util.find_spec("nir") is None:
        return PackageMissing(
            f"{sys.executable} has no {package}, which neurotarget needs: use the Python that neurotarget is installed "
            "in (after make setup: source .venv/bin/activate), or pip install neurotarget"
        )
    return PackageMissing(
        f"this needs PyTorch and SpikingJelly, and {package} is not installed: pip install 'neurotarget[train]'"
    )


class CheckFailed(NeurotargetError):
    """The input was good, and a result did not pass its check; nothing was written."""

    exit_code = 1


def nearest(word: str, known: Iterable[str]) -> str:
    """` (did you mean X?)` where a known word is near, else nothing."""
    near = difflib.get_close_matches(word, list(known), n=1)
    return f" (did you mean {near[0]}?)" if near else ""


CONTROLS = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})  # Unicode's categories of what is no visible character or space


def printable(text: str) -> str:
    r"""A text from elsewhere as one line that a terminal only shows: controls and undecodable bytes as `\x1b`."""
    return "".join(
        _escaped(character) if unicodedata.category(character) in CONTROLS else character for character in text
    )


def _escaped(character: str) -> str:
    byte = ord(character) - 0xDC00
    if 0x80 <= byte <= 0xFF:  # of a path that is not UTF-8 (PEP 383)
        return f"\\x{byte:02x}"
    return character.encode("unicode_escape").decode("ascii")
