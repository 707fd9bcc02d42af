# ruff: noqa: E501 (style sheets and scripts read better unwrapped)
"""The glyphs, 12 px: a JavaScript function that components put before their own code. They are drawn, never typed."""

JS = """
const SVG = 'http://www.w3.org/2000/svg'
const DRAWN = {
  ring: [['circle', {cx: 6, cy: 6, r: 3.6, fill: 'none', 'stroke-width': 1.8}]],
  play: [['path', {d: 'M3.2 1.8 L10.2 6 L3.2 10.2 Z', fill: 'currentColor', stroke: 'none'}]],
  bars: [['rect', {x: 2.6, y: 1.8, width: 2.4, height: 8.4, fill: 'currentColor', stroke: 'none'}],
         ['rect', {x: 7, y: 1.8, width: 2.4, height: 8.4, fill: 'currentColor', stroke: 'none'}]],
  square: [['rect', {x: 2.4, y: 2.4, width: 7.2, height: 7.2, fill: 'none', 'stroke-width': 1.8}]],
  block: [['rect', {x: 2, y: 2, width: 8, height: 8, fill: 'currentColor', stroke: 'none'}]],
  cross: [['path', {d: 'M2.6 2.6 L9.4 9.4 M9.4 2.6 L2.6 9.4', 'stroke-width': 2}]],
  tick: [['path', {d: 'M2 6.4 L4.8 9.2 L10 3', fill: 'none', 'stroke-width': 2}]],
  device: [['rect', {x: 1.2, y: 2, width: 9.6, height: 6.2, rx: 1, fill: 'none'}], ['path', {d: 'M4 10.4 H8'}]],
  network: [['path', {d: 'M6 3.8 V6.2 M2.4 8.4 V6.2 H9.6 V8.4', fill: 'none'}], ['circle', {cx: 6, cy: 2.4, r: 1.3, fill: 'none'}],
            ['circle', {cx: 2.4, cy: 9.6, r: 1.3, fill: 'none'}], ['circle', {cx: 9.6, cy: 9.6, r: 1.3, fill: 'none'}]],
  cloud: [['path', {d: 'M3.4 9.4 A2.2 2.2 0 0 1 3.2 5 A3 3 0 0 1 9 4.8 A2.3 2.3 0 0 1 9 9.4 Z', fill: 'none'}]],
  gear: [['circle', {cx: 6, cy: 6, r: 2.6, fill: 'none'}], ['path', {d: 'M6 1 V2.6 M6 9.4 V11 M1 6 H2.6 M9.4 6 H11'}]],
}
function glyph(name) {
  const svg = document.createElementNS(SVG, 'svg')
  for (const [k, v] of Object.entries({viewBox: '0 0 12 12', width: 12, height: 12, stroke: 'currentColor', 'aria-hidden': 'true', class: 'glyph'}))
    svg.setAttribute(k, v)
  for (const [tag, attributes] of DRAWN[name] || []) {
    const shape = document.createElementNS(SVG, tag)
    for (const [k, v] of Object.entries(attributes)) shape.setAttribute(k, v)
    svg.append(shape)
  }
  return svg
}
function make(tag, name, text) {
  const made = document.createElement(tag)
  if (name) made.className = name
  if (text !== undefined) made.textContent = text
  return made
}
"""
