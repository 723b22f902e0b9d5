"""A real MLflow server in a process of its own, and a relay in front of it that can lose what goes through."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

from mlflow.server import constants

from tests.tracking.stores import new_store

PATIENCE = 120  # seconds until a server that does not answer is called broken


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


class Server:
    """MLflow's own application under uvicorn, as `mlflow server` starts it; its port stays the same."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        self.store = new_store(folder / "server.db")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        environment = {
            **os.environ,
            constants.BACKEND_STORE_URI_ENV_VAR: self.store,
            constants.ARTIFACT_ROOT_ENV_VAR: "mlflow-artifacts:/",
            constants.ARTIFACTS_DESTINATION_ENV_VAR: str(self.folder / "artifacts"),
            constants.SERVE_ARTIFACTS_ENV_VAR: "true",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_DISABLE_TELEMETRY": "true",
        }
        command = [sys.executable, "-m", "uvicorn", "mlflow.server.fastapi_app:app", "--port", str(self.port)]
        with open(self.folder / "server.log", "ab") as log:
            self._process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)

    def wait(self) -> None:
        """Until it answers."""
        assert self._process is not None
        deadline = time.monotonic() + PATIENCE
        while self._process.poll() is None and time.monotonic() < deadline:
            try:
                with urllib.request.urlopen(f"{self.uri}/health", timeout=5):
                    return
            except OSError:
                time.sleep(0.05)
        raise AssertionError(f"no server:\n{(self.folder / 'server.log').read_text()[-2000:]}")

    def kill(self) -> None:
        """As by kill -9."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()


class Relay:
    """Passes TCP connections on, and loses what it is told to lose.

    Attributes:
        holds: requests are taken and go nowhere, while it is true.
        deaf_to: a request that holds these bytes is passed on, and its answer is lost with all that follow on that
            connection.
        lost: set once something was.
    """

    def __init__(self, port: int) -> None:
        self.holds, self.deaf_to, self.lost = False, b"", threading.Event()
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.uri = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:  # closed
                return
            far = socket.create_connection(("127.0.0.1", self._target))
            deaf = threading.Event()
            threading.Thread(target=self._pump, args=(near, far, deaf, True), daemon=True).start()
            threading.Thread(target=self._pump, args=(far, near, deaf, False), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket, deaf: threading.Event, requests: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if requests and self.deaf_to and self.deaf_to in data:
                    deaf.set()
                if self.holds if requests else deaf.is_set():
                    self.lost.set()
                else:
                    target.sendall(data)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listener.close()
