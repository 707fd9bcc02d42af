"""Help: the topics at the left, one of them at the right, or where a search finds something."""

from urllib.parse import urlencode

import streamlit as st

from pages.help import articles, topics
from pages.help.reader import reader
from pages.shared import frame

LONGEST_SEARCH = 100


def go() -> None:
    """Follow a link within Help, of which the address then tells; the search is over."""
    st.session_state["find"] = ""
    st.query_params["topic"] = st.session_state["help"]["go"]


settings = frame.engine().settings
with st.container(horizontal=True, vertical_alignment="center", key="head"):
    st.html("<h1 class='d-title'>Help</h1>", width="content")
    st.html("<div class='d-shown'></div>")
    sought = st.text_input("Search help", key="find", bind="query-params", label_visibility="collapsed",
                           placeholder="Search help …", width=240)  # fmt: skip
text = " ".join((sought or "").split())[:LONGEST_SEARCH]
name, _, section = st.query_params.get("topic", "").partition(".")
topic = topics.topics().get(name)
if text:
    shown, body = "search", articles.results(text, settings)
elif topic is not None:
    known = any(one.anchor == section for one in topic.sections)
    shown, body = f"{name}.{section}" if known else name, articles.article(topic, settings)
else:
    gone = f"There is no topic “{name[:60]}” any more. This is what there is:" if name else ""
    shown, body = "", articles.contents(gone)
place = urlencode({"site": st.query_params["site"]}) if "site" in st.query_params else ""
reader(articles.listed("" if text else name), body, shown=shown, place=place, key="help", on_go=go)
