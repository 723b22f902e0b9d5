"""An HTTP server with planned faults; the fixture `serve` starts it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path


class Server:
    """`tests/data/server.py` over a folder."""

    def __init__(self, root: Path, beside: Path, **faults: object) -> None:
        (beside / "faults.json").write_text(json.dumps(faults))
        self.log = beside / "requests.log"
        self.log.write_text("")
        script = Path(__file__).with_name("server.py")
        self.process = subprocess.Popen(
            [sys.executable, script, root.parent, beside / "faults.json", self.log, beside / "cache"],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.url = f"http://127.0.0.1:{int(self.process.stdout.readline())}/{root.name}"

    def requests(self, name: str) -> list[int]:
        """Where the requests for a file began."""
        lines = [line.split() for line in self.log.read_text().splitlines()]
        return [int(start) for file, start in lines if file == name]

    def stop(self) -> None:
        self.process.kill()
        self.process.communicate()


Serve = Callable[..., Server]
