"""What a page draws anew while another part of it is drawn, on a real server: nothing of either is left behind.

A browser's part is played by a websocket that asks for runs as a browser does. The server makes one run of what is
asked for while another run goes on.
"""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import pytest
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.exceptions import WebSocketException
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = """
import time

import streamlit as st

from pages.shared import frame, sending

sending.whole()
runs = st.session_state.setdefault("runs", {"live": 0})


@st.fragment
def dialog():
    st.text("dialog")


@st.fragment
def live():
    st.text("live")
    runs["live"] += 1
    if runs["live"] == 2:
        time.sleep(1)  # what is asked for meanwhile is answered by one run
    if runs["live"] == 3:
        %s


dialog()
live()
"""


class Asking:
    """A session: it asks for runs, and tells of which parts each was, and whether it came to its end."""

    def __init__(self, link: ClientConnection) -> None:
        self._link = link
        self.parts: dict[str, str] = {}  #: ids of parts, by what they draw first
        self.kept: set[str] = set()  #: what it says that it has kept
        self.sizes: list[int] = []  #: of what has come, in bytes
        self.drawn: list[str] = []  #: by the run that ended last
        self._page = ""

    def ask(self, part: str = "") -> Self:
        message = BackMsg()
        message.rerun_script.cached_message_hashes.extend(self.kept)
        message.rerun_script.page_script_hash = self._page
        message.rerun_script.fragment_id = self.parts.get(part, "")
        self._link.send(message.SerializeToString())
        return self

    def ended(self) -> tuple[list[str], bool]:
        """Wait until a run has ended."""
        self.drawn = []
        while True:
            message = ForwardMsg()
            received = self._link.recv(20)
            assert isinstance(received, bytes)
            message.ParseFromString(received)
            self.kept.add(message.hash)
            self.sizes.append(len(received))
            kind = message.WhichOneof("type")
            if kind == "new_session":
                self._page = message.new_session.page_script_hash
            elif kind == "delta" and message.delta.new_element.WhichOneof("type") == "text":
                said, part = message.delta.new_element.text.body, message.delta.fragment_id
                if part not in self.parts.values():
                    self.parts[said] = part
                self.drawn.append(said)
            elif kind == "script_finished":
                names = {fragment: name for name, fragment in self.parts.items()}
                drawn = sorted(names[fragment] for fragment in message.metadata.run.fragment_ids)
                return drawn, message.script_finished != ForwardMsg.FINISHED_EARLY_FOR_RERUN


@contextmanager
def session(folder: Path, instead: str) -> Iterator[Asking]:
    """Serve the page, with what its live part does in the run that is of both parts, and open it."""
    (folder / "page.py").write_text(SCRIPT % instead)
    (folder / ".streamlit").mkdir()
    shutil.copy(ROOT / ".streamlit" / "config.toml", folder / ".streamlit")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", "streamlit", "run", str(folder / "page.py"), "--server.port", str(port)],
        cwd=folder, env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        with opened(port) as link:
            yield Asking(link)
    finally:
        server.terminate()
        server.wait(15)


def opened(port: int) -> ClientConnection:
    for _ in range(300):
        try:
            return connect(f"ws://127.0.0.1:{port}/_stcore/stream", subprotocols=[Subprotocol("streamlit")])
        except (OSError, WebSocketException):
            time.sleep(0.1)
    raise AssertionError("The server did not answer")


@pytest.mark.parametrize("first", ["dialog", "live"])
def test_what_is_drawn_anew_beside_another_part_is_the_whole_run(tmp_path: Path, first: str) -> None:
    with session(tmp_path, "frame.again()") as page:
        assert page.ask().ended() == ([], True)
        second = next(name for name in page.parts if name != first)
        page.ask("live").ask(first).ask(second)
        assert page.ended() == (["live"], True)
        assert page.ended() == (["dialog", "live"], False)
        assert page.ended() == (["dialog", "live"], True)


def test_a_part_that_came_to_its_end_is_told_so_though_another_one_begins_at_once(tmp_path: Path) -> None:
    with session(tmp_path, "pass") as page:
        page.ask().ended()
        page.ask("live").ask("dialog")
        assert page.ended() == (["live"], True)
        assert page.ended() == (["dialog"], True)


def test_a_page_is_sent_whole_though_a_part_of_it_is_drawn_anew_at_once(tmp_path: Path) -> None:
    """Else a browser would take the part off the screen, and with it what was typed there, when the page ends."""
    with session(tmp_path, "pass\n    st.text('at last')") as page:
        page.ask().ended()
        page.ask().ask("live")
        assert page.ended() == ([], True)
        assert page.drawn == ["dialog", "live", "at last"]
        assert page.ended() == (["live"], True)
        assert page.drawn == ["live", "at last"]


def test_what_a_browser_says_it_has_kept_is_sent_whole_all_the_same(tmp_path: Path) -> None:
    """By when it arrives there the browser may have forgotten it, and would stand still."""
    with session(tmp_path, "pass\n    st.html('long ' * 10_000)") as page:
        for part in ("", "live", "live"):
            page.ask(part).ended()
        assert sum(size > 50_000 for size in page.sizes) == 3


KEPT = """
import app
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.runtime.forward_msg_queue import ForwardMsgQueue

queue = ForwardMsgQueue()
for body in ("of one run", "of the next"):
    drawn = ForwardMsg()
    drawn.metadata.delta_path[:] = [0, 0]
    drawn.delta.new_element.text.body = body
    queue.clear(retain_lifecycle_msgs=True, fragment_ids_this_run=None)
    queue.enqueue(drawn)
print(*(message.delta.new_element.text.body for message in queue.flush()), len(queue), sep=", ")
"""


def test_the_console_sends_all_that_it_draws() -> None:
    told = subprocess.run([sys.executable, "-c", KEPT], cwd=ROOT, capture_output=True, text=True, check=True)
    assert told.stdout == "of one run, of the next, 0\n"
