"""Marks that say what was generated."""
