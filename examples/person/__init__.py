"""Mira, a person who does not exist: a small software renderer in NumPy and OpenCV.

Units are outer eye corner distances in the space of the package's face model (x to the image's
right, y up, z towards the camera). Colours are linear RGB until :mod:`person.studio` grades them.
"""
