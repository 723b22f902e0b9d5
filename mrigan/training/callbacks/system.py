"""What the nodes of a training are busy with: processor, memory, disk, network, GPUs, under MLflow's names for them.

Each node's first rank looks; what it sees travels over the control group to rank 0, which logs it as any metric: in the
same run, whatever the store, and kept with the others while MLflow is away.
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
    """Bytes: the most that this process has had allocated on its GPU, or resident where it trains on a CPU."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


class SystemMonitor:
    """Looks at the nodes now and then; every rank has one, and asks it at the same steps.

    Args:
        world: the ranks.
        folder: on the disk whose free space counts.
        every: seconds between two looks; 0 = never.
    """

    def __init__(self, world: World, folder: Path, every: float) -> None:
        self.world, self.folder, self.every = world, folder, every
        self._next = time.monotonic()
        self._node = _Node(folder) if every and world.local_rank == 0 else None

    @property
    def due(self) -> bool:
        """Whether it is time, by this rank's clock; rank 0's counts."""
        return bool(self.every) and time.monotonic() >= self._next

    def look(self) -> dict[str, float]:
        """`system/NODE/…` → value, on rank 0. Every rank must call it."""
        self._next = time.monotonic() + self.every
        told = json.dumps(self._node.look() if self._node else {}).encode()
        parts = self.world.gather(torch.frombuffer(bytearray(told), dtype=torch.uint8))
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
        psutil.cpu_percent()  # the next call tells of the time since this one
        self._network = psutil.net_io_counters()

    def look(self) -> dict[str, Any]:
        memory, disk, network = psutil.virtual_memory(), psutil.disk_usage(str(self.folder)), psutil.net_io_counters()
        values = {
            "cpu_utilization_percentage": psutil.cpu_percent(),
            "system_memory_usage_megabytes": memory.used / MB,
            "system_memory_usage_percentage": 100 * memory.used / memory.total,
            "process_memory_usage_megabytes": psutil.Process().memory_info().rss / MB,
            "disk_available_megabytes": disk.free / MB,
            "disk_usage_percentage": disk.percent,
        }
        if network is not None and self._network is not None:  # a container may have no network at all
            values["network_receive_megabytes"] = (network.bytes_recv - self._network.bytes_recv) / MB
            values["network_transmit_megabytes"] = (network.bytes_sent - self._network.bytes_sent) / MB
        for i, handle in enumerate(self._gpus):
            values |= _look_at_gpu(f"gpu_{i}_", handle)
        return {"name": self.name, "values": values}


def _open_gpus() -> list[Any]:
    """NVML's handles of the node's GPUs; none where it, or nvidia-ml-py, is not there."""
    if not torch.cuda.is_available():
        return []
    try:
        import pynvml
    except ImportError:
        log.info("no utilisation of GPUs is logged: `pip install nvidia-ml-py` for it")
        return []
    try:
        pynvml.nvmlInit()
        return [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
    except pynvml.NVMLError as error:
        log.info("no utilisation of GPUs is logged: %s", error)
        return []


def _look_at_gpu(prefix: str, handle: Any) -> dict[str, float]:
    import pynvml

    try:
        memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
        return {
            f"{prefix}utilization_percentage": float(pynvml.nvmlDeviceGetUtilizationRates(handle).gpu),
            f"{prefix}memory_usage_megabytes": memory.used / MB,
            f"{prefix}memory_usage_percentage": 100 * memory.used / memory.total,
            f"{prefix}power_usage_watts": pynvml.nvmlDeviceGetPowerUsage(handle) / 1000,
        }
    except pynvml.NVMLError as error:  # not supported on this GPU, or it has fallen off the bus: training will tell
        log.debug("%s: %s", prefix, error)
        return {}
