"""Change the look of a portrait: colours of skin, hair, hat, clothes, lips and brows; wigs, beards, glasses."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from mrigan.sample.portraits import point, polygon_mask, ring

# Mean colours in CIELAB.
SKINS = ((71, 13, 17), (48, 14, 22), (65, 15, 24), (73, 9, 12), (38, 12, 17), (60, 18, 22), (70, 8, 20))
HAIRS = ((12, 1, 2), (56, 8, 34), (74, 0, 4), (26, 9, 14), (40, 24, 26), (38, -8, -22), (66, 3, 18), (34, 24, 2))


@dataclass(frozen=True)
class Layers:
    """A bent portrait: image (h, w, 3) float32 RGB 0..255; alpha and skin (h, w) float32 0..1; points (38, 2) px."""

    image: np.ndarray
    alpha: np.ndarray
    skin: np.ndarray
    points: np.ndarray


def dress(layers: Layers, number: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The image and alpha of another person: new colours, and often a wig, glasses or a beard.

    The person's number determines skin and hair, so that all of them occur; the rest is random.
    """
    alpha, skin, points = layers.alpha, layers.skin, layers.points
    lab = cv2.cvtColor(layers.image / 255, cv2.COLOR_RGB2LAB)
    height = lab.shape[0]
    below = np.clip((np.arange(height, dtype=np.float32) - (point(points, "chin")[1] - 14)) / 12, 0, 1)[:, None]
    clothes, hair = (1 - skin) * below, (1 - skin) * (1 - below)
    eyes = polygon_mask([_eye(points, "l"), _eye(points, "r")], skin.shape, 1.5)

    smooth = cv2.GaussianBlur(lab[..., 0], (0, 0), 2.5)
    detail = rng.uniform(-0.6, 0.3) * skin
    lab[..., 0] += detail * (lab[..., 0] - smooth)

    pair, kind = divmod(number, 2)
    tone, shade = SKINS[(3 * pair + 2 * kind) % len(SKINS)], HAIRS[(5 * pair + 3 * kind) % len(HAIRS)]
    lab = _recolour(lab, skin * (1 - 0.75 * eyes), tone, (min(0.78, tone[0] / 74), 0.7, 0.7))
    lab = _recolour(lab, hair * alpha, shade, (0.45 + shade[0] / 110, 0.3, 0.3))

    turn, more = rng.uniform(0, 2 * np.pi), rng.uniform(0, 22)
    colour = rng.uniform(-24, 24, 2)
    rotated = lab[..., 1:] @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]], np.float32)
    lab[..., 1:] += clothes[..., None] * (rotated * 0.8 + colour - lab[..., 1:])
    lab[..., 0] += clothes * more

    lips = polygon_mask([_lips(points)], skin.shape, 2)
    lab += lips[..., None] * np.array([rng.uniform(-8, 2), rng.uniform(-4, 16), rng.uniform(-5, 4)], np.float32)
    brows = [ring(points, f"brow_{side}_out", f"brow_{side}_mid", f"brow_{side}_in") for side in "lr"]
    darker = 1 - rng.uniform(0.1, 0.5) * _strokes(brows, skin.shape, int(rng.integers(3, 7)), 1.6)
    lab[..., 0] = lab[..., 0] * darker
    if rng.random() < 0.3:
        lab = _beard(lab, points, rng.uniform(0.2, 0.42) * (0.5 if kind else 1), rng)  # wrinkles and beard hide a face
    if pair % 3 != 1:
        lab, alpha = _wig(lab, alpha, points, shade, rng)
    result = np.clip(cv2.cvtColor(lab.astype(np.float32), cv2.COLOR_LAB2RGB) * 255, 0, 255)
    if number % 2 == 0 and rng.random() < 0.4:
        result = _glasses(result, points, rng)
    return result, alpha


def _recolour(lab: np.ndarray, mask: np.ndarray, mean: tuple, spread: tuple) -> np.ndarray:
    """Where `mask` is 1, the mean colour becomes `mean` and deviations from it are multiplied by `spread`."""
    now = (lab * mask[..., None]).sum((0, 1)) / mask.sum()
    changed = (lab - now) * np.array(spread, np.float32) + np.array(mean, np.float32)
    return lab + mask[..., None] * (changed.astype(np.float32) - lab)


def _eye(points: np.ndarray, side: str) -> np.ndarray:
    return ring(points, f"eye_{side}_out", f"eye_{side}_top", f"eye_{side}_in", f"eye_{side}_low")


def _lips(points: np.ndarray) -> np.ndarray:
    return ring(points, "mouth_l", "lip_top", "mouth_r", "lip_low")


def _strokes(lines: list[np.ndarray], shape: tuple[int, ...], width: int, blur: float) -> np.ndarray:
    """(H, W) float32 0..1: lines of `width` px with an edge of `blur` px."""
    mask = np.zeros(shape[:2], np.float32)
    for line in lines:
        cv2.polylines(mask, [np.round(line * 16).astype(np.int32)], False, 1.0, width, cv2.LINE_8, 4)
    return cv2.GaussianBlur(mask, (0, 0), blur)


