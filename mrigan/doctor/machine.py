"""GPUs, cores, memory, shared memory and limits of this machine."""

from __future__ import annotations

import os
import resource
import shutil
from collections.abc import Iterator
from pathlib import Path

from mrigan.finding import Finding, note, ok, problem, warning

FILES = 4096  # open files a process: shards, loader pipes, sockets to every rank
SHARED = 1 << 30  # bytes of /dev/shm, through which loader processes hand over batches, and NCCL talks on a node
SHARED_LEAST = 1 << 28


def check_gpus(needed: bool) -> Iterator[Finding]:
    """Whether torch can use the GPUs that are here.

    Args:
        needed: the config asks for GPUs (`train.device=cuda`).
    """
    import torch

    if not torch.cuda.is_available():
        if torch.version.cuda is None:
            yield (
                problem("gpu", "this torch is built without CUDA", "install the CUDA build of torch")
                if needed
                else (note("gpu", "this torch is built without CUDA: training runs on CPUs"))
            )
        elif Path("/dev/nvidia0").exists() or shutil.which("nvidia-smi"):
            hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
            found = f"CUDA_VISIBLE_DEVICES={hidden!r}" if hidden is not None else "the driver is here, a usable GPU not"
            fix = (
                f"nvidia-smi; the driver must be new enough for CUDA {torch.version.cuda}; under Slurm: --gpus-per-node"
            )
            yield problem("gpu", f"torch sees no GPU: {found}", fix)
        elif needed:
            yield problem("gpu", "no GPU, and train.device=cuda", "start it on a GPU node, or train.device=cpu")
        else:
            yield note("gpu", "none here: training runs on CPUs, a few images a second at full size")
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
            right = bool(((ones @ ones) == 256).all())
    except (RuntimeError, torch.AcceleratorError) as error:
        return problem(
            name, f"{about.name} does not compute: {str(error).splitlines()[0]}", "nvidia-smi; drain the node"
        )
    if not right:
        return problem(name, f"{about.name} computes wrongly", "drain the node, and have the GPU examined")
    found = f"{about.name}, {free / 2**30:.0f} of {total / 2**30:.0f} GiB free, capability {about.major}.{about.minor}"
    if free < total * 0.8:
        return warning(name, found, "another process holds its memory: see nvidia-smi")
    if about.major < 8:
        return warning(name, f"{found}: no bf16", "train.precision=fp16 or fp32")
    return ok(name, found)


def check_limits() -> Iterator[Finding]:
    """Cores, memory, /dev/shm and limits of the shell."""
    cores, all_cores = len(os.sched_getaffinity(0)), os.cpu_count() or 1
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    found = f"{cores} of {all_cores} cores, {memory / 2**30:.0f} GiB of memory"
    if cores == 1 and all_cores > 1:
        yield warning("cpu", f"{found}: this process is bound to one core", "under Slurm: --cpus-per-task, and srun -c")
    else:
        yield ok("cpu", found)
    yield _shared_memory(Path("/dev/shm"))
    yield _open_files()
    if Path("/dev/infiniband").exists():
        locked = resource.getrlimit(resource.RLIMIT_MEMLOCK)[0]
        if locked == resource.RLIM_INFINITY:
            yield ok("ulimit -l", "unlimited, as InfiniBand needs it")
        else:
            fix = "memlock unlimited in /etc/security/limits.conf; for Slurm also LimitMEMLOCK=infinity of slurmd"
            yield warning("ulimit -l", f"{locked >> 10} KiB may be locked: NCCL cannot use InfiniBand", fix)


def _shared_memory(path: Path) -> Finding:
    fix = "in Docker: --shm-size=8g, or --ipc=host; elsewhere: mount -o remount,size=50% /dev/shm"
    if not path.is_dir():
        return problem("/dev/shm", "is missing", fix)
    total, _, free = shutil.disk_usage(path)
    found = f"{free / 2**30:.1f} of {total / 2**30:.1f} GiB free"
    if free < SHARED_LEAST:
        return problem("/dev/shm", f"{found}: loader processes die of it with 'Bus error'", fix)
    if free < SHARED:
        return warning("/dev/shm", found, fix)
    return ok("/dev/shm", found)


def _open_files() -> Finding:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < FILES:
        return warning("ulimit -n", f"{soft} open files a process", f"ulimit -n {min(hard, 65536)}")
    return ok("ulimit -n", f"{soft} open files a process")
