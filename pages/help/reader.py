# ruff: noqa: E501 (style sheets and scripts read better unwrapped)
"""What Help is read in: the list of topics and an article. Links within Help are told; the page is not loaded anew."""

from collections.abc import Callable

import streamlit as st

from pages.shared import glyphs

CSS = """
.help{container:help / inline-size;font:14px/21px var(--st-font);color:var(--d-ink);font-variant-numeric:tabular-nums}
.in{display:grid;grid-template-columns:196px minmax(0,1fr);gap:0 32px;align-items:start}
a{color:var(--d-accent);text-decoration:none} a:hover{text-decoration:underline} :is(a,summary,.wide):focus-visible{outline:2px solid var(--d-accent);outline-offset:1px;border-radius:2px}
nav{position:sticky;top:0;font-size:13px;line-height:18px} nav summary{display:none}
nav h2{font-size:12px;line-height:17px;font-weight:400;color:var(--d-ink3);margin:10px 0 3px 8px} nav details>h2:nth-of-type(1){margin-top:2px}
nav a{display:block;padding:4px 8px;border-radius:4px;color:var(--d-ink)} nav a:hover{background:var(--d-panel);text-decoration:none} nav a[aria-current]{background:var(--d-band);font-weight:600}
article{min-width:0} article:focus{outline:none}
h1{font-size:20px;line-height:26px;font-weight:600;margin:0 0 2px} .about{color:var(--d-ink2);margin:0 0 14px}
h3{font-size:15px;line-height:20px;font-weight:600;margin:24px 0 6px;scroll-margin-top:12px}
:is(p,h1,h3,.about,.toc,.found){max-width:55ch} :is(ul,ol){max-width:calc(53ch + 20px)} p{margin:0 0 9px} p:has(+:is(ul,ol)){margin-bottom:4px} :is(ul,ol){margin:0 0 9px;padding-left:20px} li{margin:0 0 4px} b{font-weight:600}
code{font:12.5px/18px ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;background:var(--d-panel);border-radius:3px;padding:1px 4px;overflow-wrap:anywhere}
.button{display:inline-block;font-size:12.5px;line-height:18px;border:1px solid var(--d-line);border-radius:4px;padding:0 7px;background:var(--d-bg);white-space:nowrap}
.toc{font-size:13px;line-height:20px;color:var(--d-ink2);margin:0 0 14px;display:flex;flex-wrap:wrap;gap:0 16px}
.wide{overflow-x:auto;margin:4px 0 14px;max-width:800px} .few{max-width:600px}
table{border-collapse:collapse;width:100%;font-size:13px;line-height:18px} :is(th,td){text-align:left;vertical-align:top;font-weight:400;padding:5px 16px 5px 0;border-bottom:1px solid var(--d-line2)} :is(th,td):last-child{padding-right:0} th{font-size:12px;color:var(--d-ink2);border-bottom-color:var(--d-line);white-space:nowrap} td i{font-style:normal;color:var(--d-ink2)} td:first-child{min-width:96px} td code{white-space:nowrap}
.tag{display:inline-flex;align-items:center;gap:6px;white-space:nowrap;margin-right:8px} .tag .glyph{flex:none}
.tag.run .glyph{color:var(--d-run)} .tag.proc .glyph{color:var(--d-proc)} .tag.queued .glyph{color:var(--d-queued)} .tag.done .glyph{color:var(--d-done)} .tag.hold .glyph{color:var(--d-hold)} .tag.fail .glyph{color:var(--d-fail)} .tag.stop .glyph{color:var(--d-stop)}
.topics{max-width:55ch;margin:0;padding:0;list-style:none} .topics li{margin:0 0 10px} .topics small,.found small{display:block;font-size:13px;line-height:18px;color:var(--d-ink2)}
.found{margin:0 0 12px} mark{background:var(--d-hold-tint);color:inherit;border-radius:2px;padding:0 1px}
.chart{border:1px solid var(--d-line2);border-radius:4px;padding:8px} svg:not(.glyph){display:block;flex:none}
.box{fill:var(--d-bg);stroke:var(--d-ink3);stroke-width:1} .box.end{stroke-width:2} .name{font:600 13px var(--st-font);fill:var(--d-ink)} .label{font:12px var(--st-font);fill:var(--d-ink);paint-order:stroke;stroke:var(--d-bg);stroke-width:4px;stroke-linejoin:round} .kinds{fill:var(--d-ink2)}
:is(circle,rect).run{fill:var(--d-run)} circle.proc{fill:var(--d-proc)} circle.queued{fill:var(--d-queued)} circle.done{fill:var(--d-done)} circle.stop{fill:var(--d-stop)} circle.fail{fill:var(--d-fail)} rect.hold{fill:var(--d-hold)} .start{fill:var(--d-ink)}
.way{fill:none;stroke:var(--d-ink2);stroke-width:1.3} .way.stop{stroke:var(--d-stop)} .way.fail{stroke:var(--d-fail)} .way.back{stroke-dasharray:4 3} .tap{fill:none;stroke:var(--d-ink3);stroke-width:1} .head.go{fill:var(--d-ink2)} .head.stop{fill:var(--d-stop)} .head.fail{fill:var(--d-fail)}
@container help (max-width:700px){
  .in{display:block} nav{position:static;border-bottom:1px solid var(--d-line2);padding-bottom:8px;margin-bottom:12px}
  nav summary{display:block;font-size:13px;line-height:24px;color:var(--d-accent);cursor:pointer} nav a{padding:6px 8px}
  .stack :is(table,tbody){display:block} .stack tr{display:block;padding:6px 0;border-bottom:1px solid var(--d-line2)} .stack tr:first-child{display:none}
  .stack td{display:block;position:relative;padding:1px 0 1px 108px;border:0;min-height:18px} .stack td::before{content:attr(data-head);position:absolute;left:0;font-size:12px;color:var(--d-ink2)} .stack td:first-child{padding:0 0 3px} .stack td:first-child::before{display:none} .stack td:empty{display:none} .wide:not(.stack) th{white-space:normal} .wide:not(.stack) :is(th,td):not(:last-child){padding-right:10px}
}
"""

