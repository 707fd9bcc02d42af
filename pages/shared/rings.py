# ruff: noqa: E501 (style sheets and scripts read better unwrapped)
"""Two concentric rings: the outer one collects, the inner one processes. What is unknown is drawn as unknown."""

import streamlit as st

from . import glyphs

CSS = """
.rings{display:flex;gap:12px;align-items:center;font:12px/17px var(--st-font);color:var(--d-ink);font-variant-numeric:tabular-nums}
.rings.stale{filter:grayscale(1)}
svg{flex:none;width:92px;height:92px} circle{fill:none;stroke-width:7} .track{stroke:var(--d-band)} .track.none{stroke-dasharray:2 5}
.outer{stroke:var(--d-run)} .inner{stroke:var(--d-proc)} .outer,.inner{transform:rotate(-90deg);transform-origin:50px 50px;transition:stroke-dasharray .6s}
text{font:600 17px var(--st-font);fill:var(--d-ink);text-anchor:middle} text.s{font:400 10px var(--st-font);fill:var(--d-ink2)}
dl{margin:0} dt::before{content:"";display:inline-block;width:7px;height:7px;border-radius:50%;margin-right:7px;background:var(--d-run)} dt+dd+dt::before{background:var(--d-proc)}
dd{margin:0 0 4px 14px;color:var(--d-ink2)}
@media (prefers-reduced-motion:reduce){.outer,.inner{transition:none}}
"""

JS = (
    glyphs.JS
    + """
function svgPart(svg, tag, attributes) {
  const made = document.createElementNS(SVG, tag)
  for (const [k, v] of Object.entries(attributes)) made.setAttribute(k, v)
  return svg.appendChild(made)
}
export default function ({data, parentElement}) {
  const root = parentElement.querySelector('.rings')
  root.className = 'rings' + (data.stale ? ' stale' : '')
  if (!root._svg) {
    const svg = root._svg = document.createElementNS(SVG, 'svg')
    svg.setAttribute('viewBox', '0 0 100 100'); svg.setAttribute('role', 'img')
    root._tracks = [45, 35].map(r => svgPart(svg, 'circle', {cx: 50, cy: 50, r, class: 'track'}))
    root._arcs = [['outer', 45], ['inner', 35]].map(([name, r]) => svgPart(svg, 'circle', {cx: 50, cy: 50, r, class: name}))
    root._big = svgPart(svg, 'text', {x: 50, y: 54}); root._small = svgPart(svg, 'text', {x: 50, y: 66, class: 's'})
    root._list = make('dl'); root.append(svg, root._list)
  }
  root._svg.setAttribute('aria-label', data.rings.map(r => `${r.label}: ${r.text}`).join(', '))
  data.rings.forEach((ring, i) => {
    const round = 2 * Math.PI * [45, 35][i]
    root._tracks[i].setAttribute('class', 'track' + (ring.applies ? '' : ' none'))
    root._arcs[i].setAttribute('stroke-dasharray', `${round * (ring.part || 0)} ${round}`)
    root._arcs[i].style.visibility = ring.part ? '' : 'hidden'
  })
  root._big.textContent = data.big; root._small.textContent = data.small
  root._list.replaceChildren(...data.rings.flatMap(r => [make('dt', '', `${r.label} ${r.text}`), make('dd', '', r.note || '')]))
}
"""
)

_RINGS = st.components.v2.component("drainboard_rings", html="<div\nclass='rings'></div>", css=CSS, js=JS)


def ring(label: str, part: float | None, note: str, *, applies: bool = True) -> dict[str, object]:
    """Describe one ring; a stage that the task's type lacks does not apply, a part of None is not known."""
    text = "not applicable" if not applies else "–" if part is None else f"{int(part * 100)} %"
    return {"label": label, "part": part if applies else None, "text": text, "note": note, "applies": applies}


def rings(outer: dict[str, object], inner: dict[str, object], *, key: str, stale: bool = False) -> None:
    """Draw both, the further one's figure in the middle."""
    last = inner if inner["part"] or not outer["applies"] else outer
    middle = {"big": last["text"] if last["applies"] else "–", "small": str(last["label"]).lower()}
    _RINGS(data={"rings": [outer, inner], "stale": stale, **middle}, key=key)
