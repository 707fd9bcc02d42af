"""Launcher: `streamlit run app.py`. Starts the engine before any browser comes, and stops it in order.

The pages live behind `pages/router.py`; this module is never run again by a page.
"""

import gc
import importlib
import logging
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import streamlit as st
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware

from engine import exports, web
from engine.access import LINK
from engine.console import fleet_file, launch
from engine.errors import DrainboardError, SettingsError
from engine.fleet import load_file
from engine.oidc import Configured, Provider
from engine.settings import data_folder, load
from pages.shared import sending

logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
logging.getLogger("apscheduler").setLevel(logging.WARNING)  # it tells of every run of every job
logging.getLogger("httpx2").setLevel(logging.WARNING)  # likewise, of every request


def welcome(secret: str) -> None:
    """Tell how the first admin gets in."""
    origin = load(data_folder())["public_url"] or f"http://localhost:{st.get_option('server.port')}"
    address = f"{origin}{LINK}{secret}"
    logging.getLogger("drainboard").warning("Nobody can sign in yet. Make the first admin, once: %s", address)


def provider() -> Provider | None:
    """Make the identity provider that Streamlit's secrets name in their section [auth], if they do."""
    if not any(Path(file).exists() for file in st.get_option("secrets.files")):
        return None
    try:
        section = st.secrets.get("auth")
    except FileNotFoundError as error:  # as Streamlit calls a file that it can't read, too
        raise SettingsError(f"The secrets can't be read: {error}") from None
    return None if section is None else Provider(Configured.of(section))


try:
    load(data_folder())
    load_file(fleet_file(data_folder()))
    web.offer(provider())
except DrainboardError as error:
    sys.exit(str(error))  # a wrong setting or fleet is told in words, before there is a server


@asynccontextmanager
async def lifespan(_: object) -> AsyncIterator[None]:
    """Bring the console up with the server and down with it."""
    console = launch(data_folder(), welcome)
    for module in ("plotly.graph_objects", "polars", "pyarrow"):
        importlib.import_module(module)
    # What is loaded now stays: a full collection after each page run would walk all of it, holding the interpreter.
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        await run_in_threadpool(console.close)


sending.whole()

app = st.App(
    Path(__file__).parent / "pages" / "router.py",
    lifespan=lifespan,
    routes=[*web.routes, *exports.routes],
    middleware=[Middleware(web.Guard, hosts=st.get_option("server.allowedHosts"))],
)

if __name__ == "__main__":
    app.run()
