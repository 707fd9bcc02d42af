# ruff: noqa: E501 (style sheets and scripts read better unwrapped)
"""The strip of key figures: a number with its unit, what is usual beside it, and its line. Orange only out of usual."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

import streamlit as st

from . import glyphs, helps


@dataclass(frozen=True, slots=True)
class Kpi:
    """One figure. A `value` of None is unknown and shown as "–"; 0 is zero."""

    label: str
    value: str | None
    unit: str = ""
    note: str = ""
    line: list[float | None] = field(default_factory=list)
    usual: tuple[float, float] | None = None  #: drawn as a band behind the line
    out: bool = False  #: out of what is usual


CSS = """
.strip{container:strip / inline-size;font:13px/18px var(--st-font);color:var(--d-ink);font-variant-numeric:tabular-nums}
.strip.stale{filter:grayscale(1)}
.in{display:grid;grid-template-columns:repeat(5,1fr);border:1px solid var(--d-line);border-radius:4px}
.kpi{padding:7px 12px 6px;min-width:0;border-left:1px solid var(--d-line2);display:grid;grid-template:"label label" 17px "value line" 26px "note note" 17px / auto 1fr;column-gap:10px}
.kpi:first-child{border-left:0}
.label{grid-area:label;font-size:12px;color:var(--d-ink2)}
.value{grid-area:value;font-size:21px;line-height:26px;font-weight:600;white-space:nowrap} .value small{font-size:12.5px;font-weight:400;color:var(--d-ink2);margin-left:4px}
.note{grid-area:note;font-size:12px;color:var(--d-ink2)} .label,.note{white-space:nowrap;overflow:hidden;text-overflow:ellipsis}
.label a{display:inline-block;box-sizing:border-box;width:15px;height:15px;margin-left:6px;border:1px solid var(--d-line);border-radius:50%;font-size:11px;line-height:13px;text-align:center;color:var(--d-ink3);text-decoration:none;opacity:0} .kpi:hover .label a,.label a:focus-visible{opacity:1} .label a:is(:hover,:focus-visible){color:var(--d-accent);border-color:var(--d-accent);outline:none}
@media (hover:none){.kpi:first-child .label a{opacity:1} .kpi:not(:first-child) .label a{display:none}}
.out .note{color:var(--d-fail)}
svg{grid-area:line;width:100%;height:26px;align-self:center;overflow:visible}
path{fill:none;stroke:var(--d-ink2);stroke-width:1.4;vector-effect:non-scaling-stroke} .out path{stroke:var(--d-fail)} rect{fill:var(--d-band)}
@container strip (max-width:700px){
  .in{grid-template-columns:1fr 1fr} .kpi{border-top:1px solid var(--d-line2)} .kpi:nth-child(-n+2){border-top:0}
  .kpi:nth-child(odd){border-left:0} .kpi:nth-child(5){grid-column:span 2}
}
"""

JS = (
    glyphs.JS
    + """
function shape(tag, attributes) {
  const made = document.createElementNS(SVG, tag)
  for (const [k, v] of Object.entries(attributes)) made.setAttribute(k, v)
  return made
}
function spark(values, usual) {
  const svg = shape('svg', {viewBox: '0 0 100 26', preserveAspectRatio: 'none', 'aria-hidden': 'true'})
  const known = values.filter(v => v !== null)
  if (known.length < 2) return svg
  const top = Math.max(...known, usual ? usual[1] : 0, 1), y = v => 25 - 24 * v / top
  if (usual) svg.append(shape('rect', {x: 0, width: 100, y: y(usual[1]), height: Math.max(1, y(usual[0]) - y(usual[1]))}))
  let d = '', pen = 'M'
  values.forEach((v, i) => {
    if (v === null) { pen = 'M'; return }
    d += `${pen}${(100 * i / (values.length - 1)).toFixed(1)} ${y(v).toFixed(1)} `; pen = 'L'
  })
  svg.append(shape('path', {d}))
  return svg
}
export default function ({data, parentElement}) {
  const root = parentElement.querySelector('.strip')
  root.className = 'strip' + (data.stale ? ' stale' : '')
  const box = root._in || (root._in = root.appendChild(make('div', 'in')))
  data.kpis.forEach((kpi, i) => {
    const seen = JSON.stringify(kpi) + data.help, old = box.children[i]
    if (old && old._seen === seen) return
    const card = make('div', 'kpi' + (kpi.out ? ' out' : '')), value = make('div', 'value', kpi.value === null ? '–' : kpi.value)
    card._seen = seen
    if (kpi.unit && kpi.value !== null) value.append(make('small', '', kpi.unit))
    const note = make('div', 'note', kpi.note)
    note.title = kpi.note
    const label = make('div', 'label', kpi.label)
    if (data.help) {
      const a = make('a', '', '?'); a.href = data.help; a.target = '_blank'; a.title = 'Help on these figures'; a.setAttribute('aria-label', a.title); label.append(a)
    }
    card.append(label, value, spark(kpi.line, kpi.usual), note)
    old ? old.replaceWith(card) : box.append(card)
  })
  while (box.children.length > data.kpis.length) box.lastChild.remove()
}
"""
)

_STRIP = st.components.v2.component("drainboard_kpis", html="<div\nclass='strip'></div>", css=CSS, js=JS)


def strip(kpis: Sequence[Kpi], *, key: str, stale: bool = False, topic: str = "") -> None:
    """Draw up to five figures in a row; on a phone two by two and one. A `topic` of Help tells more of them."""
    more = helps.address(topic) if topic else ""
    _STRIP(data={"kpis": [asdict(kpi) for kpi in kpis], "stale": stale, "help": more}, key=key)
