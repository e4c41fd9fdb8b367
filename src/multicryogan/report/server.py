"""The report page of work that goes on, served to this machine alone."""

from __future__ import annotations

import html
import secrets
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from multicryogan.errors import InputError
from multicryogan.report.contents import SCORES, gather
from multicryogan.report.page import render

LOOPBACK = "127.0.0.1"
NAMES = (LOOPBACK, "localhost")
LAST_PORT = 65_535
TOKEN_BYTES = 24
HEADERS = {
    "Content-Type": "text/html; charset=utf-8",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
WAITING = """<!DOCTYPE html><html lang="en"><meta charset="utf-8">
<meta http-equiv="refresh" content="30"><title>multicryogan</title>
<p>Nothing to show yet: {reason}</p><p>This page looks again every half minute.</p>
"""


class PageServer(ThreadingHTTPServer):
    """Serves one page under an address that cannot be guessed.

    Attributes:
        folders: Of `gather`.
        token: Path of the page; any other is not found.
    """

    daemon_threads = True

    def __init__(self, folders: list[Path], port: int = 0) -> None:
        """Listen on the loopback interface; port 0: any that is free.

        Raises:
            InputError: The port is taken, or there is none of that number.
        """
        if not 0 <= port <= LAST_PORT:
            raise InputError(f"--port is {port}; give 0 (any) to {LAST_PORT}")
        self.folders, self.token = folders, secrets.token_urlsafe(TOKEN_BYTES)
        self._lock = threading.Lock()
        self._made: tuple[frozenset[tuple[str, int]], str] | None = None
        try:
            super().__init__((LOOPBACK, port), PageHandler)
        except OSError as error:
            raise InputError(
                f"cannot listen on port {port}: {error.strerror}; give another --port"
            ) from None

    @property
    def address(self) -> str:
        """Where a browser finds the page."""
        return f"http://{LOOPBACK}:{self.server_port}/{self.token}/"

    def page(self) -> str:
        """Make the page, anew if a file in the folders has changed since."""
        with self._lock:
            state = frozenset(
                (str(path), path.stat().st_mtime_ns)
                for folder in self.folders
                for path in (*folder.glob("*"), folder / SCORES)
                if path.is_file()
            )
            if self._made is None or self._made[0] != state:
                try:
                    text = render(gather(self.folders))
                except InputError as error:
                    return WAITING.format(reason=html.escape(str(error)))
                self._made = (state, text)
            return self._made[1]


class PageHandler(BaseHTTPRequestHandler):
    """Answers GET for the page, and 404 to all else."""

    server: PageServer

    def do_GET(self) -> None:
        """Send the page, if its address is known and this machine is asked by name."""
        host = (self.headers.get("Host") or "").rsplit(":", 1)[0]
        wanted = f"/{self.server.token}/"
        if host not in NAMES or not secrets.compare_digest(
            self.path.encode(), wanted.encode()
        ):
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        body = self.server.page().encode()
        self.send_response(HTTPStatus.OK)
        for name, value in HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Keep the terminal quiet."""
