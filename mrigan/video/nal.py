"""The units of an H.264 or HEVC packet (NAL units), as mp4 and Matroska keep them or with start codes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

LENGTHS_AT = {"h264": 4, "hevc": 21}  # byte of the stream's header whose last two bits say how long lengths are


def has_lengths(context: Any) -> bool:
    """Whether each unit of the stream's packets stands after its length; else start codes divide them."""
    return bytes(context.extradata or b"")[:1] == b"\1"


def units(context: Any, data: bytes) -> Iterator[tuple[int, bytes]]:
    """The type and the bytes of each unit; the last one may be cut off."""
    shift, mask = (0, 31) if context.name == "h264" else (1, 63)
    if has_lengths(context):
        header, place = bytes(context.extradata), LENGTHS_AT[context.name]
        width = (header[place] & 3) + 1 if len(header) > place else 4
        at = 0
        while at + width < len(data):
            end = at + width + int.from_bytes(data[at : at + width])
            yield data[at + width] >> shift & mask, data[at + width : end]
            at = end
        return
    at = data.find(b"\0\0\1")
    while at >= 0 and at + 3 < len(data):
        after = data.find(b"\0\0\1", at + 3)
        yield data[at + 3] >> shift & mask, data[at + 3 : after if after >= 0 else len(data)].rstrip(b"\0")
        at = after
