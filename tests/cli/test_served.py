"""What a role serves before anything is wrong."""

from __future__ import annotations

from expunge.adapters.system import PrometheusMetrics
from expunge.roles import ROLES
from expunge.serve import from_the_start


def test_alarms_are_there_as_nothing_before_the_first_of_them() -> None:
    """A series that begins with 1 has not increased, and nobody is called."""
    served: dict[tuple[str, str], float] = {}
    for role in ROLES:
        metrics = PrometheusMetrics()
        from_the_start(metrics, role)
        for family in metrics._registry.collect():
            served |= {(s.name, s.labels["label"]): s.value for s in family.samples if s.name.endswith("_total")}
    assert set(served.values()) == {0.0}
    assert {("expunge_poisoned_total", role) for role in ROLES} <= served.keys()
    for name in ("ledger_alarms", "certificates_not_made", "refused_emissions"):
        assert any(each == f"expunge_{name}_total" for each, _ in served), name
