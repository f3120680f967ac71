"""HTTP for connectors: requests that end in time, and the verdicts that answers mean."""
import contextlib
import http.client
import json
import socket
import threading
import time
import urllib.parse
from email.utils import parsedate_to_datetime

from .verdict import Halt, Reject, Retry

MOST = 16 << 20  # bytes of an answer that are read


class Http:
    """Requests that end when the call that they belong to does."""

    def __init__(self, until):
        self.until, self.lock, self.open, self.ended = until, threading.Lock(), set(), False

    def end(self):
        with self.lock:
            self.ended = True
            for sock in self.open:
                # It wakes the thread that waits for an answer. The method of TLS sockets would first fall back
                # to plain text.
                with contextlib.suppress(OSError):
                    socket.socket.shutdown(sock, socket.SHUT_RDWR)

    def request(self, method, url, body=None, headers={}, timeout=10, fine=()):
        """Sends body as JSON, and returns the answer's. A verdict is raised for a status that is neither 2xx
        nor in fine. timeout, in seconds, is for each silence of the server. Redirects are not followed."""
        try:
            at = urllib.parse.urlsplit(url)
            make = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}[at.scheme]
            conn = make(at.hostname, at.port, timeout=max(0.001, min(timeout, self.until - time.monotonic())))
        except (KeyError, ValueError, http.client.InvalidURL) as e:
            raise Halt(f"{method}: the URL cannot be used: {e}")
        sock = None
        try:
            conn.connect()
            sock = conn.sock
            with self.lock:
                self.open.add(sock)
                if self.ended:
                    raise Retry("the call ended before the request was made")
            data = None if body is None else json.dumps(body)
            conn.request(method, urllib.parse.urlunsplit(("", "", at.path or "/", at.query, "")), data,
                         {"Content-Type": "application/json", **headers} if data else headers)
            answer = conn.getresponse()
            text = answer.read(MOST)
        except (OSError, http.client.HTTPException) as e:
            raise Retry(f"{method}: no answer: {type(e).__name__} {e}")
        finally:
            with self.lock:
                self.open.discard(sock)
            conn.close()
        if 200 <= answer.status < 300 or answer.status in fine:
            return text
        said = f"{method}: the server answered {answer.status} {answer.reason}"
        if answer.status in (401, 403):
            raise Halt(said)
        if answer.status < 500 and answer.status not in (408, 425, 429):
            raise Reject(said)
        verdict = Retry(said)
        if answer.status in (429, 503):
            verdict.after = seconds(answer.headers.get("Retry-After", ""))
        raise verdict


def seconds(header):
    """What Retry-After asks for, at most a day; 0 if it asks for nothing that can be understood."""
    try:
        wait = int(header) if header.isdigit() else parsedate_to_datetime(header).timestamp() - time.time()
    except (TypeError, ValueError, OverflowError):
        return 0
    return max(0, min(wait, 86400))
