"""`expunge demo`: the story the project exists for, played on real servers and real files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from expunge.cli.common import console, installation
from expunge.cli.demo.story import Story
from expunge.cli.demo.world import Demo


def demo(
    directory: Annotated[Path, typer.Option(help="Where the demo writes its files.")] = Path(".demo"),
    photos: Annotated[int, typer.Option(min=60, max=20_000, help="How many photos the story is about.")] = 3_000,
) -> None:
    """Play a whole story against the configured servers: photos, people, a model, and three requests."""
    settings = installation().settings
    world = Demo(directory.absolute(), settings.kafka, settings.redis, photos)
    Story(world, console).play()
