"""A picture of the chip: cores on their tiles, shaded by how full they are, beside the list of what lies on them."""

from __future__ import annotations

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch, Rectangle
from neurotarget.hardware.chips.fit import CoreLoad, Fit
from neurotarget.hardware.page import plots
from neurotarget.hardware.page.plots import INKS, Picture

LISTED = 14
CHIPS_SHOWN = 2


def picture(result: Fit) -> Picture:
    """The picture of a network on a chip."""
    chips = min(max(-(-len(result.cores) // result.grid.cores), 1), CHIPS_SHOWN)
    height = 3.0 * chips
    alt = f"{len(result.cores)} cores of {result.chip} in use, shaded by how full they are"
    return plots.picture(lambda axes: draw(axes, result), alt, 8.6, height)


def save(result: Fit, path: Path) -> None:
    """Writes the picture as a PNG."""
    path.write_bytes(plots.png(lambda axes: draw(axes, result), 8.6, 3.0))


def draw(axes: Axes, result: Fit) -> None:
    """One square per core; the darker, the fuller its fullest resource. Above the limit: the warning colour."""
    grid = result.grid
    columns, rows, per_tile = grid.columns, grid.rows, grid.tile_cores
    side = max(int(per_tile**0.5), 1)
    used = {core.index: core for core in result.cores}
    chips = min(max(-(-len(used) // grid.cores), 1), CHIPS_SHOWN)
    for board in range(chips):
        top = board * (rows + 0.6)
        for tile in range(columns * rows):
            row, column = divmod(tile, columns)
            column = column if row % 2 == 0 else columns - 1 - column
            box = FancyBboxPatch(
                (column + 0.04, top + row + 0.04), 0.92, 0.92, boxstyle="round,pad=0,rounding_size=0.06"
            )
            box.set(facecolor="none", edgecolor=INKS.line, linewidth=0.8)
            axes.add_patch(box)
            for slot in range(per_tile):
                index = (board * columns * rows + tile) * per_tile + slot
                y, x = divmod(slot, side)
                place = (column + 0.09 + x * 0.42, top + row + 0.09 + y * 0.42)
                core = used.get(index)
                full = 0.0 if core is None else core.fullest
                colour = INKS.dense if full > 1 else INKS.spiking
                axes.add_patch(Rectangle(place, 0.4, 0.4, facecolor="none", edgecolor=INKS.line, linewidth=0.5))
                if core is not None:
                    shade = 1.0 if full > 1 else 0.18 + 0.72 * full
                    axes.add_patch(Rectangle(place, 0.4, 0.4, facecolor=colour, alpha=shade, linewidth=0))
                    ink = INKS.paper if full > 0.45 else INKS.ink
                    centre = (place[0] + 0.2, place[1] + 0.2)
                    axes.text(*centre, str(index), color=ink, fontsize=6, ha="center", va="center")
    names = [_line(core) for core in result.cores[:LISTED]]
    if len(result.cores) > LISTED:
        names.append(f"and {len(result.cores) - LISTED} more")
    listed = "\n".join(names)
    axes.text(columns + 0.3, 0.1, listed, color=INKS.ink, fontsize=6.6, va="top", ha="left", linespacing=1.75)
    axes.set_xlim(-0.1, columns + 6.4)
    axes.set_ylim(chips * (rows + 0.6) - 0.5, -0.1)
    axes.set_aspect("equal")
    axes.axis("off")


def _line(core: CoreLoad) -> str:
    names = [_short(name) for name in core.populations]
    shown = ", ".join(names[:2]) + (f" + {len(names) - 2}" if len(names) > 2 else "")
    return f"{core.index}  {100 * core.fullest:.0f} %  {shown}"


def _short(name: str) -> str:
    """The end of a layer's name."""
    parts = name.split(".")
    return ".".join(parts[-2:]) if len(name) > 22 else name
