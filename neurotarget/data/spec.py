"""Reading a SPEC, the one-line name of a data set: `KIND[:PATH][?key=value[&key=value...]]`."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from neurotarget.errors import nearest
from neurotarget.kinds import SPEC, mistaken

from .base import DataError

# kind -> the options it takes; every kind but synth needs a PATH.
OPTIONS: dict[str, tuple[str, ...]] = {
    "synth": ("steps", "voices", "n_bins"),
    "gsc": ("steps", "words", "rate", "fmax", "n_mels", "n_fft", "validation", "test"),
    "shd": ("steps", "origin", "n_bins"),
    "ssc": ("steps", "origin", "n_bins"),
    "fsdd": ("steps", "fmax", "n_mels", "n_fft", "split", "leave_out"),
    "wav": ("steps", "rate", "fmax", "n_mels", "n_fft"),
    "nmnist": ("steps", "size"),
    "dvsgesture": ("steps", "size"),
    "cifar10dvs": ("steps", "size"),
}


# kind -> where its folder comes from, for whoever has none
FROM = {
    "gsc": "Google Speech Commands v2 from download.tensorflow.org/data/speech_commands_v0.02.tar.gz, unpacked",
    "shd": "the Spiking Heidelberg Digits from zenkelab.org/datasets: shd_train.h5 and shd_test.h5, unpacked",
    "ssc": "the Spiking Speech Commands from zenkelab.org/datasets: ssc_train.h5, ssc_valid.h5, ssc_test.h5, unpacked",
    "fsdd": "the Free Spoken Digit Dataset from github.com/Jakobovski/free-spoken-digit-dataset",
}

VARIABLE = re.compile(r"\$\{?(\w+)")
SHORTEST_HIDDEN = 4


@dataclass(frozen=True)
class Spec:
    """A SPEC taken apart; option values are still text."""

    text: str
    kind: str
    path: Path
    options: dict[str, str]

    def integer(self, key: str, default: int, minimum: int, maximum: int) -> int:
        """Option `key` as an integer of minimum..maximum; DataError for anything else."""
        text = self.options.get(key)
        if text is None:
            return default
        # int() would also take "1_0", " 10" and digits of other scripts.
        if not (text.isascii() and text.isdigit()) or not minimum <= int(text[:12]) <= maximum:
            raise DataError(
                f"{self.text}: {key}={text} is not a whole number from {minimum} to {maximum}; "
                f"leave it out for {default}"
            )
        return int(text)

    def word(self, key: str, allowed: tuple[str, ...]) -> str:
        """Option `key` as one of the words `allowed`, the first by default; DataError for anything else."""
        text = self.options.get(key, allowed[0])
        if text not in allowed:
            raise DataError(f"{self.text}: {key}={text}; expected one of {', '.join(allowed)}")
        return text

    def steps(self, default: int = 100) -> int:
        """Steps a second."""
        return self.integer("steps", default, 1, 10_000)


def expanded(text: str) -> str:
    """A SPEC, or the path of an .npz, from a file that is shared between machines: $NAME and ${NAME} are replaced.

    Raises:
        DataError: a variable that is not set.
    """
    for name in VARIABLE.findall(text):
        if name not in os.environ:
            kind = text.partition(":")[0]
            content = f" of {FROM[kind]}" if kind in FROM else ""
            raise DataError(f"{text}: environment variable {name} is not set; set it to the folder{content}")
    return os.path.expandvars(text)


def as_written(message: str, text: str) -> str:
    """A message about an expanded text with the names of its variables again: who wrote it may not know their values.

    Values of a few characters stay; elsewhere in the message they would be another word's.
    """
    for name in VARIABLE.findall(text):
        value = os.environ.get(name, "")
        message = message.replace(value, f"${name}") if len(value) >= SHORTEST_HIDDEN else message
    return message


def parse(text: str) -> Spec:
    """Take a SPEC apart. DataError for an unknown kind or key, a repeated key, a missing or superfluous path."""
    kinds = ", ".join("synth" if kind == "synth" else f"{kind}:PATH" for kind in OPTIONS)
    source, question, query = text.partition("?")
    kind, colon, path = source.partition(":")
    if kind not in OPTIONS and Path(text).is_file() and (mistake := mistaken(text, SPEC)):
        raise DataError(mistake)
    if kind not in OPTIONS:
        raise DataError(
            f"{text!r}: unknown data source {kind!r}{nearest(kind, OPTIONS)}; expected one of {kinds}; a network is "
            "also run on an .npz file"
        )
    if kind == "synth" and colon:
        raise DataError(f"{text}: synth is made on this machine and takes no path; write synth, or synth?steps=100")
    if kind != "synth" and not path:
        raise DataError(f"{text}: no path; write {kind}:PATH")
    options: dict[str, str] = {}
    for part in query.split("&") if question else ():
        key, equals, value = part.partition("=")
        if key not in OPTIONS[kind] or not equals:
            raise DataError(
                f"{text}: unknown option {part!r}; {kind} takes "
                + ", ".join(f"{allowed}=VALUE" for allowed in OPTIONS[kind])
            )
        if key in options:
            raise DataError(f"{text}: option {key} is given twice; keep one of them")
        options[key] = value
    return Spec(text, kind, Path(path).expanduser(), options)


def unlabelled(text: str) -> bool:
    """Whether a SPEC names recordings without labels."""
    return parse(text).kind == "wav"
