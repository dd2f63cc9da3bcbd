"""The table of docs/your_network.md: `python -m tests.conversion.frameworks.table` writes it there."""

from __future__ import annotations

from pathlib import Path

from tests.conversion.frameworks import norse, snntorch, spikingjelly

DOCUMENT = Path(__file__).parents[3] / "docs" / "your_network.md"
START, END = "<!-- networks: python -m tests.conversion.frameworks.table -->\n", "<!-- end -->"
FRAMEWORKS = {"SpikingJelly": spikingjelly.ROWS, "snnTorch": snntorch.ROWS, "Norse": norse.ROWS}


def table() -> str:
    lines = ["| framework | network | step of a sample | spikes | Lava | integers |", "|---|---|---|---|---|---|"]
    for framework, rows in FRAMEWORKS.items():
        for row in rows:
            shape = " x ".join(map(str, row.shape))
            integers = f"none: {row.no_integers}" if row.no_integers else "equal"
            lines.append(f"| {framework} | {row.name} | {shape} | equal | equal | {integers} |")
    return "\n".join(lines) + "\n"


def document() -> str:
    """The document with the table of these networks."""
    before, rest = DOCUMENT.read_text(encoding="utf-8").split(START)
    return before + START + table() + END + rest.partition(END)[2]


if __name__ == "__main__":
    DOCUMENT.write_text(document(), encoding="utf-8")
