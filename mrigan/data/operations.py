"""What augmentation does to a picture, in two forms that agree: OpenCV's on arrays, torch's on planes on any device."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import torch
from torch.nn import functional as F

from mrigan.data.decode import Picture
from mrigan.data.decode import flip as flip_array

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601
Box = tuple[slice, slice]  # rows, columns
Colour = tuple[int, int, int]  # red, green, blue


class Operations(Protocol):
    """Each leaves its input as it is and gives a picture of the same kind and size; corners that come in are black."""

    def size(self, face: Any) -> tuple[int, int]: ...
    def mean_grey(self, face: Any) -> Any: ...
    def scale(self, face: Any, factor: float, shift: Any) -> Any: ...
    def blur(self, face: Any, side: int) -> Any: ...
    def flip(self, face: Any) -> Any: ...
    def grey(self, face: Any) -> Any: ...
    def shift(self, face: Any, right: int, down: int) -> Any: ...
    def turn(self, face: Any, degrees: float) -> Any: ...
    def crop(self, face: Any, top: int, left: int, window: tuple[int, int]) -> Any: ...
    def fill(self, face: Any, box: Box, colour: Colour) -> Any: ...


class OnArrays:
    """(H, W, 3) uint8 arrays."""

    def size(self, face: Picture) -> tuple[int, int]:
        """Height and width."""
        return face.shape[0], face.shape[1]

    def mean_grey(self, face: Picture) -> float:
        """The luma of the mean colour."""
        return float((face.reshape(-1, 3).mean(axis=0) * np.array(LUMA, np.float32)).sum())

    def scale(self, face: Picture, factor: float, shift: float) -> Picture:
        """Every value x becomes factor · x + shift, rounded and clipped."""
        table = np.clip(np.rint(np.arange(256) * factor + shift), 0, 255).astype(np.uint8)
        return table[face]

    def blur(self, face: Picture, side: int) -> Picture:
        """The mean over a box of `side` px; the edge pixels go on outside, as PIL has it."""
        import cv2

        return cv2.blur(face, (side, side), borderType=cv2.BORDER_REPLICATE)  # type: ignore[return-value]

    def flip(self, face: Picture) -> Picture:
        """Mirrored left to right."""
        return flip_array(face)

    def grey(self, face: Picture) -> Picture:
        """Without colour."""
        grey = np.rint(face.astype(np.float32) @ np.array(LUMA, np.float32)).astype(np.uint8)
        return np.repeat(grey[:, :, None], 3, axis=2)

    def shift(self, face: Picture, right: int, down: int) -> Picture:
        """Moved by whole pixels."""
        import cv2

        return self._moved(face, np.array([[1, 0, right], [0, 1, down]], np.float32), cv2.INTER_NEAREST)

    def turn(self, face: Picture, degrees: float) -> Picture:
        """Turned about its centre, counter-clockwise, linearly interpolated."""
        import cv2

        return self._moved(face, rotation_matrix(*self.size(face), degrees), cv2.INTER_LINEAR)

    def crop(self, face: Picture, top: int, left: int, window: tuple[int, int]) -> Picture:
        """A window of `window` px (height, width) whose corner is there, resized to the picture's size (linear)."""
        import cv2

        (height, width), size = window, self.size(face)
        cut = np.zeros((height, width, 3), np.uint8)
        part = face[max(top, 0) : max(top + height, 0), max(left, 0) : max(left + width, 0)]
        down, right = max(-top, 0), max(-left, 0)
        cut[down : down + part.shape[0], right : right + part.shape[1]] = part
        return cv2.resize(cut, size[::-1], interpolation=cv2.INTER_LINEAR)  # type: ignore[return-value]

    def fill(self, face: Picture, box: Box, colour: Colour) -> Picture:
        """A box of one colour."""
        face = face.copy()
        face[box] = colour
        return face

    def _moved(self, face: Picture, matrix: np.ndarray, how: int) -> Picture:
        import cv2

        size = face.shape[1], face.shape[0]
        return cv2.warpAffine(face, matrix, size, flags=how, borderMode=cv2.BORDER_CONSTANT)  # type: ignore[return-value]


