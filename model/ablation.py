"""What does the curriculum bring? `python -m model.ablation CONFIG.toml --out RUN --seeds 3`.

From one chain of stages (model/stages.py) and for each seed:

    teacher         the first stage, many steps
    scratch         the last stage's steps, random weights, labels only, the first stage's schedule
    scratch_long    the same with as many epochs as the whole chain has
    fine_tuned      the chain with teacher_weight 0: only the weights are handed on
    at_once         first stage to last without the ones between, which give it their epochs; for three stages or more
    ptcd            the chain

All arms of a seed share its teacher, see the same utterances and are selected on validation. `metrics.json` holds a row
an arm with mean and spread over seeds, `ablation.png` shows them. Operations and energy of the checkpoints are the
business of hardware/.
"""

from __future__ import annotations

import argparse
import dataclasses
import io
import json
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from model import checkpoint, stages
from model.data import DataError
from model.distill import distill
from model.files import write_bytes, write_text
from model.settings import SettingsError
from model.stages import Stage
from model.train import KEPT, TrainingError, train

ARMS = ("teacher", "scratch", "scratch_long", "fine_tuned", "at_once", "ptcd")
COMPARISONS = (("ptcd", "below", "teacher", -1), ("ptcd", "above", "scratch", 1), ("ptcd", "above", "scratch_long", 1))


def _with_training(stage: Stage, **changes: Any) -> Stage:
    training = dataclasses.replace(stage.settings.training, **changes)
    return dataclasses.replace(stage, settings=dataclasses.replace(stage.settings, training=training))


def scratch(chain: Sequence[Stage], epochs: int) -> Stage:
    """The last stage's data and augmentation with the first one's schedule, that of a network that starts anew."""
    first, last = chain[0].settings, chain[-1].settings
    settings = dataclasses.replace(last, training=dataclasses.replace(first.training, epochs=epochs))
    return dataclasses.replace(chain[-1], settings=settings)


def fine_tuned(chain: Sequence[Stage]) -> tuple[Stage, ...]:
    """The chain without the teachers' words."""
    deaf = [dataclasses.replace(stage.distillation, teacher_weight=0.0) for stage in chain]
    return tuple(dataclasses.replace(stage, distillation=how) for stage, how in zip(chain, deaf, strict=True))


def at_once(chain: Sequence[Stage]) -> tuple[Stage, ...]:
    """First and last stage; the last one has the epochs of all that learn from a teacher."""
    epochs = sum(stage.settings.training.epochs for stage in chain[1:])
    return chain[0], _with_training(chain[-1], epochs=epochs)


def chosen_arms(chain: Sequence[Stage], names: Sequence[str] | None) -> tuple[str, ...]:
    """The arms in the order of `ARMS`; all that this chain has when none are named.

    Raises:
        SettingsError: an unknown arm, one that the chain does not have, or a chain of one stage.
    """
    if len(chain) < 2:
        raise SettingsError("an ablation compares a first stage with a last one; the configuration has one stage")
    if names is None:
        names = [arm for arm in ARMS if arm != "at_once" or len(chain) > 2]
    if unknown := [name for name in names if name not in ARMS]:
        raise SettingsError(f"unknown arm {', '.join(unknown)}; known are {', '.join(ARMS)}")
    if "at_once" in names and len(chain) == 2:
        raise SettingsError("at_once leaves out the stages between; this chain of two stages has none: it is ptcd")
    return tuple(arm for arm in ARMS if arm in names)


