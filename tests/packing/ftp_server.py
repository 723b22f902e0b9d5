"""A small FTP server over a folder: a remote file system with a protocol of its own, in a process of its own.

As much of RFC 959 and 3659 as `ftplib` and fsspec speak. It refuses to rename over a file, as some servers do.
"""

from __future__ import annotations

import os
import socket
import socketserver
import sys
from pathlib import Path


class Session(socketserver.StreamRequestHandler):
    """One client."""

    server: Server

    def handle(self) -> None:
        self.listener: socket.socket | None = None
        self.renamed = Path()
        self.say(220, "ready")
        for line in self.rfile:
            word, _, argument = line.decode().strip().partition(" ")
            try:
                answer = getattr(self, f"do_{word.lower()}", None)
                if answer is None:
                    self.say(502, f"no {word}")
                elif answer(argument) is False:
                    return
            except OSError as error:
                self.say(550, error.strerror or "failed")

    def say(self, code: int, text: str) -> None:
        self.wfile.write(f"{code} {text}\r\n".encode())

    def path(self, name: str) -> Path:
        return self.server.folder / os.path.normpath("/" + name).lstrip("/")

    def do_user(self, _: str) -> None:
        self.say(230, "welcome")

    def do_quit(self, _: str) -> bool:
        self.say(221, "bye")
        return False

    def do_type(self, _: str) -> None:
        self.say(200, "bytes")

    def do_rest(self, offset: str) -> None:
        self.offset = int(offset)
        self.say(350, "from there")

    def do_epsv(self, _: str) -> None:
        self.say(502, "only PASV")

    def do_pasv(self, _: str) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        port = self.listener.getsockname()[1]
        self.say(227, f"(127,0,0,1,{port // 256},{port % 256})")

    def data(self) -> socket.socket:
        assert self.listener is not None
        self.say(150, "here it comes")
        connection, _ = self.listener.accept()
        self.listener.close()
        return connection

    def do_mlsd(self, name: str) -> None:
        entries = [(path, path.stat()) for path in sorted(self.path(name).iterdir())]
        with self.data() as connection:
            for path, about in entries:
                kind = "dir" if path.is_dir() else "file"
                connection.sendall(f"type={kind};size={about.st_size}; {path.name}\r\n".encode())
        self.say(226, "done")

    def do_retr(self, name: str) -> None:
        with open(self.path(name), "rb") as file, self.data() as connection:
            connection.sendfile(file)
        self.say(226, "done")

    def do_stor(self, name: str) -> None:
        offset, self.offset = getattr(self, "offset", 0), 0
        with open(self.path(name), "r+b" if offset else "wb") as file, self.data() as connection:
            file.seek(offset)
            while chunk := connection.recv(1 << 16):
                file.write(chunk)
        self.say(226, "done")

    def do_mkd(self, name: str) -> None:
        self.path(name).mkdir()
        self.say(257, "made")

    def do_dele(self, name: str) -> None:
        self.path(name).unlink()
        self.say(250, "gone")

    def do_rnfr(self, name: str) -> None:
        self.renamed = self.path(name)
        self.say(350, "to what")

    def do_rnto(self, name: str) -> None:
        os.link(self.renamed, self.path(name))  # fails where there is a file
        self.renamed.unlink()
        self.say(250, "renamed")


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), Session)
        self.folder = folder


if __name__ == "__main__":
    with Server(Path(sys.argv[1])) as server:
        print(server.server_address[1], flush=True)  # noqa: T201
        server.serve_forever()
