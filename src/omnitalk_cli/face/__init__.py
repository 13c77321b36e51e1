"""Face model: tracker, rig, fit, codes."""
