"""``python -m omnitalk_cli`` is the same as ``omnitalk``."""

from omnitalk_cli.cli.app import main

if __name__ == "__main__":
    main()
