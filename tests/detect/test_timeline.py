"""Where things stand in the timeline of a page."""

from __future__ import annotations

from mrigan.detect.timeline import clock, timeline
from mrigan.detect.verdict import AppliedThresholds, FaceScore, PersonVerdict, Verdict


def test_the_timeline_s_geometry() -> None:
    def video(times: list[float], probs: list[float], persons: int = 1) -> Verdict:
        seen = enumerate(zip(times, probs, strict=True))
        faces = [FaceScore(i, t, i % persons, (0, 0, 9, 9), p) for i, (t, p) in seen]
        counts = [sum(face.person == n for face in faces) for n in range(persons)]
        people = [PersonVerdict(n, count, "real", None, 0, 0, None, 0, 0, 0) for n, count in enumerate(counts)]
        return Verdict("a", None, "real", None, faces=tuple(faces), persons=tuple(people),
                       thresholds=AppliedThresholds(0.8, 0.5, 3))  # fmt: skip

    drawn = timeline(video([0, 1, 2, 30, 31, 40], [0.0, 0.5, 1.0, 0.9, 0.8, 0.1]))
    assert drawn is not None
    [row] = drawn.rows
    assert drawn.threshold == 20
    assert [(d.x, d.y, d.above) for d in row.dots[:3]] == [(1.5, 100, False), (3.92, 50, False), (6.35, 0, True)]
    assert row.dots[-1].x == 98.5
    assert [d.above for d in row.dots] == [False, False, True, True, False, False]
    assert [(a.x, b.x) for a, b in row.lines] == [(1.5, 3.92), (3.92, 6.35), (row.dots[3].x, row.dots[4].x)]
    assert [text for _, text in drawn.ticks] == ["0", "10", "20", "30", "40"]
    assert timeline(video([0], [0.5])) is None
    assert timeline(video([], [])) is None
    crowd = timeline(video([i / 2 for i in range(40)], [0.5] * 40, persons=9))
    assert crowd is not None
    assert (len(crowd.rows), crowd.hidden) == (6, 3)
    assert [clock(*t) for t in ((7.26, 30), (7.0, 30), (67.4, 100), (3667, 4000))] == ["7.3", "7", "1:07", "1:01:07"]
