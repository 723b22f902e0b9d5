"""MTCNN's cascade (Zhang et al. 2016) with facenet-pytorch's networks, rules and boxes, at a fraction of the cost.

facenet-pytorch spends most of its time beside the convolutions: it averages every level of the pyramid and every
candidate's crop out of the full picture anew, one by one, and torch's max-pooling keeps indices that nobody asks for.
Here one summed-area table gives all these averages at once, on a GPU too (its sums are exact integers, so the averages
are the same numbers), and maxima are taken of shifted views. The tests hold it against facenet-pytorch.

**The same faces on every processor.** Convolutions in float32 differ in their last bits between processors and between
sizes of a batch. So only the choice among candidates rests on them, by probabilities rounded to what float32 can tell
apart. What the chosen ones hand on (how their corners move, and in the end box, points and probability) is computed
again in float64, whose last bits are far below the grid that detections are rounded to. A candidate that the next
network rejects needs that only where the last bits could decide which whole pixels the network is shown (`_sure`). What
remains is a choice between two candidates whose logits differ by less than about 1e-5: less than one frame in 10,000.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import linear, prelu

from mrigan.video.areas import averages, crops, summed

CELL, STRIDE = 12, 2  # px of a level: what the P-Net looks at, and its step
CHUNK = 512  # candidates in one pass of R- or O-Net on a GPU
IN_CACHE = 18_432  # px of candidates in one pass on a CPU: 32 of the R-Net's, 8 of the O-Net's
EXACT_IN_CACHE = 8  # candidates in one pass in float64 on a CPU
DOUBT = 3e-5  # of a box's side: more than float32 puts a corner elsewhere; at most 3e-7 in 500 pictures of 90 clips
ROUNDING = 1e-3  # how far below the threshold's logit a cell is still looked at closely
STRIP = 26_000  # px of a level's rows in one pass of the P-Net on a CPU: what it makes of them stays in a core's cache


Exact = Callable[[Tensor], Tensor]  # the square boxes (n, 5) of candidates at these places (n,), by float64


class Cascade:
    """P-, R- and O-Net, one after another.

    Args:
        nets: the three of `mrigan.video.mtcnn_networks`, in eval mode, on one device.
        min_face: px, the smallest face.
        thresholds: of the three networks.
        factor: between two levels of the pyramid.
    """

    def __init__(self, nets: Sequence[Any], min_face: int, thresholds: Sequence[float], factor: float) -> None:
        self.pnet, self.rnet, self.onet = nets
        self.exact_pnet, self.exact_rnet, self.exact_onet = (copy.deepcopy(net).double() for net in nets)
        head = self.pnet.conv4_1  # of 1 × 1 px: a product of matrices is faster than a convolution
        self.head = weight, bias = head.weight.flatten(1).detach(), head.bias.detach()
        self.corners = self.pnet.conv4_2.weight.flatten(1).detach(), self.pnet.conv4_2.bias.detach()
        self.contrast = (weight[1:] - weight[:1], bias[1:] - bias[:1])  # the logit of being a face
        self.odds = float(torch.tensor(thresholds[0], dtype=torch.float64).logit()) - ROUNDING
        self.min_face, self.thresholds, self.factor = min_face, thresholds, factor

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> list[tuple[np.ndarray, np.ndarray]]:
        """Faces of pictures of one size.

        Args:
            images: (N, H, W, 3) uint8 RGB, on the networks' device.

        Returns:
            For each picture boxes (n, 5) with the probability, and points (n, 5, 2), float64, in px.

        Raises:
            OutsideError: see there; with a border around the picture no candidate leaves it.
        """
        size = int(images.shape[2]), int(images.shape[1])
        table = summed(images)
        boxes, owner, exact = self._propose(table, size)
        if len(boxes):
            boxes, owner, exact = self._refine(table, boxes, owner, exact, size)
        points = boxes.new_zeros(len(boxes), 5, 2)
        if len(boxes):
            boxes, owner, points = self._place(table, boxes, owner, exact, size)
        where = owner.cpu().numpy()
        found, five = boxes.cpu().numpy(), points.cpu().numpy()
        return [(found[where == i], five[where == i]) for i in range(len(images))]

    def _propose(self, table: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor, Exact]:
        """The P-Net's candidates, square (n, 5), the picture of each, and what computes some of them exactly."""
        width, height = size
        found: list[Tensor] = []
        moves: list[Tensor] = []
        owners: list[Tensor] = []
        views: list[Tensor] = []
        beyonds: list[Tensor] = []
        short = table.numpy().astype(np.uint16) if table.device.type == "cpu" else None
        scale = CELL / self.min_face
        side = min(width, height) * scale
        while side >= CELL:
            level = averages(table, int(height * scale + 1), int(width * scale + 1), short)
            owner, cell, score, move = self._level(level)
            near, far = ((cell + 1) / scale).floor(), ((cell + CELL) / scale).floor()
            boxes = torch.cat([near.double(), far.double(), score[:, None]], 1)
            kept = _nms(boxes, owner, 0.5)
            found.append(boxes[kept])
            moves.append(move[kept])
            owners.append(owner[kept])
            for parts, part in zip((views, beyonds), _seen(level, owner[kept], cell[kept].long()), strict=True):
                parts.append(part)
            scale *= self.factor
            side *= self.factor
        boxes, owner = torch.cat(found), torch.cat(owners)
        kept = _nms(boxes, owner, 0.7)
        boxes, owner, view, beyond = boxes[kept], owner[kept], torch.cat(views)[kept], torch.cat(beyonds)[kept]

        def exact(which: Tensor) -> Tensor:
            return _square(_moved(boxes[which], self._moves(view[which], beyond[which]), last=0))

        return _sure(_square(_moved(boxes, torch.cat(moves)[kept], last=0)), exact), owner, exact

    def _level(self, x: Tensor) -> tuple[Tensor, ...]:
        """The P-Net's candidates on one level of the pyramid, of n cells that pass its threshold.

        Returns:
            The picture of each (n,), its corner in px of the level (n, 2), its probability (n,), and roughly how the
            corners of its box should move (n, 4).
        """
        step = x.shape[2]
        if x.device.type == "cpu":
            step = max(STRIP // x.shape[3] // STRIDE, CELL) * STRIDE
        tops = range(0, x.shape[2] - CELL + STRIDE, step)
        parts = [self._strip(x[:, :, top : top + step + CELL - STRIDE], top) for top in tops]
        return parts[0] if len(parts) == 1 else tuple(map(torch.cat, zip(*parts, strict=True)))

    def _strip(self, x: Tensor, top: int) -> tuple[Tensor, ...]:
        """`_level` of the rows of a level from `top` on. What few cells need is computed for few."""
        features = _features(self.pnet, x)
        hopeful = linear(features, *self.contrast).squeeze(-1) >= self.odds
        owner, row, column = hopeful.nonzero(as_tuple=True)
        seen = features[owner, row, column]
        score = _probability(linear(seen, *self.head))
        good = score >= self.thresholds[0]
        cell = torch.stack([column[good], row[good] + top // STRIDE], 1).float() * STRIDE
        return owner[good], cell, score[good], linear(seen[good], *self.corners)

    def _moves(self, seen: Tensor, beyond: Tensor) -> Tensor:
        """How the corners of the boxes of n cells should move exactly, (n, 4) float64; `_seen` gives what is taken."""
        net = self.exact_pnet
        x = _layer(net, 1, seen.double()).masked_fill(beyond[:, None], -torch.inf)
        x = _layer(net, 3, _layer(net, 2, _pooled(x, 2)))
        return linear(x.flatten(1), net.conv4_2.weight.flatten(1), net.conv4_2.bias)

    def _refine(self, table: Tensor, boxes: Tensor, owner: Tensor, exact: Exact,
                size: tuple[int, int]) -> tuple[Tensor, Tensor, Exact]:  # fmt: skip
        """What the R-Net lets pass: square boxes (n, 5), their corners moved, and the rest as of `_propose`."""
        pictures = crops(table, boxes, owner, size, 24)
        move, logits = _in_chunks(self.rnet, _rnet, pictures)
        score = _probability(logits)
        good = (score > self.thresholds[1]).nonzero().squeeze(1)
        boxes = torch.cat([exact(good)[:, :4], score[good, None]], 1)
        kept = _nms(boxes, owner[good], 0.7)
        boxes, good = boxes[kept], good[kept]
        pictures = pictures[good]

        def exact_too(which: Tensor) -> Tensor:
            return _square(_moved(boxes[which], next(iter(_exactly(self.exact_rnet, _rnet, pictures[which])))))

        return _sure(_square(_moved(boxes, move[good])), exact_too), owner[good], exact_too

    def _place(self, table: Tensor, boxes: Tensor, owner: Tensor, exact: Exact,
               size: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
        """What the O-Net lets pass: boxes (n, 5), their pictures, and points (n, 5, 2)."""
        pictures = crops(table, boxes, owner, size, 48)
        move, _, logits = _in_chunks(self.onet, _onet, pictures)
        score = _probability(logits)
        good = (score > self.thresholds[2]).nonzero().squeeze(1)
        boxes, pictures, owner = exact(good), pictures[good], owner[good]
        roughly = _moved(torch.cat([boxes[:, :4], score[good, None]], 1), move[good])
        kept = _nms_of_smaller(roughly, owner, 0.7)
        boxes = boxes[kept]
        move, points, logits = _exactly(self.exact_onet, _onet, pictures[kept])
        five = points.view(-1, 2, 5).transpose(1, 2)
        span = boxes[:, None, 2:4] - boxes[:, None, :2] + 1
        five = span * five + boxes[:, None, :2] - 1
        boxes = _moved(torch.cat([boxes[:, :4], _probability(logits)[:, None]], 1), move)
        return boxes, owner[kept], five


def _seen(level: Tensor, owner: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
    """What the P-Net looks at for cells of a level, given their pictures (n,) and corners (n, 2) in px.

    Returns:
        (n, 3, 12, 12), and which of the first layer's 10 × 10 outputs lie beyond the level (n, 10, 10): its last cells
        may lack a row or a column.
    """
    column, row = (cell[:, :, None] + torch.arange(CELL, device=level.device)).unbind(1)
    height, width = level.shape[2:]
    beyond = (row >= height)[:, 2:, None] | (column >= width)[:, None, 2:]
    rows, columns = row.clamp(max=height - 1)[:, :, None], column.clamp(max=width - 1)[:, None]
    return level.permute(0, 2, 3, 1)[owner[:, None, None], rows, columns].permute(0, 3, 1, 2), beyond


def _probability(logits: Tensor) -> Tensor:
    """(n, 2) logits → the probability of a face (n,) float64, in the steps that a softmax in float32 has near 1.

    Of candidates that are equal in these steps the networks' authors take the last one; so the steps must be theirs.
    """
    margin = logits[:, 1].double() - logits[:, 0].double()
    smaller = margin.abs().neg().exp()
    larger = 1 / (1 + smaller).float()
    return torch.where(margin >= 0, larger, 1 - larger).double()


def _nms(boxes: Tensor, owner: Tensor, limit: float) -> Tensor:
    """Which boxes (n, 5 or more) stay, the likeliest first: none overlaps a likelier one of its picture by more.

    Args:
        limit: of the intersection over the union.
    """
    above = float(np.nextafter(np.float32(limit), np.float32(1)))  # OpenCV has it in float32, and just `limit` may stay
    rectangles: Any = boxes[:, :4].cpu().numpy().copy()  # OpenCV's type hints know lists only
    rectangles[:, 2:] -= rectangles[:, :2]
    scores: Any = boxes[:, 4].cpu().numpy().astype(np.float32)
    pictures: Any = owner.cpu().numpy().astype(np.int32)
    kept = cv2.dnn.NMSBoxesBatched(rectangles, scores, pictures, -1.0, above)
    return torch.as_tensor(np.asarray(kept, np.int64), device=boxes.device)


def _nms_of_smaller(boxes: Tensor, owner: Tensor, limit: float) -> Tensor:
    """As `_nms`, with the intersection over the smaller box; of equally likely ones the last stays."""
    rows, pictures = boxes.cpu().numpy(), owner.cpu().numpy()
    kept: list[int] = []
    left = np.argsort(rows[:, 4], kind="stable")[::-1]
    while len(left):
        first, rest = left[0], left[1:]
        kept.append(int(first))
        near = np.maximum(rows[first, :2], rows[rest, :2])
        far = np.minimum(rows[first, 2:4], rows[rest, 2:4])
        both = (far - near + 1).clip(0).prod(1)
        area = (rows[left, 2:4] - rows[left, :2] + 1).prod(1)
        left = rest[(both / np.minimum(area[0], area[1:]) <= limit) | (pictures[rest] != pictures[first])]
    return torch.as_tensor(kept, dtype=torch.int64, device=boxes.device)


def _features(net: Any, x: Tensor) -> Tensor:
    """What the P-Net's heads see: (N, rows, columns, 32), a cell of `CELL` px each."""
    return _layer(net, 3, _layer(net, 2, _pooled(_layer(net, 1, x), 2))).permute(0, 2, 3, 1)


def _rnet(net: Any, x: Tensor) -> tuple[Tensor, Tensor]:
    x = _layer(net, 3, _pooled(_layer(net, 2, _pooled(_layer(net, 1, x), 3)), 3))
    x = net.prelu4(net.dense4(x.permute(0, 3, 2, 1).flatten(1)))
    return net.dense5_2(x), net.dense5_1(x)


def _onet(net: Any, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    x = _pooled(_layer(net, 2, _pooled(_layer(net, 1, x), 3)), 3)
    x = _layer(net, 4, _pooled(_layer(net, 3, x), 2))
    x = net.prelu5(net.dense5(x.permute(0, 3, 2, 1).flatten(1)))
    return net.dense6_2(x), net.dense6_3(x), net.dense6_1(x)


def _in_chunks(net: Any, forward: Any, x: Tensor) -> Iterable[Tensor]:
    """All candidates through R- or O-Net. On a CPU in passes of few sizes: oneDNN compiles itself for each new one."""
    if x.device.type != "cpu":
        passes = [forward(net, part) for part in x.split(CHUNK)]
    else:
        size = IN_CACHE // x.shape[2] ** 2
        missing = -len(x) % (size // 4)
        filled = torch.cat([x, x[:1].expand(missing, -1, -1, -1)]).contiguous(memory_format=torch.channels_last)
        passes = [forward(net, part) for part in filled.split(size)]
    return (torch.cat(part)[: len(x)] for part in zip(*passes, strict=True))


def _exactly(net: Any, forward: Any, x: Tensor) -> Iterable[Tensor]:
    """The few chosen candidates through a network in float64."""
    passes = [forward(net, part) for part in x.double().split(CHUNK if x.device.type != "cpu" else EXACT_IN_CACHE)]
    return (torch.cat(part) for part in zip(*passes, strict=True))


def _layer(net: Any, number: int, x: Tensor) -> Tensor:
    """Convolution and PReLU, the slopes repeated along a row: torch is 3 times as fast on long rows as on channels."""
    y = getattr(net, f"conv{number}")(x).permute(0, 2, 3, 1).contiguous()
    n, h, w, c = y.shape
    slopes = _repeated(getattr(net, f"prelu{number}").weight, w)
    return prelu(y.view(n * h, w * c), slopes).view(n, h, w, c).permute(0, 3, 1, 2)


@lru_cache(maxsize=256)
def _repeated(slopes: Tensor, times: int) -> Tensor:
    return slopes.repeat(times)


def _pooled(x: Tensor, kernel: int) -> Tensor:
    """Max-pooling of 2 or 3 px in steps of 2, the rest at the far edges kept (`ceil_mode`).

    3 to 10 times as fast as torch's on a CPU, which looks for indices, too.
    """
    for dim in (2, 3):
        size = -(-(x.shape[dim] - kernel) // 2) + 1
        first, *others = (x[(slice(None),) * dim + (slice(i, None, 2),)] for i in range(kernel))
        second = others[0].narrow(dim, 0, min(others[0].shape[dim], size))
        both = second.shape[dim]
        out = torch.maximum(first.narrow(dim, 0, both), second)
        if both < size:
            out = torch.cat([out, first.narrow(dim, both, 1)], dim)
        for third in others[1:]:
            inside = min(third.shape[dim], size)
            part = out.narrow(dim, 0, inside)
            torch.maximum(part, third.narrow(dim, 0, inside), out=part)
        x = out
    return x


def _sure(squares: Tensor, exact: Exact) -> Tensor:
    """Square boxes (n, 5) of rough moves, exact where the rough ones might hold other whole pixels.

    On a GPU all are exact: its float32 may be TF32, and float64 costs next to nothing there.
    """
    corners = squares[:, :4]
    doubtful = (corners - corners.round()).abs() <= DOUBT * (corners[:, 2:3] - corners[:, :1]).abs()
    which = (doubtful.any(1) | (squares.device.type != "cpu")).nonzero().squeeze(1)
    if len(which):
        squares[which] = exact(which)
    return squares


def _moved(boxes: Tensor, move: Tensor, last: int = 1) -> Tensor:
    """Corners moved by parts of the box's width and height, which are its last px less its first, plus `last`."""
    span = (boxes[:, 2:4] - boxes[:, :2] + last).repeat(1, 2)
    return torch.cat([boxes[:, :4] + move * span, boxes[:, 4:]], 1)


def _square(boxes: Tensor) -> Tensor:
    """Boxes made square around their centres."""
    span = boxes[:, 2:4] - boxes[:, :2]
    side = span.amax(1, keepdim=True)
    near = boxes[:, :2] + span * 0.5 - side * 0.5
    return torch.cat([near, near + side, boxes[:, 4:]], 1)
