"""Every error that Expunge raises on purpose.

    ExpungeError
    ├── ConfigurationError   the installation is wrong: exit status 2
    ├── Unavailable          a server does not answer: the same message is tried again (exit status 3 on a command line)
    │   └── Forgotten        what a server held is gone: it is waited for until a person has made it anew
    ├── Changed              what this process goes by is another now: it ends, and one in its place begins with that
    ├── NotUnderstood        a newer version wrote it: the one case that it belongs to waits, and nobody else
    ├── Fenced               this process lost its partition or its epoch: it must read again, and change nothing
    └── InvalidMessage       the message can never be right: a dead letter

Anything else that is raised is a defect and ends the process before the offset is committed. No text of these errors
may hold an identifier, an asset id or a payload.
"""

from __future__ import annotations


class ExpungeError(Exception):
    """The root of the tree above."""


class ConfigurationError(ExpungeError):
    """The installation is wrong; the text says what, where, and how to mend it."""


class Unavailable(ExpungeError):
    """Something that a message needs is not there now; the message is tried again.

    Attributes:
        server: what is away (`Kafka`, `Redis`, ...), for people.
    """

    def __init__(self, text: str, *, server: str = "") -> None:
        super().__init__(text)
        self.server = server


class Forgotten(Unavailable):
    """What a server held is gone, and a person must make it anew: whoever needs it waits for as long as that takes."""


class Contradicted(Unavailable):
    """What was logged for good is another now: nothing more is logged, or said of it, until a person has looked."""


class Wedged(ExpungeError):
    """This process cannot go on, through no message's fault; another in its place can."""


class Changed(ExpungeError):
    """What this process goes by is another now; one that is started in its place begins with that."""


class NotUnderstood(ExpungeError):
    """Something that a newer version wrote, and that this one has no word for."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Fenced(ExpungeError):
    """State is newer than this process believes: another process owns the partition."""


class InvalidMessage(ExpungeError):
    """A message that can never be right.

    Attributes:
        reason: a code from a closed set (`not_json`, `missing_field`, ...), safe to publish.
        where: the field or part that is wrong, never its content.
    """

    def __init__(self, reason: str, where: str = "") -> None:
        super().__init__(f"{reason}: {where}" if where else reason)
        self.reason = reason
        self.where = where


def place_of(error: BaseException) -> str:
    """Where an error was raised: file and line, and nothing of what it says."""
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace else ""
