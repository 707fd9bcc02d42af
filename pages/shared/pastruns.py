# ruff: noqa: E501 (style sheets and scripts read better unwrapped)
"""The past runs of a schedule on the card of one of them: how long each took, what came of it, each a link to its card."""

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from engine import timetable
from engine.clock import SECOND
from engine.lifecycle import task_label

from . import bars, glyphs, plan_card, plans, presses, tasklink, times

CSS = bars.CSS + """
:host,.runs{font:12px/17px var(--st-font);color:var(--d-ink);font-variant-numeric:tabular-nums}
.runs{container:runs / inline-size} .in{display:flex;gap:6px 24px;align-items:flex-start;flex-wrap:wrap}
.sum{flex:0 0 240px} .say{color:var(--d-ink2)} .bars{display:block;margin-top:4px} .bars svg{display:block}
.bars .hit{fill:transparent;stroke:none;cursor:pointer} .bars .hit:hover{fill:var(--d-accent);fill-opacity:.14} .bars .mine{fill:var(--d-accent)}
ol{flex:1 1 230px;margin:0;padding:0;list-style:none;columns:225px auto;column-gap:24px;max-height:116px;overflow-y:auto}
li{display:grid;grid-template-columns:12px auto 1fr auto;gap:0 6px;align-items:baseline;break-inside:avoid;padding:1px 0}
li .glyph{align-self:center;color:var(--d-ink2)} li.run .glyph{color:var(--d-run)} li.done .glyph{color:var(--d-done)} li.fail .glyph{color:var(--d-fail)} li.stop .glyph{color:var(--d-stop)}
li.mine{background:var(--d-accentbg)} li span{color:var(--d-ink2);white-space:nowrap;overflow:hidden;text-overflow:ellipsis} li .took{text-align:right}
a{color:var(--d-accent);text-decoration:none;white-space:nowrap} a:hover{text-decoration:underline} a:focus-visible{outline:2px solid var(--d-accent);outline-offset:1px;border-radius:2px}
@container runs (max-width:520px){ol{columns:1;flex-basis:100%}}
"""

JS = (
    glyphs.JS
    + bars.JS
    + """
export default function ({data, parentElement, setStateValue}) {
  const root = parentElement.querySelector('.runs'), seen = JSON.stringify(data)
  root._go = id => setStateValue('pressed', {value: id, n: Date.now()})
  if (root._seen === seen) return
  root._seen = seen
  const focused = root.getRootNode().activeElement?.dataset?.id
  const sum = make('div', 'sum'), drawn = make('div', 'bars'), svg = drawBars(data.bars, 12, data.slots, 40), list = make('ol')
  data.runs.forEach((run, i) => {
    const x = 12 * (data.slots - 1 - i)
    if (run.mine) svgShape(svg, 'rect', 'mine', {x, y: 41, width: 10.5, height: 2})
    const hit = svgShape(svg, 'rect', 'hit', {x: x - .5, y: 0, width: 12, height: 44}), title = document.createElementNS(SVG, 'title')
    title.textContent = [run.t, run.word, run.when, run.took].filter(Boolean).join(', ')
    hit.append(title); hit.onclick = () => root._go(run.id)
    const row = make('li', run.kind + (run.mine ? ' mine' : '')), a = make('a', '', run.t), when = make('span', '', run.when)
    a.href = run.h; a.dataset.id = run.id; a.title = title.textContent
    if (run.mine) a.setAttribute('aria-current', 'true')
    a.onclick = e => { if (e.ctrlKey || e.metaKey || e.shiftKey) return; e.preventDefault(); root._go(run.id) }
    row.append(glyph(run.g), a, when, make('span', 'took', run.took || run.word)); list.append(row)
  })
  drawn.append(svg); sum.append(make('div', 'say', data.say), drawn)
  root.querySelector('.in').replaceChildren(sum, list)
  list.setAttribute('aria-label', data.label)
  if (focused) list.querySelector(`a[data-id="${focused}"]`)?.focus()
}
"""
)

_RUNS = st.components.v2.component(
    "drainboard_pastruns", html="<div\nclass='runs'><div class='in'></div></div>", css=CSS, js=JS
)


def past_runs(runs: Sequence[Mapping[str, Any]], task_id: int, now: int, *, key: str) -> str | None:
    """Draw them, newest first in the list and last among the bars; return the id of the one that was just pressed."""
    here = times.zone()
    today, drawn = times.day(now, here), plans.bars(runs)
    told = [
        {
            "id": str(run["task_id"]), "t": task_label(run["kind"], run["number"]), "h": tasklink.address(run["task_id"]),
            "when": plans.short(run["created_at"] // SECOND * SECOND, today, here), "word": plans.word(run),
            "took": plan_card.took(run["took_s"]), "kind": kind, "g": plans.glyph(run), "mine": run["task_id"] == task_id,
        }
        for run, (_, kind) in zip(runs, reversed(drawn["v"]), strict=True)
    ]  # fmt: skip
    data = {"runs": told, "bars": drawn, "say": summed_up(runs), "slots": timetable.CARD_RUNS, "label": "Past runs"}
    pressed = presses.heard(_RUNS(data=data, key=key, on_pressed_change=_nothing).pressed, key)
    return str(pressed["value"]) if pressed else None


def summed_up(runs: Sequence[Mapping[str, Any]]) -> str:
    """Say how many runs there are, what share of those that ended is done, and how long they usually take."""
    told = timetable.summed(runs)
    many = f"Last {told.runs:,} runs" if told.runs != 1 else "One run so far"
    if not told.ended:
        return f"{many}; none has ended yet."
    took = f" Median {plan_card.took(told.usual_s)}." if told.usual_s is not None else ""
    return f"{many}: {told.done:,} of {told.ended:,} that ended are done ({100 * told.done // told.ended}\u202f%).{took}"


def _nothing() -> None:
    """Stand in for a callback: what was pressed is read where the runs are drawn."""
