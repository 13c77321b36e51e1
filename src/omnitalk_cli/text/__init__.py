"""Scripts: normalise, split, tokenise."""