def _wig(
    lab: np.ndarray,
    alpha: np.ndarray,
    points: np.ndarray,
    shade: tuple,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Draw other hair over hair or hat: strands from the crown, with an opening for the face."""
    top, chin = point(points, "hair_top"), point(points, "chin")
    left, right = point(points, "jaw_l_top"), point(points, "jaw_r_top")
    middle, half = (left + right) / 2, (right[0] - left[0]) / 2
    low = rng.uniform(middle[1] - 5, chin[1] + 45)  # the lower end of the hair
    wide = max(half + rng.uniform(16, 34), *(abs(point(points, f"hair_{s}")[0] - middle[0]) + 2 for s in "lr"))
    crown = top[1] - 4
    angles = np.linspace(np.pi, 2 * np.pi, 24)
    dome = np.stack([middle[0] + wide * np.cos(angles), middle[1] - 10 + (middle[1] - 10 - crown) * np.sin(angles)], -1)
    ends = [(middle[0] + side * wide * rng.uniform(0.85, 1.1), low) for side in (1, -1)]
    outer = np.vstack([dome, ends])
    part = rng.uniform(-0.5, 0.5) * half
    opening = np.array(
        [
            point(points, "jaw_l_top", -3, 60),
            point(points, "jaw_l_top", -5),
            point(points, "brim_l", -8, -4),
            point(points, "brim", part - 30, -6),
            point(points, "brim", part, rng.uniform(-16, -8)),
            point(points, "brim", part + 30, -6),
            point(points, "brim_r", 8, -4),
            point(points, "jaw_r_top", 5),
            point(points, "jaw_r_top", 3, 60),
            (right[0] + 4, low + 200),
            (left[0] - 4, low + 200),
        ]
    )
    shape = alpha.shape
    mask = np.clip(polygon_mask([outer], shape, 2.2) - polygon_mask([opening], shape, 2.0), 0, 1)
    y, x = np.mgrid[0 : shape[0], 0 : shape[1]].astype(np.float32)
    dx, dy = x - (middle[0] + part), y - crown
    wave = rng.uniform(0, 10) * np.sin(dy / rng.uniform(9, 22))
    angle = np.arctan2(dx + wave * np.clip(dy / 80, 0, 1), dy + 70) * 260
    length = np.hypot(dx, dy)
    noise = cv2.GaussianBlur(rng.standard_normal((512, 1024), np.float32), (0, 0), sigmaX=1.3, sigmaY=9)
    at = (angle + 512).astype(np.float32), length.astype(np.float32)
    strands = cv2.remap(noise / noise.std(), *at, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    edge = cv2.GaussianBlur(mask, (0, 0), 9)
    light = shade[0] * (0.55 + 0.55 * edge) + strands * (3 + shade[0] * 0.13)
    wig = np.stack([light, np.full(shape, shade[1]), np.full(shape, shade[2])], -1).astype(np.float32)
    return lab + mask[..., None] * (wig - lab), np.maximum(alpha, mask)


def _beard(lab: np.ndarray, points: np.ndarray, density: float, rng: np.random.Generator) -> np.ndarray:
    jaw = ring(points, "jaw_l_mid", "jaw_l_low", "chin", "jaw_r_low", "jaw_r_mid")
    upper = [point(points, "mouth_r", 8, -6), point(points, "nose_base", 0, 4), point(points, "mouth_l", -8, -6)]
    area = polygon_mask([np.vstack([jaw, upper])], lab.shape[:2], 4)
    lips = polygon_mask([_lips(points)], lab.shape[:2], 1.5)
    hairs = cv2.GaussianBlur(rng.standard_normal(lab.shape[:2], np.float32), (0, 0), 0.7)
    cover = density * area * (1 - lips)
    lab[..., 0] *= 1 - cover * np.clip(0.9 + 0.2 * hairs / hairs.std(), 0.3, 1.4)
    lab[..., 1:] *= (1 - 0.5 * cover)[..., None]
    return lab


def _glasses(image: np.ndarray, points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    frame = np.zeros(image.shape[:2], np.float32)
    lines = [np.stack([point(points, "eye_l_in", 2, 1), point(points, "eye_r_in", -2, 1)])]
    for side, sign in (("l", -1), ("r", 1)):
        middle = _eye(points, side).mean(0)
        x, y = middle[0], middle[1] + 3
        axes = round(rng.uniform(21, 25) * 16), round(rng.uniform(15, 20) * 16)
        cv2.ellipse(frame, (round(x * 16), round(y * 16)), axes, 0, 0, 360, 1.0, 2, cv2.LINE_8, 4)
        lines.append(np.array([(x + sign * 23, y - 4), (point(points, f"jaw_{side}_top")[0], y - 4)]))
    mask = np.maximum(cv2.GaussianBlur(frame, (0, 0), 0.7), _strokes(lines, frame.shape, 2, 0.7))[..., None]
    return image * (1 - mask) + mask * rng.uniform(10, 90, 3).astype(np.float32)
