"""The command line: parse, call the pipeline, print. Nothing heavy is imported at import time."""
