# ruff: noqa: E501 (style sheets and scripts read better unwrapped)
"""The filter bar: one line of the filter language, completed while it is typed, asked when typing pauses.

A browser completes by itself, from keys and values that it was given, so that no keystroke waits for the server. What
is still being typed is a draft: where it can't be read yet, the last that could goes on counting, and nobody is told
off. Once it is entered, an error shows where it is, and how it would be right.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import streamlit as st

from . import presses

CSS = """
:host{display:block} .bar{position:relative;font:13px/18px var(--st-font);color:var(--d-ink);font-variant-numeric:tabular-nums}
.line{display:flex;align-items:center;gap:8px;height:28px;border:1px solid var(--d-line);border-radius:4px;background:var(--d-bg);padding:0 8px 0 10px}
.line:focus-within{border-color:var(--d-accent);box-shadow:0 0 0 1px var(--d-accent)} .line.wrong{border-color:var(--d-fail)}
input{flex:1;min-width:0;font:inherit;color:inherit;background:none;border:0;outline:0;padding:0} input::placeholder{color:var(--d-ink3);opacity:1}
.found{flex:none;font-size:12px;color:var(--d-ink2);white-space:nowrap} .clear{flex:none;font:inherit;color:var(--d-ink2);background:none;border:0;cursor:pointer;padding:0 4px}
.clear:focus-visible{outline:2px solid var(--d-accent);border-radius:2px}
ul{position:absolute;z-index:20;left:0;top:32px;margin:0;padding:4px 0;list-style:none;min-width:260px;max-width:100%;max-height:300px;overflow:auto;background:var(--d-bg);border:1px solid var(--d-line);border-radius:4px;box-shadow:0 4px 16px #0003}
li{display:flex;gap:14px;justify-content:space-between;padding:3px 10px;cursor:pointer;white-space:nowrap} li[aria-selected=true],li:hover{background:var(--d-accentbg)}
li small{color:var(--d-ink2);font-size:12px;overflow:hidden;text-overflow:ellipsis} li b{font-weight:400}
.says{padding:4px 2px 0 11px;font-size:12px;color:var(--d-fail);overflow-wrap:anywhere} .says code{font:12px/17px var(--st-code-font,monospace);color:var(--d-ink2);white-space:pre-wrap} .says mark{background:var(--d-fail-tint);color:var(--d-fail);text-decoration:underline wavy;border-radius:2px}
[hidden]{display:none!important}
@media (max-width:500px){.found{display:none}}
"""

JS = """
const make = (tag, name, text) => { const made = document.createElement(tag); if (name) made.className = name; if (text !== undefined) made.textContent = text; return made }
const PAUSE = 450
const quoted = word => /^[^\\s()",:\\\\]+$/.test(word) && !/^(OR|NOT)$/.test(word) && !word.startsWith('-') ? word : '"' + word.replace(/[\\\\"]/g, '\\\\$&') + '"'

function token(text, caret) {  // what is being typed: where it begins, its key if it has one, and the part of the value
  let begin = 0, inQuote = false, value = -1
  for (let i = 0; i < caret; i++) {
    const c = text[i]
    if (inQuote) { if (c === '\\\\') i++; else if (c === '"') inQuote = false; continue }
    if (c === '"') inQuote = true
    else if (/[\\s()]/.test(c)) { begin = i + 1; value = -1 }
    else if (c === ':' && value < 0) value = i + 1
    else if (c === ',' && value >= 0) value = i + 1
  }
  if (text[begin] === '-' && value < 0) begin++
  const key = value < 0 ? null : text.slice(text[begin] === '-' ? begin + 1 : begin, text.indexOf(':', begin))
  return {key, from: value < 0 ? begin : value, part: text.slice(value < 0 ? begin : value, caret).replace(/^"/, ''), to: caret}
}

class Bar {
  constructor(root) {
    this.root = root; this.line = make('div', 'line'); this.input = make('input'); this.found = make('span', 'found')
    this.clear = make('button', 'clear', '✕'); this.clear.type = 'button'; this.clear.setAttribute('aria-label', 'Clear the filter')
    this.list = make('ul'); this.list.hidden = true; this.list.setAttribute('role', 'listbox'); this.list.id = 'completions'; this.list.tabIndex = -1  // as it scrolls, it would be a stop of its own
    this.says = make('div', 'says'); this.says.hidden = true; this.says.setAttribute('role', 'alert')
    for (const [name, value] of Object.entries({type: 'text', role: 'combobox', autocomplete: 'off', spellcheck: 'false', autocapitalize: 'off', 'aria-autocomplete': 'list', 'aria-controls': 'completions', 'aria-expanded': 'false'})) this.input.setAttribute(name, value)
    this.line.append(this.input, this.found, this.clear); root.append(this.line, this.list, this.says)
    this.input.oninput = () => { this.offer(); this.later() }
    this.input.onfocus = this.input.onclick = () => this.offer()
    this.input.onblur = () => setTimeout(() => this.close(), 150)
    this.input.onkeydown = e => this.key(e)
    this.clear.onclick = () => { this.input.value = ''; this.ask(false); this.input.focus() }
  }
  update(data) {
    this.data = data; this.input.placeholder = data.placeholder; this.input.setAttribute('aria-label', data.label)
    const typing = this.root.getRootNode().activeElement === this.input && this.input.value !== this.given
    if (this.given !== data.text && !typing && data.text !== this.asked) this.input.value = data.text
    if (this.given === undefined) this.input.value = data.text
    this.given = data.text
    this.found.textContent = data.found || ''; this.clear.hidden = !this.input.value
    const e = data.error
    this.says.hidden = !e; this.line.classList.toggle('wrong', Boolean(e)); this.input.setAttribute('aria-invalid', Boolean(e))
    if (e) {
      const code = make('code'), near = Math.max(0, e.at - 40)
      code.append((near ? '…' : '') + e.of.slice(near, e.at), make('mark', '', e.of.slice(e.at, e.at + Math.max(e.length, 1)) || '▁'), e.of.slice(e.at + Math.max(e.length, 1), e.at + 60))
      this.says.replaceChildren(make('span', '', e.text + '  '), code)
    }
  }
  later() { clearTimeout(this.timer); this.timer = setTimeout(() => this.ask(true), PAUSE); this.clear.hidden = !this.input.value }
  ask(draft) {
    clearTimeout(this.timer)
    if (draft && this.input.value === this.asked) return
    this.asked = this.input.value
    this.tell.setStateValue('asked', {text: this.input.value, draft, n: Date.now()})
  }
  offer() {
    const {key, from, part, to} = token(this.input.value, this.input.selectionStart), like = part.toLowerCase()
    let found = []
    if (key === null) found = this.data.keys.filter(k => k.k.startsWith(like)).map(k => ({put: k.k + ':', show: k.k + ':', help: k.help}))
    else {
      const known = this.data.keys.find(k => k.k === key.toLowerCase() || (k.also || []).includes(key.toLowerCase()))
      const values = known ? known.values : []
      found = values.filter(v => v.toLowerCase().includes(like)).sort((a, b) => b.toLowerCase().startsWith(like) - a.toLowerCase().startsWith(like))
        .map(v => ({put: quoted(v) + ' ', show: v, help: ''}))
      if (!found.length && known && known.hint) found = [{put: null, show: known.hint, help: known.help}]
    }
    if (found.length === 1 && found[0].show === part) found = []
    this.offers = found.slice(0, 60); this.from = from; this.to = to; this.at = -1
    this.list.replaceChildren(...this.offers.map((o, i) => {
      const li = make('li'); li.id = `completion-${i}`; li.setAttribute('role', 'option'); li.append(make('b', '', o.show), make('small', '', o.help || ''))
      li.onmousedown = e => { e.preventDefault(); this.take(i) }
      return li
    }))
    this.list.hidden = !this.offers.length; this.input.setAttribute('aria-expanded', !this.list.hidden)
  }
  close() { this.list.hidden = true; this.input.removeAttribute('aria-activedescendant'); this.input.setAttribute('aria-expanded', 'false'); this.at = -1 }
  take(i) {
    const o = this.offers[i]
    if (o.put === null) return
    const text = this.input.value, at = this.from + o.put.length
    this.input.value = text.slice(0, this.from) + o.put + text.slice(this.to).replace(/^ /, o.put.endsWith(' ') ? '' : ' ')
    this.input.setSelectionRange(at, at); this.input.focus(); this.offer()
    if (o.put.endsWith(' ')) { this.close(); this.ask(false) } else this.later()
  }
  key(e) {
    const open = !this.list.hidden
    if (open && (e.key === 'ArrowDown' || e.key === 'ArrowUp')) {
      e.preventDefault()
      const n = this.offers.length; this.at = (this.at + (e.key === 'ArrowDown' ? 1 : this.at < 0 ? 0 : -1) + n) % n
      ;[...this.list.children].forEach((li, i) => { li.setAttribute('aria-selected', i === this.at); if (i === this.at) li.scrollIntoView({block: 'nearest'}) })
      this.input.setAttribute('aria-activedescendant', `completion-${this.at}`)
    } else if (open && this.at >= 0 && (e.key === 'Enter' || e.key === 'Tab')) { e.preventDefault(); this.take(this.at) }
    else if (open && e.key === 'Tab' && this.offers.length && this.offers[0].put && this.input.value.slice(this.from, this.to)) { e.preventDefault(); this.take(0) }
    else if (e.key === 'Enter') { this.close(); this.ask(false) }
    else if (e.key === 'Escape') this.close()
    else if (['ArrowLeft', 'ArrowRight', 'Home', 'End'].includes(e.key)) setTimeout(() => this.offer())
  }
}

export default function ({data, parentElement, setStateValue}) {
  const root = parentElement.querySelector('.bar')
  if (!root._bar) root._bar = new Bar(root)
  root._bar.tell = {setStateValue}
  root._bar.update(data)
}
"""

_BAR = st.components.v2.component("drainboard_filterbar", html="<div\nclass='bar'></div>", css=CSS, js=JS)


@dataclass(frozen=True, slots=True)
class Typed:
    """What somebody typed; a draft, while he may still be at it."""

    text: str
    draft: bool


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with a filter: in words, and where in which text."""

    said: str
    of: str
    at: int
    length: int


def filter_bar(
    text: str,
    keys: Sequence[Mapping[str, Any]],
    *,
    key: str,
    found: str = "",
    fault: Fault | None = None,
    placeholder: str = "Filter, or look for a text …",
) -> Typed | None:
    """Draw it; return what was just typed. A key is {"k", "help", "also": aliases, "values", "hint"}."""
    wrong = {"text": fault.said, "of": fault.of, "at": fault.at, "length": fault.length} if fault else None
    data = {"text": text, "keys": list(keys), "found": found, "error": wrong, "placeholder": placeholder,
            "label": "Filter"}  # fmt: skip
    asked = presses.heard(_BAR(data=data, key=key, on_asked_change=_nothing).asked, key)
    return Typed(str(asked["text"]), bool(asked["draft"])) if asked else None


def _nothing() -> None:
    """Stand in for a callback: what was typed is read where the bar is drawn."""
