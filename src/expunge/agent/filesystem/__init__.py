"""A ready agent for files under one directory. It never follows a link and never leaves the directory."""

from expunge.agent.filesystem.agent import Filesystem
from expunge.agent.filesystem.lines import Fields
from expunge.agent.filesystem.prober import FilesystemProber

__all__ = ["Fields", "Filesystem", "FilesystemProber"]
