"""The 61 numbers that describe a face in one frame (paper section 3.1) and their names.

Order: 51 expression blendshapes (MediaPipe's 52 less ``_neutral``, each 0…1), 6 head pose,
4 eye movement. Conventions, for every room that touches codes:

* Axes are those of the face model: x to the image's right, y up, z towards the camera.
* Rotations are radians by the right-hand rule, ``R = Rz(roll) @ Ry(yaw) @ Rx(pitch)`` on column
  vectors: pitch > 0 looks down, yaw > 0 turns to the image's right, roll > 0 tilts the head
  counter-clockwise in the image.
* ``headX``/``headY`` are offsets from the reference's median head place in units of its eye
  distance (outer eye corners), y up; ``headScale`` is the natural logarithm of the size over the
  reference's median size.
* Gaze is eye-in-head in radians with the signs of the head's yaw and pitch.
"""

from __future__ import annotations

BLENDSHAPE_NAMES: tuple[str, ...] = (
    "browDownLeft", "browDownRight", "browInnerUp", "browOuterUpLeft", "browOuterUpRight",
    "cheekPuff", "cheekSquintLeft", "cheekSquintRight",
    "eyeBlinkLeft", "eyeBlinkRight", "eyeLookDownLeft", "eyeLookDownRight", "eyeLookInLeft",
    "eyeLookInRight", "eyeLookOutLeft", "eyeLookOutRight", "eyeLookUpLeft", "eyeLookUpRight",
    "eyeSquintLeft", "eyeSquintRight", "eyeWideLeft", "eyeWideRight",
    "jawForward", "jawLeft", "jawOpen", "jawRight",
    "mouthClose", "mouthDimpleLeft", "mouthDimpleRight", "mouthFrownLeft", "mouthFrownRight",
    "mouthFunnel", "mouthLeft", "mouthLowerDownLeft", "mouthLowerDownRight", "mouthPressLeft",
    "mouthPressRight", "mouthPucker", "mouthRight", "mouthRollLower", "mouthRollUpper",
    "mouthShrugLower", "mouthShrugUpper", "mouthSmileLeft", "mouthSmileRight",
    "mouthStretchLeft", "mouthStretchRight", "mouthUpperUpLeft", "mouthUpperUpRight",
    "noseSneerLeft", "noseSneerRight",
)  # fmt: skip
POSE_NAMES: tuple[str, ...] = (
    "headPitch", "headYaw", "headRoll", "headX", "headY", "headScale",
)  # fmt: skip
GAZE_NAMES: tuple[str, ...] = ("gazeLeftYaw", "gazeLeftPitch", "gazeRightYaw", "gazeRightPitch")
CODE_NAMES: tuple[str, ...] = BLENDSHAPE_NAMES + POSE_NAMES + GAZE_NAMES

CODE_COUNT = len(CODE_NAMES)
EXPRESSION = slice(0, 51)
POSE = slice(51, 57)
ROTATION = slice(51, 54)
TRANSLATION = slice(54, 57)
GAZE = slice(57, 61)

CODE_INDEX: dict[str, int] = {name: index for index, name in enumerate(CODE_NAMES)}

# Not observable in landmarks: gaze replaces the eyeLook channels, the rest do not move them.
DEAD_NAMES: frozenset[str] = frozenset(
    {name for name in BLENDSHAPE_NAMES if name.startswith("eyeLook")}
    | {"cheekPuff", "cheekSquintLeft", "cheekSquintRight"}
    | {"noseSneerLeft", "noseSneerRight", "jawForward"}
)
LIVE_EXPRESSION: tuple[int, ...] = tuple(
    index for index, name in enumerate(BLENDSHAPE_NAMES) if name not in DEAD_NAMES
)
