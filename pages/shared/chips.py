# ruff: noqa: E501 (style sheets and scripts read better unwrapped)
"""Chips over a grid: one of several that show how many there are, and switches beside them."""

from collections.abc import Mapping, Sequence

import streamlit as st

from . import glyphs, presses

CSS = """
.chips{display:flex;flex-wrap:wrap;gap:8px;font:13px/18px var(--st-font);font-variant-numeric:tabular-nums}
.one{display:flex;border:1px solid var(--d-line);border-radius:4px;overflow:hidden}
button{font:inherit;color:var(--d-ink);background:var(--d-bg);border:0;border-left:1px solid var(--d-line);height:28px;padding:0 9px;cursor:pointer;white-space:nowrap}
.one button:first-child{border-left:0} .switch{border:1px solid var(--d-line);border-radius:4px;color:var(--d-ink2);height:30px}
button:hover{background:var(--d-panel)} button[aria-pressed=true]{color:var(--d-accent);background:var(--d-accentbg);box-shadow:inset 0 0 0 1px var(--d-accent)}
.one button:first-child[aria-pressed=true]{border-radius:3px 0 0 3px} .one button:last-child[aria-pressed=true]{border-radius:0 3px 3px 0}
button:focus-visible{outline:2px solid var(--d-accent);outline-offset:-2px}
.tabs{border-bottom:1px solid var(--d-line);flex-wrap:nowrap;overflow-x:auto;scrollbar-width:none} .tabs .one{border:0;border-radius:0;flex:none} .tabs .one button{border:0;height:31px;padding:0 12px;color:var(--d-ink2);margin-bottom:-1px}
.tabs .one button[aria-pressed=true]{background:none;border-radius:0;color:var(--d-ink);font-weight:600;box-shadow:inset 0 -2px 0 var(--d-accent)}
@media (max-width:700px){.chips{gap:6px} .switch{padding:0 7px}}
"""

JS = (
    glyphs.JS
    + """
export default function ({data, parentElement, setStateValue}) {
  const root = parentElement.querySelector('.chips')
  if (!root._one) {
    root._one = root.appendChild(make('div', 'one')); root._one.setAttribute('role', 'group'); root._buttons = new Map()
  }
  const draw = (name, text, on, into, kind, value) => {
    let b = root._buttons.get(name)
    if (!b) { b = make('button', kind); b.type = 'button'; root._buttons.set(name, b); into.append(b) }
    if (b.textContent !== text) b.textContent = text
    b.setAttribute('aria-pressed', on); b.onclick = () => setStateValue('pressed', {value, n: Date.now()})
  }
  root.className = 'chips' + (data.tabs ? ' tabs' : '')
  root._one.setAttribute('aria-label', data.label)
  for (const [name, text] of data.chips) draw(name, text, name === data.chosen, root._one, '', name)
  const there = new Set(data.switches.map(([name]) => 'switch ' + name))
  for (const [name, text, on] of data.switches) draw('switch ' + name, text, on, root, 'switch', name)
  for (const [name, b] of root._buttons) if (name.startsWith('switch ') && !there.has(name)) { b.remove(); root._buttons.delete(name) }
  const chosen = root._buttons.get(data.chosen)
  if (data.tabs && chosen && root._chosen !== data.chosen) {  // on a phone they don't all have room
    root._chosen = data.chosen
    requestAnimationFrame(() => {
      const at = chosen.getBoundingClientRect(), all = root.getBoundingClientRect()
      root.scrollLeft += at.left - all.left - (all.width - at.width) / 2
    })
  }
  root._one.hidden = !data.chips.length; root._one.style.display = data.chips.length ? '' : 'none'
}
"""
)

_CHIPS = st.components.v2.component("drainboard_chips", html="<div\nclass='chips'></div>", css=CSS, js=JS)


def chips(
    counts: Mapping[str, int | None],
    chosen: str,
    *,
    key: str,
    label: str,
    switches: Sequence[tuple[str, str, bool]] = (),
    tabs: bool = False,
) -> str:
    """Draw them, or as tabs over the whole width; return what was just pressed: a name, or nothing.

    One whose count is None shows none. A switch is its name, what it says, and whether it is on.
    """
    shown = [[name, name if count is None else f"{name} {count:,}"] for name, count in counts.items()]
    data = {"chips": shown, "chosen": chosen, "label": label, "switches": [list(s) for s in switches], "tabs": tabs}
    width = "stretch" if tabs else "content"
    pressed = presses.heard(_CHIPS(data=data, key=key, on_pressed_change=_nothing, width=width).pressed, key)
    return str(pressed["value"]) if pressed else ""


def _nothing() -> None:
    """Stand in for a callback: what was pressed is read where the chips are drawn."""
