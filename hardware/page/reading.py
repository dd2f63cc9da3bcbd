"""What a picture of curves says where one points: the value of each curve at each place along the horizontal axis."""

from __future__ import annotations

import json

import numpy as np
from matplotlib.axes import Axes

POINTS_PER_INCH = 72  # Matplotlib's SVG counts in points


def reading(axes: Axes, width: float, height: float, now: float) -> str:
    """The curves that have a label, as JSON for the page's script; they share their places along the horizontal axis.

    `title` says what lies along that axis, `at` its values and `places` where they lie in the SVG; `top` and `bottom`
    bound the curves, `now` is the place of this run, and `curves` are pairs of a name and its values, to three digits.

    Args:
        axes: with linear or logarithmic scales, drawn once, so that the layout is known.
        width, height: of the picture, in inches.
        now: value of this run on the horizontal axis.
    """
    curves = [line for line in axes.lines if not str(line.get_label()).startswith("_")]
    at = np.asarray(curves[0].get_xdata(), float)
    width, height = width * POINTS_PER_INCH, height * POINTS_PER_INCH
    box = axes.get_position()
    shares = axes.transScale.transform(np.column_stack([at, np.ones_like(at)]))
    shares = axes.transLimits.transform(shares)[:, 0]
    return json.dumps(
        {
            "title": axes.get_xlabel().partition(",")[0].partition(" (")[0],
            "at": _digits(at, 3),
            "places": _digits(width * (box.x0 + box.width * shares), 5),
            "top": round(height * (1 - box.y1), 1),
            "bottom": round(height * (1 - box.y0), 1),
            "now": int(np.argmin(np.abs(at - now))),
            "curves": [(str(line.get_label()), _digits(np.asarray(line.get_ydata(), float), 3)) for line in curves],
        },
        separators=(",", ":"),
    )


def _digits(values: np.ndarray, digits: int) -> list[float]:
    return [float(f"{value:.{digits}g}") for value in values]