def run_seed(chain: Sequence[Stage], out: Path, resume: bool, arms: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Trains the arms with the seed that the chain has; validation and test accuracy by arm."""
    first, results = chain[0], {}
    teacher = out / "ptcd" / first.folder / "ckpt.pt"
    if "ptcd" in arms:
        results["ptcd"] = distill(chain, out / "ptcd", resume=resume)
        results["teacher"] = results["ptcd"]["stages"][0]
    elif {"teacher", "at_once", "fine_tuned"} & set(arms):  # the chain's first stage, where the others find it later
        results["teacher"] = {**train(first.settings, teacher.parent, resume), "steps_per_second": first.steps}
    if "at_once" in arms:
        results["at_once"] = distill(at_once(chain), out / "at_once", teacher, resume)
    if "fine_tuned" in arms:
        results["fine_tuned"] = distill(fine_tuned(chain), out / "fine_tuned", teacher, resume)
    total = sum(stage.settings.training.epochs for stage in chain)
    for name, epochs in (("scratch", first.settings.training.epochs), ("scratch_long", total)):
        if name in arms:
            metrics = train(scratch(chain, epochs).settings, out / name, resume)
            results[name] = {**metrics, "steps_per_second": chain[-1].steps}
    return {name: results[name] for name in arms}


def ablate(
    chain: Sequence[Stage], out: Path, seeds: Sequence[int], resume: bool = False, arms: Sequence[str] | None = None
) -> dict[str, Any]:
    """Trains the arms with every seed and returns the summary that `metrics.json` holds.

    Args:
        chain: two stages or more, from many steps a second to few.
        out: folder of the run; `seedN/ARM` inside.
        seeds: of weights, order, dropout and augmentation.
        resume: go on with what is in `out`.
        arms: some of `ARMS`; all that the chain has when left out.

    Raises:
        SettingsError: arms that this chain does not have. Otherwise as `model.distill.distill`.
    """
    arms = chosen_arms(chain, arms)
    results = [
        run_seed([_with_training(stage, seed=seed) for stage in chain], out / f"seed{seed}", resume, arms)
        for seed in seeds
    ]
    rows = []
    for arm in arms:
        tests = [result[arm]["test_accuracy"] for result in results]
        rows.append(
            {
                "arm": arm,
                "steps_per_second": results[0][arm]["steps_per_second"],
                "test_accuracy": statistics.mean(tests),
                "test_accuracy_standard_deviation": statistics.stdev(tests) if len(tests) > 1 else None,
                "test_accuracy_by_seed": tests,
                "validation_accuracy": statistics.mean(result[arm]["validation_accuracy"] for result in results),
            }
        )
    accuracy = {row["arm"]: row["test_accuracy"] for row in rows}
    summary = {
        "data": chain[0].settings.data,
        "seeds": list(seeds),
        "test_samples": results[0][arms[0]]["test_samples"],
        **{
            f"{one}_{word}_{other}": sign * (accuracy[one] - accuracy[other])
            for one, word, other, sign in COMPARISONS
            if one in accuracy and other in accuracy
        },
        "arms": rows,
    }
    write_text(out / "metrics.json", json.dumps(summary, indent=2))
    _plot(out / "ablation.png", rows)
    return summary


def table(summary: dict[str, Any]) -> str:
    """The arms as a Markdown table."""
    lines = ["| arm | steps a second | test accuracy | each seed |", "|---|---|---|---|"]
    for row in summary["arms"]:
        spread = row["test_accuracy_standard_deviation"]
        shown = f"{row['test_accuracy']:.4f}" + ("" if spread is None else f" ± {spread:.4f}")
        each = ", ".join(f"{value:.4f}" for value in row["test_accuracy_by_seed"])
        lines.append(f"| {row['arm']} | {row['steps_per_second']} | {shown} | {each} |")
    return "\n".join(lines)


def _plot(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.5, 3.2), layout="constrained")
    axis = figure.subplots()
    names = [f"{row['arm'].replace('_', ' ')}\n{row['steps_per_second']} steps/s" for row in rows]
    for place, row in enumerate(rows):
        axis.plot([place] * len(row["test_accuracy_by_seed"]), row["test_accuracy_by_seed"], "o", alpha=0.5, color="C0")
        axis.plot(place, row["test_accuracy"], "_", markersize=28, color="C1")
    axis.set_xticks(range(len(rows)), names, fontsize=8)
    axis.set_ylabel("test accuracy (dots: seeds)")
    axis.spines[["top", "right"]].set_visible(False)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=120)
    write_bytes(path, picture.getvalue())


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m model.ablation",
        description="Compare PTCD with training from scratch, with fine-tuning and with distillation at once.",
        epilog="example: python -m model.ablation configs/ptcd_synth.toml --out runs/ablation_synth --seeds 3",
    )
    parser.add_argument("config", type=Path, help="TOML file of a chain, as for model.distill")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run")
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds, from training.seed on (default 3)")
    parser.add_argument("--arms", metavar="ARM,ARM", help=f"only these, of {', '.join(ARMS)}")
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="table.key=value")
    parser.add_argument("--resume", action="store_true", help="go on where an interrupted run in --out stopped")
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")
    return parser


def main(argv: list[str] | None = None) -> int:
    usage = parser()
    arguments = usage.parse_args(argv)
    if arguments.seeds < 1:
        usage.error(f"--seeds {arguments.seeds}: at least 1 is expected")
    try:
        chain = stages.read(arguments.config, arguments.overrides)
        first = chain[0].settings.training.seed
        arms = None if arguments.arms is None else arguments.arms.split(",")
        summary = ablate(chain, arguments.out, range(first, first + arguments.seeds), arguments.resume, arms)
    except (SettingsError, DataError, checkpoint.CheckpointError, TrainingError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: {error.filename or arguments.out}: {error.strerror or error}; {KEPT}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"interrupted; go on with --resume (state in {arguments.out})", file=sys.stderr)
        return 130
    print(json.dumps(summary) if arguments.json else table(summary))
    return 0


if __name__ == "__main__":
    sys.exit(main())
