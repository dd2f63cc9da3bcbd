"""Building blocks of the report page: tables, sections, figures, tags. Everything that may hold a name is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from neurotarget.hardware.energy.verdict import number
from neurotarget.hardware.page.plots import Picture


def table(head: Sequence[tuple[str, str]], rows: Iterable[Sequence[str]], total: Sequence[str] | None = None) -> str:
    """A table in a box of its own. `head` holds (title, class of the column); cells are HTML."""
    columns = [kind for _, kind in head]

    def line(cells: Sequence[str], element: str = "td") -> str:
        return "".join(
            f'<{element} class="{kind}">{cell}</{element}>' if kind else f"<{element}>{cell}</{element}>"
            for cell, kind in zip(cells, columns, strict=True)
        )

    body = "".join(f"<tr>{line(row)}</tr>" for row in rows)
    if total is not None:
        body += f'<tr class="total">{line(total)}</tr>'
    return (
        f'<div class="scroll"><table><thead><tr>{line([escape(title) for title, _ in head], "th")}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def section(name: str, title: str, *parts: str) -> str:
    return f'<section id="{name}"><h2>{title}</h2>{"".join(parts)}</section>'


def figure(picture: Picture, caption: str) -> str:
    return (
        '<figure><div class="plot"><picture>'
        f'<source media="(prefers-color-scheme: dark)" srcset="{picture.dark}">'
        f'<img src="{picture.light}" alt="{escape(picture.alt)}" width="{picture.width}" height="{picture.height}">'
        f"</picture></div><figcaption>{escape(caption)}</figcaption></figure>"
    )


def tag(text: str, tone: str = "") -> str:
    return f'<span class="tag {tone}">{escape(text)}</span>'


def cells(values: Iterable[float | None]) -> list[str]:
    return [number(value) for value in values]


def percent(share: float | None) -> str:
    """A share in per cent, three significant digits; a dash for None."""
    return "–" if share is None else f"{100 * share:.3g} %"
