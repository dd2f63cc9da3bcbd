"""Words as they come: `python -m sim.stream model.nir [--input -|wav:FILE|wav:-|INPUT]`.

A causal network runs step by step on what arrives: frames as text or a WAV file on standard input, a WAV file, or the
samples of an INPUT one after the other. Each word is printed when it has ended.
"""

from __future__ import annotations

import sys

from neurotarget.sim.commands import stream as main

if __name__ == "__main__":  # before the imports that take long: --help needs none of them
    sys.exit(main())

import argparse
import dataclasses
import itertools
import json
import math
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import soundfile
from neurotarget.sim.commands import FRAMES, SOUND
from neurotarget.sim.graph import Graph, load
from neurotarget.sim.inputs import Input, InputError, open_input
from neurotarget.sim.reference import Stream
from neurotarget.sim.words import Word, Words

from neurotarget.cli import Result
from neurotarget.data.live import LogMel, blocks, opened_sound


def work(arguments: argparse.Namespace) -> Result:
    graph = load(arguments.model, arguments.dt, arguments.reset)
    if arguments.pause < 0:
        raise InputError(f"--pause {arguments.pause}: milliseconds, at least 0")
    pause = max(1, round(arguments.pause / (1000 * graph.dt)))
    stream = Stream(graph)
    stream.push(np.zeros((1, *graph.input.output_shape)))  # compiles, before the first word is there
    stream.reset()
    if arguments.input.startswith(SOUND):
        with opened_sound(arguments.input.removeprefix(SOUND)) as file:
            mel, words = _log_mel(graph, file.samplerate), Words(stream, pause)
            said = _print(of_sound(words, file, mel, arguments.quiet), arguments.json)
            return _result(words, said, mel.ahead_seconds)
    if arguments.input == FRAMES:
        words = Words(stream, pause)
        return _result(words, _print(of_text(words, sys.stdin), arguments.json), 0.0)
    words, data = Words(stream), open_input(arguments.input, graph, arguments.split, arguments.samples)
    said = _print(of_samples(words, data), arguments.json)
    return _result(words, said, 0.0, None if data.labels is None else data.labels[data.lengths > 0])


def of_sound(words: Words, file: soundfile.SoundFile, mel: LogMel, quiet_decibels: float) -> Iterator[Word]:
    """The words of a WAV file; a frame is quiet where the sound of its step is, in dB of full scale."""
    for block in blocks(file, str(file.name)):
        frames, power = mel.push(block)
        yield from words.push(frames, power < quiet_decibels)
    frames, power = mel.end()
    yield from words.push(frames, power < quiet_decibels)
    yield from words.end()


def of_text(words: Words, lines: Iterable[str]) -> Iterator[Word]:
    """The words of frames, one a line; a frame of zeros is quiet, and an empty line ends a word.

    Raises:
        InputError: a line that is no frame of the network's input.
    """
    shape = words.stream.graph.input.output_shape
    for number, line in enumerate(lines, 1):
        texts = line.replace(",", " ").split()
        if not texts:
            yield from words.end()
            continue
        try:
            frame = np.array(texts, np.float64).reshape(1, *shape)
        except ValueError as error:
            raise InputError(
                f"line {number} of standard input holds {len(texts)} texts; {math.prod(shape)} numbers are expected"
            ) from error
        if not np.isfinite(frame).all():
            raise InputError(f"line {number} of standard input: finite numbers are expected")
        yield from words.push(frame, [not frame.any()])
    yield from words.end()


def of_samples(words: Words, data: Input) -> Iterator[Word]:
    """A word a sample, whole; samples without steps give none."""
    for frames, length in zip(data.frames, data.lengths, strict=True):
        yield from words.push(frames[:length], itertools.repeat(False, int(length)))
        yield from words.end()


def _log_mel(graph: Graph, rate_hz: int) -> LogMel:
    """The front end of a network.

    Raises:
        InputError: it was not trained on log-mel frames of this package, or its step is none of theirs.
    """
    known = graph.standardisation
    if known is None or graph.input.output_shape != known.mean.shape:
        raise InputError(
            f"{graph.source} does not say how its log-mel features were standardised, so it was not trained on "
            "sound as gsc:PATH or fsdd:PATH have it; give it frames on standard input"
        )
    if rate_hz < known.rate_hz:
        raise InputError(
            f"{graph.source} was trained on sound at {known.rate_hz} Hz, this is at {rate_hz} Hz and lacks what lies "
            f"above {rate_hz // 2} Hz; record at {known.rate_hz} Hz"
        )
    hop = known.rate_hz * graph.dt
    if graph.dt_is_default or abs(hop - round(hop)) > 1e-6 or not 1 <= round(hop) <= known.fft_samples:
        raise InputError(
            f"{graph.source}: its step of {1000 * graph.dt:g} ms is no whole number of samples at {known.rate_hz} Hz "
            f"up to {known.fft_samples}; give the step of its training as --dt"
        )
    return LogMel(rate_hz, round(hop), known)


def _print(words: Iterable[Word], as_json: bool) -> list[Word]:
    said = []
    for word in words:
        said.append(word)
        try:
            print(json.dumps(dataclasses.asdict(word)) if as_json else word, flush=True)
        except BrokenPipeError:  # whoever reads has seen enough
            break
    return said


def _result(words: Words, said: list[Word], ahead_seconds: float, labels: np.ndarray | None = None) -> Result:
    """Flat figures: words, steps, `latency_ms` from the end of a step to its output (its computation left out),
    `step_microseconds` of processor time, `faster_than_real_time`, `accuracy` where labels are known."""
    graph, step_seconds = words.stream.graph, words.busy_seconds / max(1, words.steps_run)
    known = not graph.dt_is_default
    figures: dict[str, Any] = {"model": graph.source, "words": len(said), "steps": words.step}
    figures |= {"dt": graph.dt, "dt_is_default": graph.dt_is_default, "latency_ms": round(1000 * ahead_seconds, 3)}
    figures |= {"step_microseconds": round(1e6 * step_seconds, 1), "accuracy": None, "faster_than_real_time": None}
    text = f"{len(said)} words in {words.step} steps, latency {figures['latency_ms']:g} ms after the end of a step"
    if words.steps_run:
        text += f", {figures['step_microseconds']:g} us of processor time a step"
        if known:
            figures["faster_than_real_time"] = round(graph.dt / step_seconds, 1)
            text += f" of {1000 * graph.dt:g} ms ({figures['faster_than_real_time']:g} times real time)"
    if labels is not None and len(labels) == len(said) and len(said):
        figures["accuracy"] = float(np.mean([word.label for word in said] == labels))
        text += f", accuracy {figures['accuracy']:.4f}"
    return Result(figures, text, notes=graph.notes)
