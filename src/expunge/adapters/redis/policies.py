"""Policies by digest, beside the index: the one of this process, and those that cases are bound to."""

from __future__ import annotations

from pydantic import ValidationError

from expunge.adapters.redis.server import Server
from expunge.domain.planning.policy.rules import Policy
from expunge.errors import NotUnderstood, Unavailable


class RedisPolicies:
    """See `domain.planning.policy.rules.Policies`."""

    def __init__(self, server: Server, current: Policy) -> None:
        self._server, self._current = server, current
        self._known = {current.digest: current}

    @property
    def current(self) -> Policy:
        """The policy of this process."""
        return self._current

    def keep(self) -> None:
        """Put the policy of this process where others find it, before anything is decided under it."""
        self.restore(self._current.digest, self._current)

    def restore(self, digest: str, policy: Policy) -> None:
        """Put one there that cases are bound to, under the digest that they name: an earlier version made another."""
        key = self._server.key(0, "policies")
        self._server.guarded(lambda client: client.hset(key, digest, policy.encode()))

    def of(self, digest: str) -> Policy:
        """A policy by its digest.

        Raises:
            Unavailable: Redis does not have it.
            NotUnderstood: this process is too old to read it.
        """
        if digest not in self._known:
            raw = self._server.read_one(0, "HGET", self._server.key(0, "policies"), digest)
            if raw is None:
                raise Unavailable("a policy that a case is bound to is missing in Redis: it has forgotten; rebuild")
            try:
                found = Policy.model_validate_json(raw)
            except ValidationError:
                raise NotUnderstood("policy_of_a_newer_version") from None
            self._known[digest] = found
        return self._known[digest]
