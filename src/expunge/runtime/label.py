"""What a process calls itself to the broker, so that others see with what it runs."""

from __future__ import annotations

from typing import NamedTuple

from expunge import __version__
from expunge.domain.digest import name
from expunge.domain.planning.policy.rules import Policy
from expunge.domain.registry import Registry


class Label(NamedTuple):
    """With what a process runs: it reads its policy and the declarations once, at its start."""

    version: str
    """Of Expunge; empty where a process does not say so, as before 0.2."""
    policy: str
    declarations: str

    @classmethod
    def of(cls, registry: Registry, policy: Policy) -> Label:
        """Of a process with these declarations and this policy."""
        return cls(__version__, policy.digest[:8], name(registry.model_dump_json())[:8])

    @classmethod
    def read(cls, client_id: str) -> Label:
        """What a member of a group says of itself; a client's own default says nothing."""
        version, *rest = client_id.removeprefix("expunge-").split("_")
        if not client_id.startswith("expunge-") or len(rest) != 2:  # noqa: PLR2004 - policy and declarations
            return cls("", "", "")
        return cls(version, *rest)

    def __str__(self) -> str:
        return f"expunge-{self.version}_{self.policy}_{self.declarations}"

    def differing(self, ours: Label) -> str:
        """With what a process runs that is not ours, for people; empty where nothing differs."""
        if self.version != ours.version:  # then nothing says what the other parts mean
            return f"version {self.version}" if self.version else "another version"
        parts = (("another policy", "policy"), ("other declarations", "declarations"))
        return " and ".join(text for text, part in parts if getattr(self, part) != getattr(ours, part))
