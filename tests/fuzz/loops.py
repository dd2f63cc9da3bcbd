"""Which edges of a loop carry the value of the step before, as docs/semantics.md words it."""

from __future__ import annotations


class Ambiguous(ValueError):
    """A loop that is entered at several nodes, or at none: the documents do not say which of its edges closes it."""


def closing_edges(edges: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """Edges that carry the value of the step before.

    A loop is entered at one node; its edges to that node close it. What still loops without them is a loop within.
    """
    closing: set[tuple[str, str]] = set()
    while found := loops(edges - closing):
        for loop in found:
            entries = {t for s, t in edges - closing if t in loop and s not in loop}
            if len(entries) != 1:
                raise Ambiguous(f"the loop of {sorted(loop)} is entered at {sorted(entries)}")
            closing |= {(s, t) for s, t in edges if t in entries and s in loop}
    return closing


def loops(edges: set[tuple[str, str]]) -> list[set[str]]:
    """Sets of nodes that reach each other."""
    targets: dict[str, set[str]] = {}
    for source, target in edges:
        targets.setdefault(source, set()).add(target)

    def reached(start: str) -> set[str]:
        found: set[str] = set()
        pending = [start]
        while pending:
            new = targets.get(pending.pop(), set()) - found
            found |= new
            pending += new
        return found

    reach = {name: reached(name) for name in targets}
    return [
        set(loop)
        for loop in {frozenset(n for n in reach if n in reach[name] and name in reach[n]) for name in reach}
        if loop
    ]
