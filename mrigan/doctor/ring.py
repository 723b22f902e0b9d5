"""The program of each rank of the check: connect, all-reduce, check the sum. Rank 0 prints a line of JSON.

torchrun --nproc-per-node 2 -m mrigan.doctor.ring gloo
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from datetime import timedelta

NUMBERS = {"gloo": 1 << 20, "nccl": 1 << 26}  # fp32 numbers per message: 4 MiB, 256 MiB
ROUNDS = 5  # messages whose time is measured
TIMEOUT = timedelta(seconds=90)


def all_reduce(backend: str) -> dict[str, float | int | bool]:
    """Join the ranks of the environment, and all-reduce.

    Returns:
        `ranks`; `correct`: whether every sum was; `rate`: GB/s that each rank sends, by the formula of a ring.
    """
    import torch
    import torch.distributed as dist

    from mrigan.engine.distributed import choose_device

    rank, size, local_rank = (int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"))
    device = choose_device("cuda" if backend == "nccl" else "cpu", local_rank)
    if backend == "nccl":
        torch.cuda.set_device(device)
    dist.init_process_group(backend, timeout=TIMEOUT)
    try:
        data = torch.full((NUMBERS[backend],), float(rank + 1), device=device)
        dist.all_reduce(data)
        correct = bool((data == size * (size + 1) / 2).all())
        data.fill_(0.0)
        dist.barrier()
        begin = time.perf_counter()
        for _ in range(ROUNDS):
            dist.all_reduce(data)
        if backend == "nccl":
            torch.cuda.synchronize()
        seconds = (time.perf_counter() - begin) / ROUNDS
        agreed = torch.tensor([float(correct)], device=device)
        dist.all_reduce(agreed, dist.ReduceOp.MIN)
        rate = 2 * (size - 1) / size * data.numel() * 4 / max(seconds, 1e-9) / 1e9
        return {"ranks": size, "correct": bool(agreed.item()), "rate": rate}
    finally:
        dist.destroy_process_group()


if __name__ == "__main__":
    result = all_reduce(sys.argv[1])
    if os.environ.get("RANK", "0") == "0":
        sys.stdout.write(json.dumps(result) + "\n")
    gc.collect()  # see mrigan.training.launch
