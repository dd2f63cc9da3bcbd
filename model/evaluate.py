"""Accuracy of a checkpoint: `python -m model.evaluate ckpt.pt --data SPEC`."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from neurotarget.model.train import evaluate
from neurotarget.model.training import checkpoint

from neurotarget.data import DataError, open_dataset


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m model.evaluate",
        description="Measure a checkpoint on a split of a data set.",
        epilog="example: python -m model.evaluate runs/demo/ckpt.pt --data synth --split test",
    )
    parser.add_argument("checkpoint", type=Path, help="file written by model.train")
    parser.add_argument("--data", required=True, help="data SPEC: synth, gsc:PATH, shd:PATH, ssc:PATH or fsdd:PATH")
    parser.add_argument("--split", default="test", help="train, validation or test (default)")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    return parser


def main(argv: list[str] | None = None) -> int:
    arguments = parser().parse_args(argv)
    try:
        loaded = checkpoint.load(arguments.checkpoint)
        dataset = open_dataset(arguments.data)
        split = dataset.split(arguments.split)
        if dataset.features != loaded.config.features or dataset.classes != loaded.classes:
            raise DataError(
                f"{arguments.data}: {dataset.features} features and {len(dataset.classes)} classes; "
                f"{arguments.checkpoint} was trained on {loaded.data} with {loaded.config.features} and "
                f"{len(loaded.classes)}"
            )
        loss, accuracy = evaluate(loaded.model(), split)
    except (checkpoint.CheckpointError, DataError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted: there is no result", file=sys.stderr)
        return 130
    samples = len(split.labels)
    if arguments.json:
        result = {
            "data": arguments.data,
            "split": arguments.split,
            "samples": samples,
            "loss": loss,
            "accuracy": accuracy,
        }
        print(json.dumps(result))
    else:
        print(f"{arguments.data}, {arguments.split}: accuracy {accuracy:.4f} on {samples} samples, loss {loss:.4f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
