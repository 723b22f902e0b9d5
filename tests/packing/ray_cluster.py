"""A real Ray cluster of two nodes on this machine, of one CPU each."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.packing.processes import children

STORE = 80 * 2**20  # bytes, the least that Ray takes


@contextmanager
def two_nodes() -> Iterator[Any]:
    """A `ray.cluster_utils.Cluster`; the head and `worker_nodes[0]` are idle when it is there."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 1, "object_store_memory": STORE, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=node)
    try:
        cluster.add_node(**node)
        cluster.wait_for_nodes()
        yield cluster
    finally:
        cluster.shutdown()


def is_working(node: Any) -> bool:
    """Whether a worker of this node has a task: Ray shows it in the name of the process."""
    (raylet,) = node.all_processes["raylet"]
    return any(b"ray::_work" in name_of(pid) for pid in children(raylet.process.pid))


def kill_node(cluster: Any, node: Any) -> None:
    """All its processes at once, by SIGKILL, as when the power goes; its workers follow by themselves."""
    cluster.remove_node(node, allow_graceful=False)


def name_of(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
