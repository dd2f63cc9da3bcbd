"""One way to run a command: `neurotarget VERB ...` is `python -m MODULE ...`.

Each door of the house gives its parser and the function that works; what is the same for all is here: `--json`, exit
codes (0 good, 1 a check failed, 2 bad input or usage, 130 interrupted), an error as one sentence, a closed pipe.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import shlex
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import neurotarget
from neurotarget import imported
from neurotarget.errors import NeurotargetError, UserError, nearest, package_missing, printable
from neurotarget.terminal import shown

# verb -> where its command is, `module:name` below neurotarget, and what it does
VERBS = {
    "train": ("model.commands:train", "train a network"),
    "distill": ("model.commands:distill", "distil a network to fewer steps (PTCD)"),
    "ablation": (
        "model.commands:ablation",
        "compare PTCD with other ways to the same steps: accuracy and cost",
    ),
    "evaluate": ("model.commands:evaluate", "measure a checkpoint on a data set"),
    "to-nir": ("conversion.commands:to_nir", "write a checkpoint as a NIR file, checked against PyTorch"),
    "quantize": ("conversion.commands:quantize", "write a NIR file in integers for Lava's fixed-point arithmetic"),
    "fine-tune": ("conversion.commands:fine_tune", "train a quantised NIR file on, in its integers"),
    "to-netx": ("conversion.commands:to_netx", "write a quantised NIR file as the HDF5 that lava-dl's NetX loads"),
    "run": ("sim.commands:run", "run a NIR file on the reference simulator or on Lava"),
    "compare": ("sim.commands:compare", "compare two back ends spike for spike"),
    "stream": ("sim.commands:stream", "run a causal network step by step and print words as they come"),
    "place": ("hardware.commands:place", "place a NIR file on the cores of a chip: what fits, what does not"),
    "report": ("hardware.commands:report", "count, price and compare: report.html and report.json"),
    "measure": ("hardware.commands:measure", "measure networks on this machine: energy, latency, throughput"),
    "validate": ("hardware.commands:validate", "hold the price tables against measurements that others published"),
    "doctor": ("hardware.commands:doctor", "say what works on this machine, and how to get the rest"),
    "ablation-cost": ("hardware.commands:ablation", "count and price the networks of an ablation"),
}


@dataclasses.dataclass(frozen=True)
class Later:
    """A function that is imported when it is wanted: what it needs may take seconds to import.

    Attributes:
        where: `module:name`, below neurotarget.
    """

    where: str

    def function(self) -> Callable[..., Any]:
        """Imports it.

        Raises:
            PackageMissing: it needs a package that is not installed.
        """
        return imported(self.where)

    def __call__(self, *arguments: Any) -> Any:
        return self.function()(*arguments)


class UsageError(UserError):
    """Arguments that do not belong together."""


@dataclasses.dataclass(frozen=True)
class Result:
    """What a command found.

    Attributes:
        figures: for programs, printed as one line of JSON with `--json`.
        text: for people, printed otherwise.
        holds: false where a check failed: exit code 1.
        notes: sentences on stderr, beside either.
    """

    figures: Mapping[str, Any]
    text: str
    holds: bool = True
    notes: Sequence[str] = ()


def complain(sentence: str) -> bool:
    """Prints a sentence on stderr; whether it was said."""
    print(printable(sentence), file=sys.stderr, flush=True)
    return True


class Parser(argparse.ArgumentParser):
    """Says what is wrong as every other error is said; an option with a slip first, as others may be missing by it.

    Attributes:
        given: the arguments.
    """

    given: Sequence[str] = ()

    def error(self, message: str) -> NoReturn:
        known = self._option_string_actions
        options = [word.partition("=")[0] for word in self.given if word.startswith("--") and word != "--"]
        for word in options:
            if not any(option.startswith(word) for option in known):
                message = f"no option {word}{nearest(word, known)}"
        raise UsageError(f"{message}; see {self.prog} --help")


@dataclasses.dataclass(frozen=True)
class Command:
    """A door of the house; called with arguments it works and gives the exit code.

    Attributes:
        door: the module, as `python -m` takes it.
        description: what it does, for `--help`.
        example: arguments that work.
        add_arguments: of the parser; `--json` is there for all.
        work: gives a `Result`, the exit code of another command that it called, or None where another process speaks;
            a `Later` is imported once the arguments are known.
        interrupted: what Ctrl-C leaves behind, and how to go on; a function of the arguments where that depends.
        unwritten: what holds when a file cannot be written, beside the sentence about the file.
        complain: prints an error on stderr; whether it did, of several processes.
    """

    door: str
    description: str
    example: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    work: Callable[[argparse.Namespace], Result | int | None]
    interrupted: str | Callable[[argparse.Namespace], str] = "interrupted: there is no result"
    unwritten: str = ""
    complain: Callable[[str], bool] = complain

    def parser(self, prog: str = "") -> Parser:
        """The parser; `prog` is how the user calls the command."""
        prog = prog or f"python -m {self.door}"
        parser = Parser(prog=prog, description=self.description, epilog=f"example: {prog} {self.example}")
        self.add_arguments(parser)
        parser.add_argument("--json", action="store_true", help="print the result as JSON, an error too")
        return parser

    def __call__(self, argv: Sequence[str] | None = None, prog: str = "") -> int:
        """Runs the command.

        Args:
            argv: arguments; those of the process when left out.
        """
        _escape_what_cannot_be_shown()
        argv = sys.argv[1:] if argv is None else argv
        arguments = argparse.Namespace()
        try:
            parser = self.parser(prog)
            parser.given = argv
            arguments = parser.parse_args(argv, argparse.Namespace(command=f"{parser.prog} {shlex.join(argv)}"))
            work = self.work.function() if isinstance(self.work, Later) else self.work
            _take_over()
            result = work(arguments)
        except ModuleNotFoundError as error:
            if (missing := package_missing(error)) is None:
                raise
            return self._fail(f"error: {missing}", missing.exit_code, argv)
        except NeurotargetError as error:
            return self._fail(f"error: {error}", error.exit_code, argv)
        except OSError as error:
            return self._fail(f"error: {_words(error)}{self.unwritten and '; '}{self.unwritten}", 2, argv)
        except MemoryError as error:
            return self._fail(f"error: this machine has not enough memory for it ({error})", 2, argv)
        except KeyboardInterrupt:
            return self._fail(self._interruption(arguments), 130, argv)
        if not isinstance(result, Result):
            return result or 0
        for note in result.notes:
            complain(f"note: {note}")
        code = 0 if result.holds else 1
        return _say(json.dumps(result.figures) if arguments.json else shown(result.text, result.holds), code)

    def _interruption(self, arguments: argparse.Namespace) -> str:
        if not vars(arguments):  # while they are parsed
            return "interrupted"
        return self.interrupted if isinstance(self.interrupted, str) else self.interrupted(arguments)

    def _fail(self, sentence: str, code: int, argv: Sequence[str]) -> int:
        said = self.complain(sentence)
        if said and "--json" in argv:
            return _say(json.dumps({"error": printable(sentence.removeprefix("error: "))}), code)
        return code


def add_network_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of every command that takes a network of the user's own."""
    parser.add_argument(
        "--network",
        metavar="MODULE:FACTORY",
        help="a network of your own: a function without arguments, in a module in the working folder or installed",
    )
    parser.add_argument("--weights", type=Path, metavar="state.pt", help="state_dict of --network, from torch.save")


