"""Detect and end hanging runs: a heartbeat per rank, a watchdog, and the first error of all ranks.

run.dir/health/
  rank-00003.json     heartbeat: host, pid, step, phase, idle time      rank-00003.error.json    its error
  stall.json          the rank that noticed a hang, and which lags      rank-00003.stacks.txt    stacks of its threads
  earlier-N/          the files of an earlier start of this run         rank-00003.flight.json   its last messages

No module here imports torch at its top: `mrigan health` reads a run from any machine that sees its folder.
"""

from mrigan.health.failure import PeerFailed, first_failure
from mrigan.health.heartbeat import Heartbeat, read_heartbeats
from mrigan.health.watch import EXIT_HUNG, Watchdog

__all__ = ["EXIT_HUNG", "Heartbeat", "PeerFailed", "Watchdog", "first_failure", "read_heartbeats"]
