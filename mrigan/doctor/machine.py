"""Checks of GPUs, cores, memory, shared memory and limits of this machine."""

from __future__ import annotations

import os
import resource
import shutil
from collections.abc import Iterator
from pathlib import Path

from mrigan.finding import Finding, note, ok, problem, warning

MIN_OPEN_FILES = 4096  # of a process: shards, loader pipes, sockets to every rank
# Bytes of /dev/shm, through which loader processes pass batches, and NCCL communicates within a node.
ENOUGH_SHARED, MIN_SHARED = 1 << 30, 1 << 28


def check_gpus(needed: bool) -> Iterator[Finding]:
    """Whether torch can use the GPUs of this machine.

    Args:
        needed: the config requires GPUs (`train.device=cuda`).
    """
    import torch

    if not torch.cuda.is_available():
        if torch.version.cuda is None:
            yield (
                problem("gpu", "torch was built without CUDA", "install the CUDA build of torch")
                if needed
                else (note("gpu", "torch was built without CUDA: training runs on CPUs"))
            )
        elif Path("/dev/nvidia0").exists() or shutil.which("nvidia-smi"):
            hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
            reason = (
                f"CUDA_VISIBLE_DEVICES={hidden!r}" if hidden is not None else "there is a driver, but no usable GPU"
            )
            fix = (
                f"nvidia-smi; the driver must be new enough for CUDA {torch.version.cuda}; under Slurm: --gpus-per-node"
            )
            yield problem("gpu", f"torch sees no GPU: {reason}", fix)
        elif needed:
            yield problem(
                "gpu", "there is no GPU, but train.device=cuda", "start it on a GPU node, or train.device=cpu"
            )
        else:
            yield note("gpu", "none: training runs on CPUs, at full size a few images per second")
        return
    for index in range(torch.cuda.device_count()):
        yield _gpu(index)


def _gpu(index: int) -> Finding:
    import torch

    about = torch.cuda.get_device_properties(index)
    name = f"gpu {index}"
    try:
        with torch.cuda.device(index):
            free, total = torch.cuda.mem_get_info()
            ones = torch.ones(256, 256, device="cuda")
            correct = bool(((ones @ ones) == 256).all())
    except (RuntimeError, torch.AcceleratorError) as error:
        return problem(
            name, f"{about.name} does not compute: {str(error).splitlines()[0]}", "nvidia-smi; drain the node"
        )
    if not correct:
        return problem(name, f"{about.name} computes wrong results", "drain the node, and have the GPU examined")
    summary = (
        f"{about.name}, {free / 2**30:.0f} of {total / 2**30:.0f} GiB free, capability {about.major}.{about.minor}"
    )
    if free < total * 0.8:
        return warning(name, summary, "another process uses its memory: see nvidia-smi")
    if about.major < 8:
        return warning(name, f"{summary}: no bf16", "train.precision=fp16 or fp32")
    return ok(name, summary)


def check_limits() -> Iterator[Finding]:
    """Cores, memory, /dev/shm and the shell's limits."""
    cores, all_cores = len(os.sched_getaffinity(0)), os.cpu_count() or 1
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    summary = f"{cores} of {all_cores} cores, {memory / 2**30:.0f} GiB of memory"
    if cores == 1 and all_cores > 1:
        yield warning(
            "cpu", f"{summary}: this process is bound to one core", "under Slurm: --cpus-per-task, and srun -c"
        )
    else:
        yield ok("cpu", summary)
    yield _shared_memory(Path("/dev/shm"))
    yield _open_files()
    if Path("/dev/infiniband").exists():
        locked = resource.getrlimit(resource.RLIMIT_MEMLOCK)[0]
        if locked == resource.RLIM_INFINITY:
            yield ok("ulimit -l", "unlimited, as InfiniBand requires")
        else:
            fix = "memlock unlimited in /etc/security/limits.conf; for Slurm also LimitMEMLOCK=infinity of slurmd"
            yield warning("ulimit -l", f"{locked >> 10} KiB may be locked: NCCL cannot use InfiniBand", fix)


def _shared_memory(path: Path) -> Finding:
    fix = "in Docker: --shm-size=8g, or --ipc=host; elsewhere: mount -o remount,size=50% /dev/shm"
    if not path.is_dir():
        return problem("/dev/shm", "is missing", fix)
    total, _, free = shutil.disk_usage(path)
    summary = f"{free / 2**30:.1f} of {total / 2**30:.1f} GiB free"
    if free < MIN_SHARED:
        return problem("/dev/shm", f"{summary}: loader processes would die with 'Bus error'", fix)
    if free < ENOUGH_SHARED:
        return warning("/dev/shm", summary, fix)
    return ok("/dev/shm", summary)


def _open_files() -> Finding:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < MIN_OPEN_FILES:
        return warning("ulimit -n", f"{soft} open files per process", f"ulimit -n {min(hard, 65536)}")
    return ok("ulimit -n", f"{soft} open files per process")
