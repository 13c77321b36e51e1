"""Mel, vocoder, speech recognition."""
