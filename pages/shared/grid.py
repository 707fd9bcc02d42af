# ruff: noqa: E501 (style sheets and scripts read better unwrapped)
"""The one grid for all tables: rows and cells are known by id, only what changed is drawn, and nothing in data is markup.

Columns are data: `{"id", "label", "type", "width", "sort", "card"}`; types are text, two (with a second, paler text),
link, links, status, slots, part, spark, bars, number and act. `card` is a column's place in a narrow view's two-line rows: lead,
end or line; without one it is left out there. One that is `narrow` stands only there. A row is `{"id", column: cell}`, with the heading of those that it is the
first of under "group"; a cell is a text, a number, None ("–"), or

    text, two, link   {"t": text, "s": second text, "g": glyph, "h": address within the app}; a link opens its row
    number            {"t": number or text, "s": what a pointer is told}
    links             {"links": [{"t": text, "h": address}], "s": second text}; they lead elsewhere, if anywhere
    slots             {"used", "slots", "free"}
    part              {"p": share 0–1, "t": the same in words, "k": "run" or none, "s": what a pointer is told}
    spark             {"line": [whole per cent, or None], "t": text}
    status            {"t": word, "g": glyph, "k": token, "p": progress 0–1, "s": why}
    bars              {"v": [[height 0–1, "done", "fail", "stop" or "run"]], "t": the same in words}
    act               [{"act": name, "t": label, "off": why not}]

While something is selected, rows keep their order; what comes anew waits behind a line, what left stays, greyed.

What is selected and what is open, the browser says. The server puts something else in their place where a button, a
dialog or the address asks for it; each such put has a number, and what the browser says without having heard of the last
one counts no more. Yet nothing that people do meanwhile is lost: the browser numbers their picks and openings, and does
those anew that came after what the server had heard of, or after the press of the button that the put follows from.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import streamlit as st

from . import bars, glyphs, presses

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Answer:
    """What people did with a grid."""

    selected: tuple[str, ...]  #: ids
    open: str | None  #: id
    action: Row | None  #: {"id", "act"}, until the press is settled
    sort: Row | None  #: {"id", "desc"}, likewise


CSS = bars.CSS + """
:host,.wrap{font:13px/18px var(--st-font);color:var(--d-ink);font-variant-numeric:tabular-nums}
.wrap{container:grid / inline-size;position:relative}
.wrap.stale{filter:grayscale(1)}
.row{display:grid;grid-template-columns:30px var(--columns);align-items:center;min-height:28px;border-bottom:1px solid var(--d-line2);position:relative}
.wrap:not(.picks) .row{grid-template-columns:var(--columns)} .wrap:not(.picks) .check{display:none}
.head{min-height:26px;border-bottom-color:var(--d-line)}
.row.body:hover{background:var(--d-panel)}
.row.picked,.row.picked:hover{background:var(--d-accentbg)}
.row.open,.row.open:hover{background:var(--d-accentbg);box-shadow:inset 3px 0 var(--d-accent)}
.row.gone{color:var(--d-ink3)} .row.gone .c{text-decoration:line-through}
.check{display:flex;justify-content:center} .check input{width:14px;height:14px;margin:0;accent-color:var(--d-accent);cursor:pointer}
.c{padding:0 8px;min-width:0;white-space:nowrap;overflow:hidden;text-overflow:ellipsis;display:flex;align-items:center;gap:6px}
.c.narrow{display:none}
.c span,.c a{overflow:hidden;text-overflow:ellipsis}
.c .glyph{flex:none;color:var(--d-ink2)}
.c .s{color:var(--d-ink2);font-size:12px;flex:0 10 auto}
.links a{flex:0 1 auto} .links .s{flex:none} .spark svg{flex:1 1 auto;min-width:0;max-width:110px;height:18px;overflow:visible} .spark path{fill:none;stroke:var(--d-ink2);stroke-width:1.2;vector-effect:non-scaling-stroke}
.spark .full{fill:var(--d-band)} .spark .t{flex:none;width:40px;text-align:right}
.cells{flex:0 0 auto;display:flex;gap:2px;width:48px} .cells i{flex:1 1 0;height:8px;border-radius:1px;background:var(--d-line)} .cells i.on{background:var(--d-run)}
.group{grid-column:1/-1;padding:10px 8px 4px;font-size:12px;line-height:17px;color:var(--d-ink2)} .group b{font-weight:600;color:var(--d-ink);margin-right:8px}
.row.grouped .group{background:var(--d-bg);margin:0 -1px;border-bottom:1px solid var(--d-line2)} .row.grouped .c{min-height:28px}
.number{justify-content:flex-end} .pale{color:var(--d-ink2)}
.head .c{font-size:12px;color:var(--d-ink2)}
.head button{font:inherit;color:inherit;background:none;border:0;padding:0;cursor:pointer;white-space:nowrap}
.head button:hover{color:var(--d-ink)} .head [aria-sort=ascending] button,.head [aria-sort=descending] button{color:var(--d-ink);font-weight:600}
a{color:var(--d-accent);text-decoration:none} a:hover{text-decoration:underline}
:is(a,button,input):focus-visible{outline:2px solid var(--d-accent);outline-offset:1px;border-radius:2px}
.tag{display:inline-flex;align-items:center;gap:7px;flex:none;min-width:76px;max-width:100%;line-height:20px}
.tag .glyph{color:inherit} .tag.run .glyph{color:var(--d-run)} .tag.proc .glyph{color:var(--d-proc)} .tag.queued .glyph{color:var(--d-queued)} .tag.done .glyph{color:var(--d-done)}
.tag.tint{min-width:0;padding:0 8px 0 6px;margin-left:-6px;border-radius:3px}
.tag.hold{color:var(--d-hold);background:var(--d-hold-tint)} .tag.fail{color:var(--d-fail);background:var(--d-fail-tint)} .tag.stop{color:var(--d-stop);background:var(--d-stop-tint)}
.bar{flex:none;width:44px;height:4px;border-radius:2px;background:var(--d-band);overflow:hidden}
.bar i{display:block;height:100%;background:var(--d-run);transition:width .6s} .proc~.bar i{background:var(--d-proc)}
.part .bar{flex:1 1 auto;max-width:96px} .part .bar i{background:var(--d-queued)} .part .bar.run i{background:var(--d-run)} .part .t{flex:none;width:44px;text-align:right}
.pct{flex:none;width:32px;text-align:right;color:var(--d-ink2)}
.act button,.new button{font:inherit;font-size:12px;color:var(--d-ink);background:var(--d-bg);border:1px solid var(--d-line);border-radius:4px;padding:1px 8px;cursor:pointer}
.act button:disabled{color:var(--d-ink3);cursor:default}
.new{position:absolute;top:1px;right:0;height:24px;display:flex;gap:8px;align-items:center;font-size:12px;color:var(--d-ink2);background:var(--d-bg);padding-left:8px} .new[hidden]{display:none}
@media (prefers-reduced-motion:reduce){.bar i{transition:none}}
@container grid (max-width:600px){
  .cards .row.body{grid-template:"check lead end" 24px "check line line" 24px / 30px 1fr auto;padding:2px 0}
  .cards:not(.picks) .row.body{grid-template:"lead end" 24px "line line" 24px / 1fr auto}
  .cards .row.body .c{display:none} .cards .row .check{grid-area:check;align-self:start;padding-top:5px}
  .cards .row.body .lead{display:flex;grid-area:lead;font-weight:600} .cards .row.body .end{display:flex;grid-area:end} .cards .row.body .line{display:flex;grid-area:line}
  .cards:not(.picks) .row.body.grouped{grid-template:"group group" auto "lead end" 24px "line line" 24px / 1fr auto} .cards .group{grid-area:group} .cards .row.grouped .c{min-height:0}
  .cards .head .c{display:none} .cards .head .c.sorted{display:flex}
  .cards:not(.picks) .row.head:not(:has(.sorted)){display:none}
  .cards .row.head{grid-template:"check sorted" 26px / 30px 1fr} .cards .row.head .check{padding:0;align-self:center} .cards .head .sorted{grid-area:sorted}
  .cards:not(.picks) .row.head{grid-template:"sorted" 26px / 1fr}
  .cards .row.body .line.two>:first-child{flex:0 0 auto;max-width:84%}
  .wrap:not(.cards) .two{flex-wrap:wrap;row-gap:0}
}
"""

JS = (
    glyphs.JS
    + bars.JS
    + """
