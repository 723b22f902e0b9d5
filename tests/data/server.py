"""A file server in a process of its own, with faults: `python server.py ROOT FAULTS.json LOG CACHE`; prints its port.

FAULTS maps a file name to what happens to its next responses, one after another: {"cut": N} ends the connection after N
bytes, {"die": N} the server (both once those are in a `.part` in CACHE), {"short": N} ends the connection after N bytes
without a look at CACHE, {"flip": N} flips a bit of byte N, {"hang": N} sends no more after N bytes, {} nothing.
"ranges": false ignores them, as Python's own server does. LOG gets a line a request: the file and where it begins.
"""

from __future__ import annotations

import functools
import json
import os
import socket
import sys
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Handler(SimpleHTTPRequestHandler):
    faults: dict = {}  # noqa: RUF012
    log_to = cache = ""
    lock = threading.Lock()

    def do_GET(self) -> None:
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            self.send_error(404)
            return
        data = path.read_bytes()
        start, stop = 0, len(data)
        asked = self.headers.get("Range")
        if asked and self.faults.get("ranges", True):
            first, _, last = asked.removeprefix("bytes=").partition("-")
            start, stop = int(first), min(int(last or len(data)) + 1, len(data))
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(data)}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(stop - start))
        self.end_headers()
        with self.lock:
            with open(self.log_to, "a") as log:
                log.write(f"{path.name} {start}\n")
            planned = self.faults.get(path.name, [])
            fault = planned.pop(0) if planned else {}
        body = bytearray(data[start:stop])
        if "flip" in fault:
            body[fault["flip"]] ^= 1
        end = next((fault[word] for word in ("cut", "die", "hang", "short") if word in fault), len(body))
        self.wfile.write(body[:end])
        self.wfile.flush()
        if ("cut" in fault or "die" in fault) and end:  # bytes under way would be lost with the connection
            while not any(part.stat().st_size >= start + end for part in Path(self.cache).glob(f"*/.{path.name}.part")):
                threading.Event().wait(0.005)
        if "die" in fault:
            os._exit(1)
        if "hang" in fault:
            threading.Event().wait()
        if "short" in fault:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_WR)  # after the bytes
        if "cut" in fault:
            self.close_connection = True
            self.connection.close()

    def log_message(self, *_: object) -> None:
        pass


if __name__ == "__main__":
    root, faults, Handler.log_to, Handler.cache = sys.argv[1:]
    Handler.faults = json.loads(Path(faults).read_text())
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=root))
    sys.stdout.write(f"{server.server_address[1]}\n")
    sys.stdout.flush()
    server.serve_forever()
