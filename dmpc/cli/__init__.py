"""The `dmpc` command."""

from dmpc.cli.main import main

__all__ = ["main"]
