"""Mrigan trains and runs DeepFake-video detectors. Rooms, in the order that data flows:

videos → catalog → families → faces and MRIs → tar shards → epoch plan → batches → G/D and detector → MLflow → verdict
"""

__version__ = "0.1.0"
