"""Every command that a page shows is one that its parser takes; what it names ships, and its settings are settings."""

import importlib
import re
import tomllib

import pytest
from neurotarget.model.training import settings, stages

from neurotarget.cli import VERBS, Command, command
from neurotarget.data.spec import parse
from tests.docs.documented import ROOT, Documented, commands, documented

FOUND = documented()
COMMANDS = {command(verb).door: command(verb) for verb in VERBS}
VARIABLES = ("NEUROTARGET_SHD", "NEUROTARGET_SSC", "NEUROTARGET_GSC", "NEUROTARGET_FSDD")


def module_and_arguments(words):
    """The module that a command runs and its arguments; torchrun runs a module too."""
    if words[0] == "neurotarget":
        verb = words[1]
        return (command(verb).door, words[2:]) if verb in VERBS else (None if verb == "--version" else verb, [])
    if "-m" not in words:
        return None, []
    at = words.index("-m")
    return words[at + 1].removeprefix("neurotarget."), words[at + 2 :]


RUN = [shown for shown in FOUND if module_and_arguments(shown.words)[0]]


def named(shown):
    return f"{shown.page}: {shown.text}"


@pytest.mark.parametrize("shown", RUN, ids=named)
def test_the_parser_takes_it(shown, monkeypatch):
    module, arguments = module_and_arguments(shown.words)
    found = COMMANDS.get(module) or getattr(importlib.import_module(module), "main", None)
    if not isinstance(found, Command) or not arguments:
        return  # a module of the tests or of Python's, or one that a sentence names
    parsed = found.parser().parse_args(arguments)
    for name in ("data", "input", "calibrate"):
        spec = getattr(parsed, name, None)
        if isinstance(spec, str) and re.match(r"[a-z0-9]+(:|\?|$)", spec) and not spec.endswith(".npz"):
            parse(spec)
    config = getattr(parsed, "config", None)
    if config is not None and (ROOT / config).is_file():
        for variable in VARIABLES:
            monkeypatch.setenv(variable, "/data")
        overrides = [text for text in getattr(parsed, "overrides", []) if re.fullmatch(r"[a-z0-9_.]+=.*\w.*", text)]
        chain = "stage" in tomllib.loads((ROOT / config).read_text())
        (stages if chain else settings).read(ROOT / config, [text for text in overrides if "=N" not in text])


def test_what_it_names_ships():
    rules = re.findall(r"^([\w-]+(?: [\w-]+)*):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    targets = {target for rule in rules for target in rule.split()}
    extras = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])
    for shown in FOUND:
        if shown.words[0] == "make":
            wanted = {word for word in shown.words[1:] if "=" not in word}
            assert wanted <= targets, named(shown)
        for extra in re.findall(r"(?:neurotarget|\.)\[([\w,]+)\]", shown.text):
            assert set(extra.split(",")) <= extras, named(shown)
        for config in re.findall(r"configs/\w+\.toml", shown.text):
            assert (ROOT / config).is_file(), named(shown)


def test_there_are_commands_of_every_verb():
    """The pages show each verb at least once, and what finds commands finds them."""
    assert {module_and_arguments(shown.words)[0] for shown in RUN} > set(COMMANDS)
    assert len(RUN) > 100


def test_commands_are_found_in_blocks_and_sentences():
    page = """# A page
Say `python -m sim.run model.nir
--input synth` or `make demo`; `make` alone and `other` are none.

    python -m hardware.place model.nir --chip loihi1|loihi2 [--input INPUT]
                             [--weight-bits 8] [--json]
    GSC=/x python -m model.train a.toml \\
        --out runs/a  # a comment

```toml
make = "no command"
```

```
neurotarget run model.nir --samples N
```
"""
    found = [Documented("page", text).words for text in commands(page)]
    assert found == [
        [
            "python",
            "-m",
            "hardware.place",
            "model.nir",
            "--chip",
            "loihi1",
            "--input",
            "INPUT",
            "--weight-bits",
            "8",
            "--json",
        ],
        ["python", "-m", "model.train", "a.toml", "--out", "runs/a"],
        ["neurotarget", "run", "model.nir", "--samples", "3"],
        ["python", "-m", "sim.run", "model.nir", "--input", "synth"],
        ["make", "demo"],
    ]