JS = (
    glyphs.JS
    + """
export default function ({data, parentElement, setTriggerValue}) {
  const root = parentElement.querySelector('.help')
  if (!root._in) {
    root._in = root.appendChild(make('div', 'in'))
    root._nav = root._in.appendChild(make('nav')); root._nav.setAttribute('aria-label', 'Help topics')
    root._article = root._in.appendChild(make('article')); root._article.tabIndex = -1
    root._watch = new ResizeObserver(() => reach(root)); root._watch.observe(root._article)
    root.addEventListener('click', e => {
      const a = e.target.closest('a[data-topic]')
      if (!a || e.ctrlKey || e.metaKey || e.shiftKey) return
      e.preventDefault()
      root._asked = true
      fold(root)
      if (root._shown === a.dataset.topic && scroll(root)) return
      root._go(a.dataset.topic)
    })
  }
  root._go = topic => setTriggerValue('go', topic)
  // Both are made by this program of its own texts, all data in them escaped.
  if (root._nav._html !== data.nav) {
    root._nav.innerHTML = root._nav._html = data.nav
    fold(root)
  }
  if (root._article._html !== data.article) {
    root._article.innerHTML = root._article._html = data.article
    for (const tag of root._article.querySelectorAll('[data-glyph]')) tag.prepend(glyph(tag.dataset.glyph))
    for (const a of root._article.querySelectorAll('a[data-page]')) a.search = data.place
    reach(root)
  }
  if (root._shown !== data.shown) {
    const first = root._shown === undefined
    root._shown = data.shown
    if (!scroll(root) && !first) rise(root)
    if (root._asked) { root._article.focus({preventScroll: true}); root._asked = false }
  }
}
function fold(root) {
  root._nav.querySelector('details').open = root.clientWidth > 700
}
function reach(root) {  // a box that scrolls sideways can be reached by keyboard, others need not be
  for (const box of root._article.querySelectorAll('.wide'))
    if (box.scrollWidth > box.clientWidth) box.tabIndex = 0; else box.removeAttribute('tabindex')
}
function rise(root) {
  let box = root.getRootNode().host
  while (box && !box.scrollTop) box = box.parentElement
  if (box) box.scrollTop = 0
}
function scroll(root) {
  const section = root._shown.split('.')[1], there = section && root._article.querySelector('#' + section)
  if (there) there.scrollIntoView()
  return Boolean(there)
}
"""
)

_HELP = st.components.v2.component("drainboard_help", html="<div\nclass='help'></div>", css=CSS, js=JS)


def reader(nav: str, article: str, *, shown: str, place: str, key: str, on_go: Callable[[], None]) -> None:
    """Draw both, which are HTML. `shown` names what is shown ("cancel.stuck"), `place` goes along to other pages.

    When a link to a topic is pressed, `on_go` is called, and `st.session_state[key]["go"]` names the topic.
    """
    _HELP(data={"nav": nav, "article": article, "shown": shown, "place": place}, key=key, on_go_change=on_go)