def _words(error: OSError) -> str:
    reason = error.strerror or str(error).partition("\n")[0] or type(error).__name__
    name = os.fsdecode(error.filename) if isinstance(error.filename, bytes) else error.filename
    return reason if name is None else f"{name}: {reason}"


def _say(text: str, code: int) -> int:
    """Prints on stdout; the exit code, 2 where that cannot be written."""
    try:
        print(text, flush=True)
    except BrokenPipeError:  # whoever reads has seen enough
        _close_stdout()
    except OSError as error:
        _close_stdout()
        complain(f"error: standard output: {_words(error)}")
        return 2
    return code


def _close_stdout() -> None:
    """Sends what is left in the buffer nowhere: Python would complain about it when it ends."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def _escape_what_cannot_be_shown() -> None:
    """On an ASCII terminal."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _take_over() -> None:
    """From here on Ctrl-C is a KeyboardInterrupt."""
    if signal.getsignal(signal.SIGINT) is neurotarget.end_quietly:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def command(verb: str) -> Command:
    """The command of a verb; its parser needs none of the libraries that take long to import."""
    found = imported(VERBS[verb][0])
    assert isinstance(found, Command)
    return found


def run_verb(verb: str, argv: Sequence[str], prog: str = "") -> int:
    """Runs the command of a verb and gives its exit code."""
    return command(verb)(argv, prog)


def main(argv: list[str] | None = None) -> int:
    """The console script."""
    neurotarget.interrupt_ends_imports()
    argv = sys.argv[1:] if argv is None else argv
    verb = argv[0] if argv else ""
    if verb in VERBS:
        return run_verb(verb, argv[1:], f"neurotarget {verb}")
    if verb == "--version":
        return _say(f"neurotarget {neurotarget.__version__}", 0)
    if verb in ("", "-h", "--help"):
        lines = [f"  {name:13} {text}" for name, (_, text) in VERBS.items()]
        lines = ["usage: neurotarget VERB ...", "       neurotarget --version", "", *lines, ""]
        lines.append("example: neurotarget run model.nir --input synth --samples 10")
        return _say("\n".join(lines), 0 if verb else 2)
    complain(f"error: unknown verb {verb}{nearest(verb, VERBS)}; known are {', '.join(VERBS)}")
    return 2


if __name__ == "__main__":  # the doors know this module by its name, and a second copy has other classes
    sys.exit(imported("cli:main")())