const draw = {
  text(cell, v) { parts(cell, v, 'span') },
  two(cell, v) { parts(cell, v, 'span') },
  number(cell, v) {
    const one = v !== null && typeof v === 'object' ? v : {t: v}
    cell.textContent = one.t === null || one.t === undefined ? '–' : typeof one.t === 'number' ? one.t.toLocaleString('en') : one.t
    cell.title = one.s || ''
  },
  link(cell, v, grid, id) {
    if (!v || !v.h) { parts(cell, v, 'span'); return }
    parts(cell, v, 'a')
    const a = cell.querySelector('a')
    lead(a, v.h)
    a.onclick = e => { if (e.ctrlKey || e.metaKey || e.shiftKey) return; e.preventDefault(); grid.opened(id) }
  },
  links(cell, v) {
    const links = (v && v.links || []).map(one => { if (!one.h) return make('span', '', one.t); const a = make('a', '', one.t); lead(a, one.h); a.target = '_self'; return a })
    cell.replaceChildren(...links, ...(v && v.s || !links.length ? [make('span', 's', v && v.s || '–')] : []))
  },
  slots(cell, v) {
    const cells = make('span', 'cells'), n = Math.min(Math.max(v.slots, 1), 12), on = v.slots ? Math.ceil(n * Math.min(v.used / v.slots, 1) - 1e-9) : 0
    for (let i = 0; i < n; i++) cells.append(make('i', i < on ? 'on' : ''))
    cell.replaceChildren(cells, make('span', '', `${v.used.toLocaleString('en')} of ${v.slots.toLocaleString('en')}`))
    if (v.free > 0) cell.append(make('span', 's', `${v.free.toLocaleString('en')} free`))
  },
  part(cell, v) {
    if (!v) { cell.textContent = '–'; return }
    const bar = make('span', 'bar ' + (v.k || '')), in_ = make('i')
    in_.style.width = Math.min(v.p * 100, 100) + '%'; bar.append(in_)
    cell.replaceChildren(bar, make('span', 't', v.t)); cell.title = v.s || ''
  },
  spark(cell, v) {
    if (!v) { cell.textContent = '–'; return }
    const svg = document.createElementNS(SVG, 'svg'), top = Math.max(100, ...v.line.map(y => y || 0)), last = v.line.length - 1
    const put = (tag, all) => { const m = document.createElementNS(SVG, tag); for (const [k, x] of Object.entries(all)) m.setAttribute(k, x); svg.append(m) }
    for (const [k, x] of Object.entries({viewBox: '0 0 100 18', preserveAspectRatio: 'none', 'aria-hidden': 'true'})) svg.setAttribute(k, x)
    put('rect', {x: 0, y: 17.5 - 17 * 100 / top, width: 100, height: 17 * 100 / top, class: 'full'})
    let d = '', pen = 'M'
    v.line.forEach((y, i) => {
      if (y === null) { pen = 'M'; return }
      d += `${pen}${(100 * i / last).toFixed(1)} ${(17.5 - 17 * y / top).toFixed(1)} `; pen = 'L'
    })
    put('path', {d})
    cell.replaceChildren(svg, make('span', 't', v.t))
  },
  status(cell, v) {
    if (!cell._tag) {
      cell._tag = make('span'); cell._bar = make('span', 'bar'); cell._bar.append(make('i'))
      cell._bar.setAttribute('role', 'progressbar')
      cell._pct = make('span', 'pct'); cell._why = make('span', 's')
      cell.append(cell._tag, cell._bar, cell._pct, cell._why)
    }
    if (cell._word !== v.t + v.g + v.k) {
      cell._word = v.t + v.g + v.k
      cell._tag.className = 'tag ' + v.k + (['hold', 'fail', 'stop'].includes(v.k) ? ' tint' : '')
      cell._tag.replaceChildren(glyph(v.g), make('span', '', v.t))
    }
    const known = typeof v.p === 'number'
    cell._bar.hidden = cell._pct.hidden = !known
    cell._bar.style.display = cell._pct.style.display = known ? '' : 'none'
    if (known) {
      const whole = Math.floor(v.p * 100)
      cell._bar.firstChild.style.width = whole + '%'
      cell._bar.setAttribute('aria-valuenow', whole); cell._bar.setAttribute('aria-label', v.t)
      cell._pct.textContent = whole + ' %'
    }
    if (cell._why.textContent !== (v.s || '')) cell._why.textContent = cell._why.title = v.s || ''
  },
  bars(cell, v) {
    const told = v || {v: [], t: ''}
    cell.replaceChildren(drawBars(told, 6, 10, 18)); cell.title = told.t
  },
  act(cell, v, grid, id) {
    cell.replaceChildren(...(v || []).map(one => {
      const b = make('button', '', one.t)
      b.type = 'button'; b.disabled = Boolean(one.off); b.title = one.off || ''
      b.onclick = () => grid.tell('action', {id, act: one.act, n: Date.now()})
      return b
    }))
  },
}
function lead(a, to) { a.setAttribute('href', /^([?]|[/](?![/\\\\]))/.test(to || '') ? to : '#') }
function parts(cell, v, tag) {
  const one = v !== null && typeof v === 'object' ? v : {t: v}
  const main = make(tag, '', one.t === null || one.t === undefined || one.t === '' ? '–' : one.t)
  cell.replaceChildren(...(one.g ? [glyph(one.g)] : []), main, ...(one.s ? [make('span', 's', one.s)] : []))
  cell.title = [one.t, one.s].filter(Boolean).join(', ')
}

