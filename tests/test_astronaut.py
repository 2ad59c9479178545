"""The alpha of the example's only photo is what closed-form matting finds along an outline made by hand."""

import cv2
import numpy as np
from pymatting import estimate_alpha_cf

from shm_data.demo import ASSETS, photo
from shm_data.images import read_alpha
from shm_data.pixels.trimap import BACKGROUND, FOREGROUND, UNKNOWN

# Clockwise from the lower left, in px of the 512 px photo, each line with the half width of its unknown band.
_SLEEVE = (
    "38,511 30,498 26,482 23,462 22,440 21,422 19,405 20,390 24,375 25,350 27,336 32,318 38,301 46,281 54,264"
    " 64,251 78,238 94,224 111,208"
)
_COLLAR = "111,208 113,200 111,191 113,187 121,185 127,175 134,165 143,158 155,152 167,149 183,148"
_JAW = "183,148 182,134 174,129"
_HAIR = (
    "174,129 166,114 156,96 153,72 160,52 178,39 194,29 208,19 230,16 250,19 266,30 281,43 294,60 300,84"
    " 298,106 290,121 277,133"
)
_NECK = "277,133 266,137 259,158 254,178"
_SHOULDER = "254,176 260,177 270,184 285,198 297,216 304,236 318,241 333,252 345,270 353,290 360,318 362,345"
_HELMET = (
    "362,348 380,345 400,343 420,346 440,353 455,363 468,376 478,388 486,402 492,418 496,440 496,452 503,454"
    " 504,461 508,470 509,480 511,486"
)
_BANDS = ((_SLEEVE, 3), (_COLLAR, 3), (_JAW, 4), (_HAIR, 8), (_NECK, 4), (_SHOULDER, 3), (_HELMET, 3))


def test_the_alpha_that_is_kept_is_found_again():
    portrait, kept = photo("astronaut.png"), read_alpha(ASSETS / "alphas" / "astronaut.png")
    trimap = _trimap(portrait.shape[:2])
    found = np.rint(estimate_alpha_cf(portrait / 255, trimap / 255) * 255)
    assert np.abs(found - kept).max() <= 1
    assert np.array_equal(kept[trimap != UNKNOWN], trimap[trimap != UNKNOWN])


def _trimap(shape):
    lines = [(_points(text), width) for text, width in _BANDS]
    height, width = shape
    corners = np.array([[width + 9, height - 26], [width + 9, height + 9], [38, height + 9]], np.int32)
    trimap = np.full(shape, BACKGROUND, np.uint8)
    cv2.fillPoly(trimap, [np.concatenate([*(points for points, _ in lines), corners])], FOREGROUND)
    for points, half in lines:
        cv2.polylines(trimap, [points], isClosed=False, color=UNKNOWN, thickness=2 * half + 1)
    return trimap


def _points(text):
    return np.array([pair.split(",") for pair in text.split()], np.int32)
