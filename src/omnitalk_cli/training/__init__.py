"""Corpus makers, data sets, training loops."""
