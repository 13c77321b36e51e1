"""Scores of finished videos and performances (``omnitalk eval``, docs/evaluation.md)."""
