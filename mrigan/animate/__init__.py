"""Clips made of still portraits: reals that look like video, for training on openly licensed pictures.

In the order of the data: `stills` (who is on which), `portrait` (a face, its mesh, its relief) and `backdrop` (the wall
behind, the person's matte); `shot`, with `framing` and `motion`: all that is drawn for a clip; `stage`, with `scenery`:
the canvas that the camera looks at; `head`: how the head moves on it; `film`: frames and H.264; `build`: many clips and
their manifest.
"""

from __future__ import annotations

from mrigan.animate.build import Animated, animate

__all__ = ["Animated", "animate"]
