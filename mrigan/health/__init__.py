"""Nothing runs for ever: a sign of life a rank, a watchdog, and the first error of all ranks.

run.dir/health/
  rank-00003.json     heartbeat: host, pid, step, phase, since when     rank-00003.error.json    what it failed with
  stall.json          who noticed a hang, and who lags                  rank-00003.stacks.txt    all its threads then
  earlier-N/          what an earlier start of this run left            rank-00003.flight.json   its last messages

Nothing here imports torch at its top: `mrigan health` looks at a run from any machine that sees its folder.
"""

from mrigan.health.failure import PeerFailed, first_failure
from mrigan.health.heartbeat import Heartbeat, read_heartbeats
from mrigan.health.watch import EXIT_HUNG, Watch

__all__ = ["EXIT_HUNG", "Heartbeat", "PeerFailed", "Watch", "first_failure", "read_heartbeats"]
