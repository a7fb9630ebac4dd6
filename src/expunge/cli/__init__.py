"""The command line. Exit status: 0 done; 1 the answer is no; 2 wrong usage or configuration; 3 no server."""

from __future__ import annotations

import sys

from expunge.cli.app import app
from expunge.cli.common import DIED, NO_SERVER, WRONG, say_error
from expunge.errors import Changed, ConfigurationError, ExpungeError, Forgotten, Unavailable, place_of


def main() -> None:
    """Run a command; errors are one line on standard error, never a traceback."""
    try:
        app()
    except Forgotten as error:
        say_error(str(error))
        sys.exit(NO_SERVER)
    except Unavailable as error:
        say_error(f"{error}: is it up, and is its address right? `expunge doctor` shows the settings")
        sys.exit(NO_SERVER)
    except Changed as error:
        say_error(f"{error}: run this again")
        sys.exit(NO_SERVER)
    except (ConfigurationError, ExpungeError) as error:
        say_error(str(error))
        sys.exit(WRONG)
    except BrokenPipeError:
        sys.exit(WRONG)
    except Exception as error:  # noqa: BLE001 - the last frame: texts of errors may name people, so only where it was
        say_error(f"this is a fault of Expunge, please report it: {type(error).__name__} in {place_of(error)}")
        sys.exit(DIED)