class OnPlanes:
    """(3, H, W) uint8 tensors. Nothing waits for the device."""

    def size(self, face: torch.Tensor) -> tuple[int, int]:
        """Height and width."""
        return face.shape[1], face.shape[2]

    def mean_grey(self, face: torch.Tensor) -> torch.Tensor:
        """The luma of the mean colour, a scalar on the device."""
        return sum(weight * mean for weight, mean in zip(LUMA, face.float().mean(dim=(1, 2)), strict=True))

    def scale(self, face: torch.Tensor, factor: float, shift: float | torch.Tensor) -> torch.Tensor:
        """Every value x becomes factor · x + shift, rounded and clipped."""
        return _whole(face.float() * factor + shift)

    def blur(self, face: torch.Tensor, side: int) -> torch.Tensor:
        """The mean over a box of `side` px; the edge pixels go on outside."""
        edge = side // 2
        padded = F.pad(face.float()[None], (edge, edge, edge, edge), mode="replicate")
        return _whole(F.avg_pool2d(padded, side, stride=1)[0])

    def flip(self, face: torch.Tensor) -> torch.Tensor:
        """Mirrored left to right."""
        return face.flip(2)

    def grey(self, face: torch.Tensor) -> torch.Tensor:
        """Without colour."""
        red, green, blue = face.float()
        return _whole(LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue).expand(3, -1, -1)

    def shift(self, face: torch.Tensor, right: int, down: int) -> torch.Tensor:
        """Moved by whole pixels."""
        height, width = self.size(face)
        moved = torch.zeros_like(face)
        moved[:, max(down, 0) : height + min(down, 0), max(right, 0) : width + min(right, 0)] = face[
            :, max(-down, 0) : height - max(down, 0), max(-right, 0) : width - max(right, 0)
        ]
        return moved

    def turn(self, face: torch.Tensor, degrees: float) -> torch.Tensor:
        """Turned about its centre, counter-clockwise, linearly interpolated."""
        height, width = self.size(face)
        back = np.linalg.inv(np.vstack([rotation_matrix(height, width, degrees), [0, 0, 1]]))[:2]
        # From pixels to grid_sample's -1 … 1, and back.
        pixels = np.array([[(width - 1) / 2, 0, (width - 1) / 2], [0, (height - 1) / 2, (height - 1) / 2], [0, 0, 1]])
        theta = (np.linalg.inv(pixels) @ np.vstack([back, [0, 0, 1]]) @ pixels)[:2]
        matrix = torch.tensor(theta[None], dtype=torch.float32).to(face.device, non_blocking=True)
        grid = F.affine_grid(matrix, [1, 3, height, width], align_corners=True)
        return _whole(F.grid_sample(face.float()[None], grid, align_corners=True)[0])

    def crop(self, face: torch.Tensor, top: int, left: int, window: tuple[int, int]) -> torch.Tensor:
        """A window of `window` px (height, width) whose corner is there, resized to the picture's size (linear)."""
        (height, width), size = window, self.size(face)
        cut = torch.zeros((1, 3, height, width), dtype=torch.float32, device=face.device)
        part = face[:, max(top, 0) : max(top + height, 0), max(left, 0) : max(left + width, 0)]
        down, right = max(-top, 0), max(-left, 0)
        cut[0, :, down : down + part.shape[1], right : right + part.shape[2]] = part
        return _whole(F.interpolate(cut, size, mode="bilinear", align_corners=False)[0])

    def fill(self, face: torch.Tensor, box: Box, colour: Colour) -> torch.Tensor:
        """A box of one colour."""
        face = face.clone()
        for plane, value in zip(face, colour, strict=True):  # a tensor of the colour would wait for the device
            plane[box] = value
        return face


def rotation_matrix(height: int, width: int, degrees: float) -> np.ndarray:
    """(2, 3): where each pixel (x, y) of a picture goes that is turned about its centre."""
    import cv2

    return cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1.0)


def _whole(values: torch.Tensor) -> torch.Tensor:
    return values.round().clamp(0, 255).to(torch.uint8)
