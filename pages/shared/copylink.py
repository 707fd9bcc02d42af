# ruff: noqa: E501 (style sheets and scripts read better unwrapped)
"""A button that copies the page's address with some parameters, so that a colleague sees what its sender saw."""

import streamlit as st

CSS = """
button{font:13px/1.2 var(--st-font);color:var(--d-ink);background:var(--d-bg);border:1px solid var(--d-line);border-radius:4px;height:28px;padding:0 10px;cursor:pointer}
button:hover{border-color:var(--d-accent);color:var(--d-accent)} button:focus-visible{outline:2px solid var(--d-accent);outline-offset:1px}
"""

JS = """
async function copy(text) {
  if (navigator.clipboard && window.isSecureContext) return navigator.clipboard.writeText(text)
  const field = document.createElement('textarea')  // where the console is reached by plain http from afar
  field.value = text; field.style.position = 'fixed'; field.style.opacity = 0
  document.body.append(field); field.select()
  const done = document.execCommand('copy'); field.remove()
  if (!done) throw new Error('refused')
}
export default function ({data, parentElement}) {
  const button = parentElement.querySelector('button')
  button.onclick = async () => {
    const here = new URL(window.location.href)
    for (const [name, value] of Object.entries(data.parameters)) here.searchParams.set(name, value)
    const address = data.address || here.href
    let said = 'Copied'
    try { await copy(address) } catch { window.prompt('Copy this link', address); said = 'Copy link' }
    button.textContent = said
    clearTimeout(button._later); button._later = setTimeout(() => { button.textContent = 'Copy link' }, 2000)
  }
}
"""

_COPY = st.components.v2.component(
    "drainboard_copylink", html="<button\ntype='button'>Copy link</button>", css=CSS, js=JS
)


def copy_link(parameters: dict[str, str], *, key: str) -> None:
    """Draw it; the parameters go into the address that is copied."""
    _COPY(data={"parameters": parameters}, key=key, width="content")


def copy_address(address: str, *, key: str) -> None:
    """Draw one that copies another address."""
    _COPY(data={"parameters": {}, "address": address}, key=key, width="content")