class Grid {
  constructor(root) {
    this.root = root; this.rows = new Map(); this.selected = new Set(); this.open = null; this.puts = {}; this.columns = ''
    this.n = Date.now(); this.picks = []; this.openedAt = 0  // picks and openings are numbered: what the server had not heard of when it put something else stays
    this.pressedAt = {}
    const heed = e => {  // one run may hear of a press and of picks after it: which came first is known here alone
      if (!root.isConnected) document.removeEventListener('click', heed, true)
      for (const part of ['selected', 'open']) if (e.target.closest?.(`[class*=st-key-put-${part}] button`)) this.pressedAt[part] = this.n
    }
    document.addEventListener('click', heed, true)
    this.head = make('div', 'row head'); this.head.setAttribute('role', 'row')
    this.fresh = make('div', 'new'); this.fresh.hidden = true; this.fresh.setAttribute('role', 'status')
    this.body = make('div', 'rows'); this.body.setAttribute('role', 'rowgroup')
    this.body.onkeydown = e => this.arrow(e)
    this.table = make('div'); this.table.setAttribute('role', 'grid'); this.table.append(this.head, this.body)
    root.append(this.table, this.fresh)
  }
  update(data) {
    this.data = data
    this.root.className = 'wrap' + (data.stale ? ' stale' : '') + (data.cards ? ' cards' : '') + (data.picks ? ' picks' : '')
    this.table.setAttribute('aria-label', data.label)
    const {selected, open} = data, anew = part => this.puts[part] !== data[part].put
    const heard = part => data[part].pressed ? this.pressedAt[part] || 0 : data[part].heard
    let own = false
    if (anew('selected')) {
      this.picks = this.picks.filter(([n]) => n > heard('selected'))
      this.selected = new Set(selected.is)
      for (const [, id, on] of this.picks) this.choose(id, on)
      own = this.picks.length > 0
    }
    if (anew('open')) {
      if (this.openedAt > heard('open')) own = true
      else this.open = open.is
    }
    this.puts = {selected: selected.put, open: open.put}
    this.root.style.setProperty('--columns', data.columns.filter(c => !c.narrow).map(c => `minmax(0,${c.width || '1fr'})`).join(' '))
    const columns = JSON.stringify(data.columns.map(c => ({...c, width: 0}))), sort = JSON.stringify(data.sort)
    if (this.columns !== columns) { this.columns = columns; this.empty(); this.sort = null }
    if (this.sort !== sort) { this.sort = sort; this.layOut() }
    const turned = this.view !== undefined && this.view !== data.view
    this.view = data.view; this.unfreeze = turned
    this.reconcile(); this.mark()
    if (own || turned && this.selected.size) this.say()
  }
  layOut() {
    const all = make('div', 'check'), box = make('input')
    all.setAttribute('role', 'columnheader'); box.type = 'checkbox'; box.setAttribute('aria-label', 'Select all rows of this page')
    box.onchange = () => {
      for (const id of [...this.selected]) this.pick(id, false)
      if (box.checked) for (const id of this.order()) this.pick(id, true)
      this.picked()
    }
    all.append(box); this.all = box
    this.head.replaceChildren(all, ...this.data.columns.map(c => {
      const cell = make('div', 'c ' + (c.type === 'number' ? 'number ' : '') + (c.narrow ? 'narrow ' : '') + (c.id === this.data.sort.id ? 'sorted' : ''))
      cell.setAttribute('role', 'columnheader')
      const mine = c.id === this.data.sort.id, desc = mine && this.data.sort.desc
      if (!c.sort) { cell.textContent = c.label; return cell }
      cell.setAttribute('aria-sort', mine ? (desc ? 'descending' : 'ascending') : 'none')
      const b = make('button', '', c.label + (mine ? (desc ? ' ↓' : ' ↑') : ''))
      b.type = 'button'
      b.onclick = () => this.tell('sort', {id: c.id, desc: mine ? !desc : c.sort === 'desc', n: Date.now()})
      cell.append(b); return cell
    }))
  }
  empty() {
    for (const row of this.rows.values()) row.remove()
    this.rows.clear()
  }
  order() { return [...this.body.children].filter(row => !row.classList.contains('gone')).map(row => row._id) }
  reconcile() {
    const frozen = this.selected.size > 0 && this.rows.size > 0 && !this.unfreeze
    const byId = new Map(this.data.rows.map(row => [row.id, row]))
    const wanted = this.data.rows.slice(0, this.data.size).map(row => row.id)
    const fresh = frozen ? wanted.filter(id => !this.rows.has(id)) : []
    const shown = frozen ? [...this.body.children].map(row => row._id) : wanted
    this.unfreeze = false
    const keep = new Set(shown)
    for (const [id, row] of this.rows) if (!keep.has(id)) { row.remove(); this.rows.delete(id) }
    let at = this.body.firstChild
    for (const id of shown) {
      const row = this.rows.get(id) || this.row(id), told = byId.get(id)
      row.classList.toggle('gone', !told)
      if (told) this.fill(row, told)
      if (row === at) at = at.nextSibling; else this.body.insertBefore(row, at)
    }
    this.fresh.hidden = fresh.length === 0
    if (fresh.length && this.told !== fresh.length) {
      const b = make('button', '', 'Show'); b.type = 'button'
      b.onclick = () => { this.unfreeze = true; this.reconcile(); this.mark(); this.say() }
      this.fresh.replaceChildren(make('span', '', `${fresh.length} new`), b)
    }
    this.told = fresh.length
  }
  row(id) {
    const row = make('div', 'row body'), check = make('div', 'check'), box = make('input')
    row.setAttribute('role', 'row'); row._id = id; row._box = box; row._cells = {}
    check.setAttribute('role', 'gridcell'); box.type = 'checkbox'
    box.onchange = () => { this.pick(id, box.checked); this.picked() }
    check.append(box); row.append(check)
    for (const c of this.data.columns) {
      const cell = make('div', `c ${c.type} ${c.pale ? 'pale' : ''} ${c.narrow ? 'narrow' : ''} ${c.card || ''}`)
      cell.setAttribute('role', 'gridcell'); row._cells[c.id] = cell; row.append(cell)
    }
    this.rows.set(id, row)
    return row
  }
  fill(row, told) {
    const label = 'Select ' + (told.label || told.id)
    if (row._label !== label) { row._label = label; row._box.setAttribute('aria-label', label) }
    const group = JSON.stringify(told.group || null)
    if ((row._group || 'null') !== group) {
      row._group = group
      row.classList.toggle('grouped', Boolean(told.group)); row.querySelector('.group')?.remove()
      if (told.group) {
        const head = make('div', 'group'); head.append(make('b', '', told.group.t), make('span', '', told.group.s || ''))
        head.setAttribute('role', 'rowheader'); row.prepend(head)
      }
    }
    for (const c of this.data.columns) {
      const cell = row._cells[c.id], value = told[c.id] === undefined ? null : told[c.id], seen = JSON.stringify(value)
      if (cell._seen !== seen) { cell._seen = seen; draw[c.type](cell, value, this, told.id) }
    }
  }
  mark() {
    for (const [id, row] of this.rows) {
      const on = this.selected.has(id)
      row._box.checked = on; row.classList.toggle('picked', on); row.setAttribute('aria-selected', on)
      row.classList.toggle('open', id === this.open)
    }
    const ids = this.order(), n = ids.filter(id => this.selected.has(id)).length
    this.all.checked = n > 0 && n === ids.length; this.all.indeterminate = n > 0 && n < ids.length
  }
  choose(id, on) { on ? this.selected.add(id) : this.selected.delete(id) }
  pick(id, on) {
    this.choose(id, on)
    this.picks = [...this.picks.slice(-999), [++this.n, id, on]]
  }
  picked() { this.reconcile(); this.mark(); this.say() }
  opened(id) {
    this.open = this.open === id ? null : id; this.openedAt = ++this.n; this.mark(); this.say()
    if (this.data.lifts && this.open) document.querySelector('[data-testid=stMain]')?.scrollTo({top: 0})
  }
  say() { this.tell('chosen', {selected: [...this.selected], open: this.open, shown: this.order(), puts: this.puts, n: this.n}) }
  arrow(e) {
    const step = {ArrowDown: 'nextElementSibling', ArrowUp: 'previousElementSibling'}[e.key]
    const row = e.target.closest('.row'), to = step && row && row[step]
    if (!to) return
    const mine = [...row.querySelectorAll('a,button,input')].indexOf(e.target), there = to.querySelectorAll('a,button,input')
    e.preventDefault(); (there[mine] || there[0]).focus()
  }
}

