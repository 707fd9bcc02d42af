"""The Unix socket in the data folder: how the command line asks a running console instead of failing.

Mode 0600, and the caller must be the same user. One request and one reply a connection, each a line of JSON.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from .errors import DrainboardError, NotAllowed

log = logging.getLogger("drainboard")

SOCKET = "console.sock"
LONGEST_REQUEST = 1 << 20

Request = dict[str, Any]
Reply = dict[str, Any]


class Control:
    """Answers requests on the socket, each in a thread of its own, until closed."""

    def __init__(self, folder: Path, answer: Callable[[Request], Reply]) -> None:
        self._answer = answer
        self._path = folder / SOCKET
        self._path.unlink(missing_ok=True)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        mask = os.umask(0o177)
        try:
            _at(folder, self._socket.bind)
        finally:
            os.umask(mask)
        self._socket.listen(8)
        self._server = threading.Thread(target=self._serve, name="drainboard-control", daemon=True)
        self._server.start()

    def close(self) -> None:
        """Answer nobody any more. Closing alone would leave the thread waiting, and with it all that it can reach."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._server.join(1)
        self._socket.close()
        self._path.unlink(missing_ok=True)

    def _serve(self) -> None:
        while True:
            try:
                peer, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._one, args=[peer], daemon=True).start()

    def _one(self, peer: socket.socket) -> None:
        with peer:
            try:
                credentials = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
                if struct.unpack("3i", credentials)[1] != os.getuid():
                    return
                reply = self._answer(json.loads(_read_line(peer)))
            except DrainboardError as error:
                reply = {"exit": 1, "text": str(error)}
            except Exception:
                log.exception("A request on the control socket failed")
                reply = {"exit": 1, "text": "The running console could not answer; its log says why"}
            with suppress(BrokenPipeError, ConnectionResetError):  # whoever asked is gone
                peer.sendall(json.dumps(reply).encode() + b"\n")


def ask(folder: Path, request: Request, timeout: float | None = None) -> Reply | None:
    """Ask the console that runs on a data folder; None where none listens."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as peer:
        peer.settimeout(timeout)
        try:
            _at(folder, peer.connect)
        except (FileNotFoundError, ConnectionRefusedError):
            return None
        except PermissionError:
            raise NotAllowed(
                f"The console on {folder} is another user's, and answers only him; run this command as that user"
            ) from None
        line = b""
        with suppress(BrokenPipeError, ConnectionResetError):  # it hung up, told below
            peer.sendall(json.dumps(request).encode() + b"\n")
            line = _read_line(peer)
    if not line:
        raise DrainboardError("The running console did not answer; is it another user's, or stopping?")
    reply: Reply = json.loads(line)
    return reply


def _at(folder: Path, use: Callable[[str], None]) -> None:
    """Name the socket through its folder's descriptor: a socket's own path may have 107 bytes at most."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        use(f"/proc/self/fd/{descriptor}/{SOCKET}")
    finally:
        os.close(descriptor)


def _read_line(peer: socket.socket) -> bytes:
    received = bytearray()  # bytes would be copied with every part: thousands of tasks are megabytes
    while not received.endswith(b"\n"):
        part = peer.recv(65536)
        if not part:
            break
        received += part
        if len(received) > LONGEST_REQUEST * 64:
            raise DrainboardError("The request is too long")
    return bytes(received)
