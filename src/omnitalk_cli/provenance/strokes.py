"""The Chinese characters of the label, drawn as strokes of our own.

The font that Pillow carries has none, and a label that the law asks for must not depend on what
fonts a machine has. Seven characters are enough: 人工智能 (artificial intelligence), 生成
(generated) and 合成 (synthesised).
"""

from __future__ import annotations

from PIL import ImageDraw

Point = tuple[float, float]

# Polylines in a square of 100 × 100, y downwards, in the usual order of strokes. Curves are short
# pieces; the ends are round.
STROKES: dict[str, tuple[tuple[Point, ...], ...]] = {
    "人": (
        ((50, 8), (49.5, 20), (48, 32), (45, 44), (40, 56), (32, 69), (22, 81), (9, 91)),
        ((50, 28), (53, 42), (58, 55), (66, 68), (77, 81), (91, 91)),
    ),
    "工": (
        ((13, 17), (87, 17)),
        ((50, 17), (50, 84)),
        ((6, 84), (94, 84)),
    ),
    "智": (
        ((20, 4), (17.5, 11), (14, 17.5), (9, 23)),
        ((17, 14), (49, 14)),
        ((4, 32), (53, 32)),
        ((31, 14), (30.5, 27), (28, 37), (22, 45), (15, 51), (6, 56)),
        ((34, 38), (41, 43), (49, 51)),
        ((63, 49), (63, 12), (92, 12), (92, 49)),
        ((63, 44), (92, 44)),
        ((22, 97), (22, 63), (78, 63), (78, 97)),
        ((22, 78), (78, 78)),
        ((22, 93), (78, 93)),
    ),
    "能": (
        ((27, 4), (23, 12), (17, 21), (10, 30), (20, 29.5), (31, 28.5), (43, 27)),
        ((35, 15), (41, 23), (47, 34)),
        ((10, 96), (10, 44), (43, 44), (43, 88), (41.5, 92), (38, 93.5), (31, 93.5)),
        ((10, 60), (43, 60)),
        ((10, 76), (43, 76)),
        ((90, 11), (80, 18), (69, 23), (58, 26.5)),
        ((58, 4), (58, 34), (59.5, 39), (64, 41), (86, 41), (91, 39.5), (93, 35), (94, 29)),
        ((90, 60), (80, 67), (69, 72), (58, 75.5)),
        ((58, 52), (58, 85), (59.5, 90.5), (64, 93), (86, 93), (91, 91), (93.5, 86), (95, 78)),
    ),
    "生": (
        ((27, 9), (24, 19), (19, 30), (11, 42)),
        ((22, 28), (88, 28)),
        ((52, 6), (52, 90)),
        ((17, 57), (84, 57)),
        ((6, 90), (94, 90)),
    ),
    "成": (
        ((16, 26), (94, 26)),
        ((16, 26), (16, 50), (14.5, 67), (11.5, 80), (6, 92)),
        ((17, 48), (42, 48), (41, 66), (39.5, 76), (37, 80), (32, 80.5), (26, 79)),
        ((55, 6), (55.5, 22), (57.5, 40), (61.5, 56), (68, 70), (76, 82), (84, 90), (89, 91.5),
         (92, 87), (94, 74)),
        ((85, 42), (80, 54), (72, 67), (61, 79), (46, 91)),
        ((69, 7), (76, 11), (83, 17)),
    ),
    "合": (
        ((50, 6), (43, 16), (33, 26), (21, 35), (6, 43)),
        ((50, 6), (57, 16), (67, 26), (79, 35), (94, 43)),
        ((29, 43), (71, 43)),
        ((22, 96), (22, 60), (78, 60), (78, 96)),
        ((22, 90), (78, 90)),
    ),
}  # fmt: skip


# Characters of many strokes get thinner ones, or they fill up in small print.
_FINENESS = {"智": 0.8, "能": 0.85}


def draw_character(
    draw: ImageDraw.ImageDraw, character: str, *, x: float, y: float, side: float, thickness: float
) -> None:
    """Draw a character of ``STROKES`` in white into the square at ``x``, ``y`` (its upper left).

    All lengths are in pixels; the ink stays inside the square of ``side`` pixels.
    """
    thickness *= _FINENESS.get(character, 1.0)
    # Round ends and corners reach half a thickness beyond the lines.
    scale = (side - thickness) / 100
    half = thickness / 2
    for stroke in STROKES[character]:
        points = [(x + half + scale * u, y + half + scale * v) for u, v in stroke]
        draw.line(points, fill=255, width=max(1, round(thickness)))
        for u, v in points:
            draw.ellipse((u - half, v - half, u + half, v + half), fill=255)
