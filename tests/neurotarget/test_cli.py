"""One function runs every command: exit codes, one sentence, JSON, a closed pipe, an interruption."""

import errno
import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from neurotarget.cli import Command, Result, UsageError
from neurotarget.errors import CheckFailed, UserError

ROOT = Path(__file__).parents[2]


def command(work, **more):
    def add_arguments(parser):
        parser.add_argument("--out", default="place")

    return Command("a.door", "Does it.", "--out x", add_arguments, work, **more)


def fails(error):
    def work(arguments):
        raise error

    return command(work)


def test_a_result_is_text_or_json_and_notes_go_to_stderr(capsys):
    main = command(lambda arguments: Result({"out": arguments.out}, f"in {arguments.out}", notes=["by the way"]))
    assert main(["--out", "x"]) == 0
    assert capsys.readouterr() == ("in x\n", "note: by the way\n")
    assert main(["--json"]) == 0
    assert capsys.readouterr() == ('{"out": "place"}\n', "note: by the way\n")


def test_exit_codes_of_results(capsys):
    assert command(lambda arguments: Result({}, "", holds=False))([]) == 1
    assert command(lambda arguments: 3)([]) == 3
    assert command(lambda arguments: None)([]) == 0


ERRORS = {
    "user": (UserError("a.nir: no"), 2, "a.nir: no"),
    "usage": (UsageError("--out: no"), 2, "--out: no"),
    "check": (CheckFailed("spikes differ"), 1, "spikes differ"),
    "path": (OSError(errno.ENOSPC, "No space left on device", "x/a.nir"), 2, "x/a.nir: No space left on device"),
    "no path": (OSError("Unable to open\nand so on"), 2, "Unable to open"),
    "bytes path": (OSError(errno.EIO, "Bad", b"caf\xe9"), 2, r"caf\xe9: Bad"),
    "memory": (MemoryError("8 TB"), 2, "this machine has not enough memory for it (8 TB)"),
    "escapes": (UserError("\x1b[2Jnode\nx"), 2, r"\x1b[2Jnode\nx"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_an_error_is_one_sentence_and_its_exit_code_also_as_json(capsys, name):
    error, code, sentence = ERRORS[name]
    assert fails(error)([]) == code
    assert capsys.readouterr() == ("", f"error: {sentence}\n")
    assert fails(error)(["--json"]) == code
    out, err = capsys.readouterr()
    assert json.loads(out) == {"error": sentence} and err == f"error: {sentence}\n"


def test_a_fault_of_the_program_is_not_hidden():
    with pytest.raises(ZeroDivisionError):
        command(lambda arguments: 1 // 0)([])


def test_what_was_kept_is_said_beside_an_unwritable_file(capsys):
    main = command(fails(OSError(errno.ENOSPC, "Full", "x")).work, unwritten="go on with --resume")
    assert main([]) == 2
    assert capsys.readouterr().err == "error: x: Full; go on with --resume\n"


def test_an_interruption_says_what_is_left(capsys):
    main = command(fails(KeyboardInterrupt()).work, interrupted=lambda given: f"interrupted; {given.out} is kept")
    assert main(["--out", "here", "--json"]) == 130
    assert capsys.readouterr() == ('{"error": "interrupted; here is kept"}\n', "interrupted; here is kept\n")
    assert fails(KeyboardInterrupt())([]) == 130
    assert capsys.readouterr().err == "interrupted: there is no result\n"


def test_of_several_processes_the_first_to_complain_speaks(capsys):
    main = command(fails(UserError("no")).work, complain=lambda sentence: False)
    assert main(["--json"]) == 2
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("argv", [["--outt"], ["extra"], ["--json", "--out"]])
def test_usage_errors_are_one_sentence_too(capsys, argv):
    assert command(lambda arguments: None)(argv) == 2
    out, err = capsys.readouterr()
    assert err.endswith("; see python -m a.door --help\n") and err.count("\n") == 1
    assert bool(out) == ("--json" in argv)


@pytest.mark.parametrize(("prog", "shown"), [("", "python -m a.door"), ("neurotarget go", "neurotarget go")])
def test_help_shows_how_it_was_called(capsys, prog, shown):
    with pytest.raises(SystemExit) as ended:
        command(lambda arguments: None)(["--help"], prog)
    out = capsys.readouterr().out
    assert ended.value.code == 0 and out.startswith(f"usage: {shown} ") and f"example: {shown} --out x" in out


def test_an_ascii_terminal_shows_what_it_can(monkeypatch):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    assert command(lambda arguments: Result({}, "5 µJ"))([]) == 0
    assert raw.getvalue() == b"5 \\xb5J\n"


# ---- processes -------------------------------------------------------------------------------------------------------

PROGRAM = """
import sys
from neurotarget.cli import Command, Result
sys.exit(Command("a.door", "", "", lambda parser: None, lambda arguments: Result({}, "x\\n" * 100000))([]))
"""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_standard_output_is_one_sentence():
    with open("/dev/full", "w") as full:
        done = subprocess.run([sys.executable, "-c", PROGRAM], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2
    assert done.stderr == "error: standard output: No space left on device\n"


def test_a_reader_that_has_seen_enough_is_no_error():
    with subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"x\n"
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0


SLOW = """
import os, signal, sys
sys.argv[0] = "-m"  # as while `python -m` looks for its module
import neurotarget
os.kill(os.getpid(), signal.SIGINT)
print("went on")
"""


def test_an_interruption_of_the_imports_is_no_traceback():
    done = subprocess.run([sys.executable, "-c", SLOW], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr == "interrupted: nothing was done yet\n"


def test_a_library_leaves_the_interruption_to_its_caller():
    program = SLOW.replace('sys.argv[0] = "-m"', "pass")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == -signal.SIGINT and "KeyboardInterrupt" in done.stderr


def test_a_command_can_be_interrupted_while_it_works(capsys):
    import neurotarget

    before = signal.getsignal(signal.SIGINT)
    try:
        signal.signal(signal.SIGINT, neurotarget.end_quietly)
        assert command(lambda arguments: os.kill(os.getpid(), signal.SIGINT))([]) == 130
    finally:
        signal.signal(signal.SIGINT, before)
    assert capsys.readouterr().err == "interrupted: there is no result\n"


def test_the_module_runs_as_the_console_script_does():
    """There it is `__main__`, while the doors take their classes from `neurotarget.cli`."""
    command = [sys.executable, "-m", "neurotarget.cli", "place", "none.nir", "--chip", "loihi1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (2, "error: none.nir: no such file\n")
