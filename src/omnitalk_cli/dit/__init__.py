"""The dual-branch diffusion transformer, its path, solver and guidance."""
