"""What weights exist, and where."""
