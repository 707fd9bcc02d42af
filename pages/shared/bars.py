# ruff: noqa: E501 (style sheets and scripts read better unwrapped)
"""Bars of the last runs of something: a script and a sheet that components put before their own.

`drawBars(told, pitch, slots, high)` makes an SVG of {"v": [[height 0–1, kind]], "t": the same in words}, the last bar at
the right. What failed has a cross, what was stopped is hollow: told apart not by colour alone.
"""

CSS = """
.bars svg{flex:none;overflow:visible} .bars rect{fill:var(--d-queued)} .bars .run{fill:var(--d-run)}
.bars .fail,.bars .stop{fill:none;stroke:var(--d-fail);stroke-width:1.2} .bars .stop{stroke:var(--d-stop)}
"""

JS = """
function svgShape(into, tag, kind, attributes) {
  const shape = document.createElementNS(SVG, tag)
  for (const [k, a] of Object.entries({class: kind, ...attributes})) shape.setAttribute(k, a)
  return into.appendChild(shape)
}
function drawBars(told, pitch, slots, high) {
  const svg = document.createElementNS(SVG, 'svg'), wide = pitch * slots, w = pitch - 2, c = Math.min(w, 6)
  for (const [k, a] of Object.entries({width: wide, height: high, viewBox: `0 0 ${wide} ${high}`, role: 'img', 'aria-label': told.t})) svg.setAttribute(k, a)
  told.v.forEach(([share, kind], i) => {
    const h = Math.max(2, Math.round((high - c - 2) * share)), x = pitch * (i + slots - told.v.length) + .5
    if (kind !== 'fail' || h > c) svgShape(svg, 'rect', kind, {x, y: high - h - .5, width: w, height: h})
    if (kind === 'fail') svgShape(svg, 'path', kind, {d: `M${x + (w - c) / 2} ${high - (h > c ? h + c + 2 : c + 1)} l${c} ${c} m0 -${c} l-${c} ${c}`})
  })
  return svg
}
"""
