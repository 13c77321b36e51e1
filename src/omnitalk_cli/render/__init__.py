"""From codes to pictures."""
