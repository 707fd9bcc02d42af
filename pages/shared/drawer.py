"""The menu on a phone lies over the page: once a page is chosen in it, it goes away."""

import streamlit as st

JS = """
const NARROW = '(max-width: 768px)'  // from here on the menu lies over the page
export default function ({parentElement}) {
  const menu = parentElement.closest ? parentElement.closest('[data-testid=stSidebar]') : null
  const bar = menu || parentElement.getRootNode().host?.closest('[data-testid=stSidebar]')
  if (!bar || bar._drawer) return
  bar._drawer = true
  bar.addEventListener('click', e => {
    if (!e.target.closest('[data-testid=stPageLink-NavLink]') || !matchMedia(NARROW).matches) return
    bar.querySelector('[data-testid=stSidebarCollapseButton] button')?.click()
  })
}
"""

_DRAWER = st.components.v2.component("drainboard_drawer", html="<i></i>", js=JS)


def drawer() -> None:
    """Have the menu fold by itself; within the menu."""
    _DRAWER(key="drawer")