export default function ({data, parentElement, setStateValue}) {
  const root = parentElement.querySelector('.wrap')
  if (!root._grid) root._grid = new Grid(root)
  root._grid.tell = setStateValue
  root._grid.update(data)
}
"""
)

_GRID = st.components.v2.component("drainboard_grid", html="<div\nclass='wrap'></div>", css=CSS, js=JS)


def grid(
    rows: list[Row],
    columns: list[Row],
    *,
    key: str,
    label: str,
    sort: Row,
    view: str = "",
    size: int | None = None,
    picks: bool = True,
    stale: bool = False,
    cards: bool = True,
    lifts: bool = False,
) -> Answer:
    """Draw a table of rows. Rows beyond `size` are told only in case that they are on the screen already.

    With `lifts`, a row that is opened brings the page's top into sight, where it is shown. `view` names what is looked at: when it changes, the rows are those of the new view whatever is selected.
    """
    puts = {part: put | {"is": _chosen(key, part)} for part, put in _puts(key).items()}
    st.session_state[f"{key}.put"] = puts  # so that what counts is known, too, when the grid was not drawn for a while
    answer = _GRID(
        data={
            "rows": rows, "columns": columns, "label": label, "sort": sort, "view": view,
            "size": len(rows) if size is None else size,
            "picks": picks, "stale": stale, "cards": cards, "lifts": lifts, **puts,
        },
        key=key,
        on_chosen_change=_nothing,
        on_action_change=_nothing,
        on_sort_change=_nothing,
    )  # fmt: skip
    action, by = presses.heard(answer.action, f"{key} action"), presses.heard(answer.sort, f"{key} sort")
    return Answer(*state(key), action, by)


def state(key: str) -> tuple[tuple[str, ...], str | None]:
    """Tell what is selected and open in a grid; also before it is drawn in this run."""
    return tuple(_chosen(key, "selected")), _chosen(key, "open")


def shown(key: str) -> tuple[str, ...]:
    """Tell which rows stay on the screen because something is selected."""
    told = _told(key)
    return tuple(told["shown"]) if told and _chosen(key, "selected") else ()


def select(key: str, rows: Sequence[str] = ()) -> None:
    """Set what is selected in a grid; call it from a callback or above the grid.

    What somebody picks meanwhile, before his browser has heard of it, is picked in addition.
    """
    _put(key, "selected", list(rows))


def open_row(key: str, row: str | None) -> None:
    """Set which row is open in a grid, if any; likewise, but for one that somebody opens meanwhile."""
    _put(key, "open", row)


def clear_button(key: str) -> None:
    """Draw what takes back the selection of a grid."""
    with st.container(key="put-selected", width="content"):
        st.button("Clear", key=f"{key}.clear", width="content",
                  on_click=lambda: _put(key, "selected", [], pressed=True))  # fmt: skip


def close_button(key: str) -> None:
    """Draw what closes the open row of a grid, in the head of its card."""
    open_button(key, "✕", None, help="Close")


def open_button(key: str, label: str, row: str | None, **drawn: Any) -> None:
    """Draw what opens another row of a grid, in the card of the one that is open."""
    with st.container(key="put-open" if row is None else "put-open-other", width="content"):
        st.button(label, key=f"{key}.open {row}", type="tertiary", width="content",
                  on_click=lambda: _put(key, "open", row, pressed=True), **drawn)  # fmt: skip


def follow(key: str, address: Mapping[str, str], name: str = "task") -> dict[str, str | None]:
    """Keep the open row and a parameter of the address the same, whichever changed; call it above the grid.

    A grid that was not the last one followed is come to, or come back to: nothing is selected in it, and open is what
    the address names, unless it was closed as the other grid was left. Returns what the address must change; see that
    it is held until the browser has heard of it, else a run that was under way would open again what was closed.
    """
    followed, wanted, changes = st.session_state.get(_FOLLOWED), address.get(name), dict[str, str | None]()
    if followed is None or followed[0] != key:
        if followed is not None and wanted is not None and wanted == followed[1] and state(followed[0])[1] is None:
            wanted, changes = None, {name: None}
        select(key)
        open_row(key, wanted)
        opened = wanted
    elif wanted != followed[1]:
        open_row(key, wanted)
        opened = wanted
    elif (opened := state(key)[1]) != wanted:
        changes = {name: opened}
    st.session_state[_FOLLOWED] = key, opened
    return changes


def leave() -> None:
    """Take no grid as the last one followed: another page is turned to."""
    st.session_state.pop(_FOLLOWED, None)


_FOLLOWED = "grid followed"  #: its key, and its open row
_UNPUT: dict[str, Row] = {
    "selected": {"put": 0, "is": [], "heard": 0, "pressed": False},
    "open": {"put": 0, "is": None, "heard": 0, "pressed": False},
}  # fmt: skip


def _puts(key: str) -> dict[str, Row]:
    """Return what was put last in each part of what a grid's state is, numbered; "heard" is what a browser had said."""
    puts: dict[str, Row] = st.session_state.get(f"{key}.put", _UNPUT)
    return puts


def _put(key: str, part: str, value: Any, **more: bool) -> None:
    last, told = _puts(key), _told(key)
    put = last[part] | {"put": last[part]["put"] + 1, "is": value}  # what a browser says without it counts no more
    if told and told["puts"][part] == last[part]["put"]:
        put |= {"heard": told["n"], "pressed": False}
    st.session_state[f"{key}.put"] = last | {part: put | more}


def _told(key: str) -> Row | None:
    told: Row | None = (st.session_state.get(key) or {}).get("chosen")
    return told


def _chosen(key: str, part: str) -> Any:
    """Return what counts: what the browser said last, unless something was put since that it had not heard of."""
    put, told = _puts(key)[part], _told(key)
    return told[part] if told and told["puts"][part] == put["put"] else put["is"]


def _nothing() -> None:
    """Stand in for a callback: the grid's answer is read where it is drawn."""
