"""omnitalk: a script and one short clip of a person become a marked talking video."""

__version__ = "0.1.0"
