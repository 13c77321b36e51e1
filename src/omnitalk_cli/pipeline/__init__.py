"""The story of a video: reference, script, synthesis, production."""
