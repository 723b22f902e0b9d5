"""Use of the nodes: processor, memory, disk, network, GPUs, with MLflow's names.

The first rank of each node measures. Rank 0 gathers the values and logs them like all metrics, so that the nodes are in
the same MLflow run on any store.
"""

from __future__ import annotations

import json
import logging
import os
import resource
import socket
import time
from pathlib import Path
from typing import Any

import psutil
import torch

from mrigan.engine.distributed import World

log = logging.getLogger(__name__)

MB = 1e6


def peak_memory(device: torch.device) -> int:
    """Peak memory of this process in bytes: allocated on its GPU, or resident if it trains on a CPU."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


class SystemMonitor:
    """Measures the nodes from time to time; every rank has one, and calls it at the same steps.

    Args:
        world: the ranks.
        folder: on the disk whose free space is measured.
        every: minimum seconds between two measurements; 0 = never.
    """

    def __init__(self, world: World, folder: Path, every: float) -> None:
        self.world, self.folder, self.every = world, folder, every
        self._next = time.monotonic()
        self._node = _Node(folder) if every and world.local_rank == 0 else None

    @property
    def due(self) -> bool:
        """Whether a measurement is due, by the clock of this rank; rank 0 decides."""
        return bool(self.every) and time.monotonic() >= self._next

    def measure(self) -> dict[str, float]:
        """`system/NODE/…` → value, on rank 0. Every rank must call it."""
        self._next = time.monotonic() + self.every
        sent = json.dumps(self._node.measure() if self._node else {}).encode()
        parts = self.world.gather(torch.frombuffer(bytearray(sent), dtype=torch.uint8))
        if not self.world.main:
            return {}
        found: dict[str, float] = {}
        names: set[str] = set()
        for rank, part in enumerate(parts):
            node = json.loads(part.numpy().tobytes())
            if node:
                name = node["name"] if node["name"] not in names else f"{node['name']}-rank-{rank}"
                names.add(name)
                found |= {f"system/{name}/{key}": value for key, value in node["values"].items()}
        return found


class _Node:
    """This machine."""

    def __init__(self, folder: Path) -> None:
        self.name = os.environ.get("SLURMD_NODENAME") or socket.gethostname()
        self.folder = folder
        self._gpus = _open_gpus()
        psutil.cpu_percent()  # the next call measures the time since this one
        self._network = psutil.net_io_counters()

    def measure(self) -> dict[str, Any]:
        memory, disk, network = psutil.virtual_memory(), psutil.disk_usage(str(self.folder)), psutil.net_io_counters()
        values = {
            "cpu_utilization_percentage": psutil.cpu_percent(),
            "system_memory_usage_megabytes": memory.used / MB,
            "system_memory_usage_percentage": 100 * memory.used / memory.total,
            "process_memory_usage_megabytes": psutil.Process().memory_info().rss / MB,
            "disk_available_megabytes": disk.free / MB,
            "disk_usage_percentage": disk.percent,
        }
        if network is not None and self._network is not None:  # a container may have no network
            values["network_receive_megabytes"] = (network.bytes_recv - self._network.bytes_recv) / MB
            values["network_transmit_megabytes"] = (network.bytes_sent - self._network.bytes_sent) / MB
        for i, handle in enumerate(self._gpus):
            values |= _measure_gpu(f"gpu_{i}_", handle)
        return {"name": self.name, "values": values}


def _open_gpus() -> list[Any]:
    """NVML's handles of the GPUs of this node; empty without GPUs or without nvidia-ml-py."""
    if not torch.cuda.is_available():
        return []
    try:
        import pynvml
    except ImportError:
        log.info("GPU utilization is not logged: it needs `pip install nvidia-ml-py`")
        return []
    try:
        pynvml.nvmlInit()
        return [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
    except pynvml.NVMLError as error:
        log.info("GPU utilization is not logged: %s", error)
        return []


def _measure_gpu(prefix: str, handle: Any) -> dict[str, float]:
    import pynvml

    try:
        memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
        return {
            f"{prefix}utilization_percentage": float(pynvml.nvmlDeviceGetUtilizationRates(handle).gpu),
            f"{prefix}memory_usage_megabytes": memory.used / MB,
            f"{prefix}memory_usage_percentage": 100 * memory.used / memory.total,
            f"{prefix}power_usage_watts": pynvml.nvmlDeviceGetPowerUsage(handle) / 1000,
        }
    except pynvml.NVMLError as error:  # not supported, or the GPU is lost: then training fails by itself
        log.debug("%s: %s", prefix, error)
        return {}
