"""What the head row says of how old the page is, and the watch in the browser that takes it back when nobody draws it.

What a server wrote stays on the screen when it hangs, when the network is gone or a laptop slept. So each drawing of
these words has a mark of its own, and one timer per tab looks once a second whether the mark is another one: no page
goes on saying "Live" about what is old. It only looks at what is there; it asks the server for nothing, and a refresh
costs no more. A tab that wakes is given a moment to be drawn anew before it says anything. It never loads the page
by itself: somebody may be typing.

The next drawing puts its own words in the place of the warning.
"""

from html import escape

import streamlit as st

from engine.clock import stopwatch

JS = """
const PACES = 3, PATIENCE = 10_000  // how late a drawing may be: as many refreshes, and as many milliseconds
const WAKING = 4_000  // for as long nothing is said after the tab was hidden or asleep,
const ASLEEP = 5_000  // which it was where two looks lie further apart than this
const OFFERED = 20_000  // after as long a warning, a button to reload is beside it
let drawn = '', heard = Date.now(), last = heard, woke = 0, warned = null

function aged(ms) {  // as the server words an age
  const s = Math.floor(ms / 1000)
  if (s < 60) return `${s} s`
  if (s < 3600) return `${Math.floor(s / 60)} min`
  if (s < 2 * 86400) return `${Math.floor(s / 3600)} h ${String(Math.floor(s / 60) % 60).padStart(2, '0')}`
  return `${Math.floor(s / 86400)} days`
}
function warn(mark, age, offered) {
  if (mark.className !== 'd-unheard') {
    const said = document.createElement('div')
    said.className = 'd-stale'; said.setAttribute('role', 'status')
    const time = document.createElement('time')
    time.setAttribute('role', 'timer')  // so that it is not read out each second
    said.append('Not heard of the console for ', time)
    mark.className = 'd-unheard'; mark.removeAttribute('role'); mark.replaceChildren(said)
  }
  const time = mark.querySelector('time')
  if (time.textContent !== age) time.textContent = age
  if (offered && !mark.querySelector('button')) {
    const reload = document.createElement('button')
    reload.type = 'button'; reload.textContent = 'Reload'; reload.onclick = () => location.reload()
    mark.append(reload)
  }
}
function look() {
  const now = Date.now(), marks = [...document.querySelectorAll('[data-drawn]')]
  const found = marks.map(mark => mark.dataset.drawn).join()
  if (found !== drawn || now < heard) { drawn = found; heard = now; warned = null }
  if (document.hidden || now < last || now - last > ASLEEP) woke = now
  last = now
  for (const mark of marks.filter(mark => mark.dataset.pace)) {
    const due = heard + PACES * 1000 * mark.dataset.pace + PATIENCE
    if (now > Math.max(due, woke + WAKING)) warned ??= now
    if (warned !== null) warn(mark, aged(now - heard), now - warned > OFFERED)
  }
}
setInterval(look, 1000)  // a script is begun once per tab, however often the component is drawn
export default function () {}
"""

_WATCH = st.components.v2.component("drainboard_heard", html="<i></i>", js=JS)
_UP = stopwatch()


def watch() -> None:
    """Have the browser watch over these words, for as long as the tab is open; once per run of the page."""
    _WATCH(key="heard")


def words(said: str, kind: str, pace: int | None, less: str = "") -> None:
    """Draw them, by a class of the sheet, as of now; they are to be drawn anew within `pace` seconds (None: never).

    Where the page is narrow, it does without what is `less` important.
    """
    role = " role='status'" if kind == "d-stale" else ""
    every = "" if pace is None else f" data-pace='{pace}'"
    rest = f"<span>{escape(less)}</span>" if less else ""
    st.html(f"<div class='{kind}'{role} data-drawn='{_UP():.6f}'{every}>{escape(said)}{rest}</div>", width="content")
