"""The transition chart: drawn from the transition table. Where boxes stand is written here; arrows come from the table.

The life of a task runs down at the left. Whatever ends it early leaves a box to the right and joins a rail, one for
each event and end; a dot says that a box joins it, a crossing without a dot that it does not. What goes back is dashed.
An arrow for which no way is written goes straight from box to box, so that the chart may get ugly but never wrong.
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from engine.lifecycle import TRANSITIONS, Kind, Status, is_waiting
from pages.shared.tasklist import GLYPHS

from .facts import kinds, step

WIDTH, HEIGHT = 772, 512
BOX, TALL = (160, 116), 30  #: widths of a box at the left and at the right, and its height
LEFT = 430  #: up to here reaches the life of a task; the ends stand beyond
RAILS, APART = 464, 26  #: where the first rail stands, and how far apart they are

#: the middle of each box
PLACES: dict[Status, tuple[int, int]] = {
    Status.NEW: (204, 62), Status.ACTIVE: (116, 134), Status.CONNECTING: (292, 182), Status.SCANNED: (116, 230),
    Status.CONNECTED: (292, 278), Status.PROCESSING_QUEUED: (204, 350), Status.PROCESSING: (204, 418),
    Status.PROCESSED: (204, 486), Status.STOPPING: (664, 158), Status.STOPPED: (664, 254), Status.CANCELED: (664, 384),
}  # fmt: skip

Points = list[tuple[int, int]]
#: start, end: the way of an arrow, and where its label stands (x, y, anchor)
WAYS: dict[tuple[Status, Status], tuple[Points, tuple[int, int, str]]] = {
    (Status.NEW, Status.ACTIVE): ([(160, 77), (160, 98), (116, 98), (116, 119)], (110, 98, "end")),
    (Status.NEW, Status.CONNECTING): ([(248, 77), (248, 98), (292, 98), (292, 167)], (298, 98, "start")),
    (Status.NEW, Status.PROCESSING): ([(284, 70), (418, 70), (418, 410), (284, 410)], (412, 322, "end")),
    (Status.ACTIVE, Status.SCANNED): ([(116, 149), (116, 215)], (122, 207, "start")),
    (Status.CONNECTING, Status.CONNECTED): ([(292, 197), (292, 263)], (298, 255, "start")),
    (Status.SCANNED, Status.PROCESSING_QUEUED): ([(116, 245), (116, 316), (174, 316), (174, 335)], (110, 300, "end")),
    (Status.CONNECTED, Status.PROCESSING_QUEUED):
        ([(292, 293), (292, 316), (234, 316), (234, 335)], (298, 312, "start")),
    (Status.PROCESSING_QUEUED, Status.PROCESSING): ([(204, 365), (204, 403)], (210, 388, "start")),
    (Status.PROCESSING, Status.PROCESSED): ([(204, 433), (204, 471)], (210, 456, "start")),
    (Status.ACTIVE, Status.NEW): ([(36, 134), (14, 134), (14, 62), (124, 62)], (20, 56, "start")),
    (Status.CONNECTING, Status.NEW): ([(212, 182), (14, 182), (14, 62), (124, 62)], (20, 56, "start")),
    (Status.PROCESSING, Status.PROCESSING_QUEUED): ([(124, 418), (92, 418), (92, 350), (124, 350)], (86, 388, "end")),
    (Status.STOPPING, Status.STOPPED): ([(664, 173), (664, 239)], (670, 210, "start")),
    (Status.STOPPING, Status.CANCELED): ([(722, 158), (742, 158), (742, 384), (722, 384)], (736, 326, "end")),
    (Status.STOPPED, Status.NEW): ([(722, 254), (760, 254), (760, 16), (236, 16), (236, 47)], (244, 30, "start")),
}  # fmt: skip
START: Points = [(172, 12), (172, 47)]

Arrow = tuple[str, Status | None, Status]  #: event, from, to


def arrows() -> dict[Arrow, set[Kind]]:
    """List what the table lets move a task, with the task types that may. What keeps the status is no arrow."""
    found: dict[Arrow, set[Kind]] = {}
    for edge in TRANSITIONS:
        for source in edge.sources or (None,):
            if edge.target is not None and edge.target is not source:
                found.setdefault((edge.event, source, edge.target), set()).update(edge.kinds)
    return found


def svg() -> str:
    """Draw the chart."""
    return (
        "<div class='wide chart' role='region' aria-label='Transition chart'>"
        f"<svg viewBox='0 0 {WIDTH} {HEIGHT}' width='{WIDTH}' height='{HEIGHT}' role='img' "
        "aria-label='What leads from status to status; the table below says the same in words'>"
        f"{_HEADS}{''.join(_rails())}{''.join(_ways())}{''.join(_boxes())}</svg></div>"
    )


_HEADS = "<defs>" + "".join(
    f"<marker id='{name}' viewBox='0 0 8 8' refX='7' refY='4' markerWidth='7' markerHeight='7' orient='auto'>"
    f"<path d='M0 0.6 L8 4 L0 7.4 Z' class='head {name}'/></marker>"
    for name in ("go", "stop", "fail")
) + "</defs>"  # fmt: skip


def _boxes() -> Iterator[str]:
    for status in Status:
        x, y = PLACES[status]
        wide = BOX[x > LEFT]
        end = status in (Status.PROCESSED, Status.STOPPED, Status.CANCELED)
        left, top = x - wide // 2, y - TALL // 2
        yield (
            f"<g data-status='{escape(status)}'><rect x='{left}' y='{top}' width='{wide}' height='{TALL}' rx='4' "
            f"class='box{' end' if end else ''}'/><circle cx='{left + 12}' cy='{y}' r='4' class='{GLYPHS[status][1]}'/>"
            f"<text x='{left + 22}' y='{y + 4}' class='name'>{escape(status)}</text>"
        )
        if is_waiting(status, True):  # a hold shows it as Paused
            bar = f"y='{y - 5}' width='3' height='10' class='hold'"
            yield f"<rect x='{left + wide - 16}' {bar}/><rect x='{left + wide - 10}' {bar}/>"
        yield "</g>"


def _rails() -> Iterator[str]:
    """Draw what ends a task early: rails from the boxes of its life to the ends at the right."""
    joins: dict[tuple[str, Status], list[Status]] = {}
    for event, source, target in arrows():
        if source is not None and PLACES[source][0] < LEFT < PLACES[target][0]:
            joins.setdefault((event, target), []).append(source)
    ordered = sorted(joins, key=lambda rail: (PLACES[rail[1]][1], rail[0] == "expire"))
    at = {rail: RAILS + n * APART for n, rail in enumerate(ordered)}
    for source in Status:
        mine = [at[rail] for rail in ordered if source in joins[rail]]
        if mine:
            x, y = PLACES[source]
            yield f"<path class='tap' d='M{x + BOX[0] // 2} {y} H{max(mine)}'/>"
    for rail in ordered:
        event, target = rail
        look = GLYPHS[target][1]
        (end, middle), x = PLACES[target], at[rail]
        into = [one for one in ordered if one[1] is target]
        y = middle + (into.index(rail) * 2 - len(into) + 1) * 7
        ys = [PLACES[source][1] for source in joins[rail]]
        entry = end - BOX[1] // 2
        yield f"<path class='way {look}' d='M{x} {min(*ys, y)} V{max(*ys, y)}'/>"
        yield f"<path class='way {look}' d='M{x} {y} H{entry - 1}' marker-end='url(#{look})'/>"
        for source in joins[rail]:
            said = f"data-event='{event}' data-from='{escape(source)}' data-to='{escape(target)}'"
            yield f"<circle class='join {look}' cx='{x}' cy='{PLACES[source][1]}' r='3' {said}/>"
        lift = -5 if y <= middle else 13
        yield f"<text class='label' x='{entry - 8}' y='{y + lift}' text-anchor='end'>{escape(step(event))}</text>"


def _ways() -> Iterator[str]:
    together: dict[tuple[Status | None, Status], dict[str, set[Kind]]] = {}
    for (event, source, target), some in arrows().items():
        if source is None or not PLACES[source][0] < LEFT < PLACES[target][0]:
            together.setdefault((source, target), {})[event] = some
    labelled: set[tuple[int, int, str]] = set()
    for (source, target), events in together.items():
        if source is None:
            way, label = START, (START[0][0] - 8, 20, "end")
            yield f"<circle cx='{way[0][0]}' cy='{way[0][1] - 3}' r='5' class='start'/>"
        else:
            way, label = WAYS.get((source, target), _straight(source, target))
        back = source is not None and PLACES[target][1] < PLACES[source][1]
        look = "fail" if target is Status.CANCELED else "stop" if source is Status.STOPPING else "go"
        said = f"data-event='{' '.join(events)}' data-from='{escape(source or '')}' data-to='{escape(target)}'"
        yield f"<path class='way {look}{' back' if back else ''}' d='{_round(way)}' marker-end='url(#{look})' {said}/>"
        if label in labelled:
            continue
        labelled.add(label)
        x, y, anchor = label
        lines = [", ".join(step(event) for event in events)]
        if "claim" in events:
            lines += [part.strip() for part in _halved(kinds(events["claim"]))]
        yield f"<text class='label' x='{x}' y='{y}' text-anchor='{anchor}'>"
        for n, line in enumerate(lines):
            yield f"<tspan x='{x}' dy='{13 if n else 0}' class='{'kinds' if n else 'step'}'>{escape(line)}</tspan>"
        yield "</text>"


def _halved(text: str) -> list[str]:
    """Break a list of more than two names, so that it stays narrow."""
    parts = text.split(", ")
    return [text] if len(parts) < 3 else [f"{', '.join(parts[:-1])},", parts[-1]]


def _straight(source: Status, target: Status) -> tuple[Points, tuple[int, int, str]]:
    (x, y), (a, b) = PLACES[source], PLACES[target]
    return [(x, y), (a, b)], ((x + a) // 2, (y + b) // 2, "middle")


def _round(points: Points) -> str:
    """Write a way as a path whose corners are round."""
    made = [f"M{points[0][0]} {points[0][1]}"]
    for (ax, ay), (x, y), (bx, by) in zip(points, points[1:], points[2:], strict=False):
        before = (x - _sign(x - ax) * 6, y - _sign(y - ay) * 6)
        after = (x + _sign(bx - x) * 6, y + _sign(by - y) * 6)
        made.append(f"L{before[0]} {before[1]} Q{x} {y} {after[0]} {after[1]}")
    return " ".join([*made, f"L{points[-1][0]} {points[-1][1]}"])


def _sign(n: int) -> int:
    return (n > 0) - (n < 0)
