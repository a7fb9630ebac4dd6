"""The default policy, row by row: what each rule is for, and what a policy file may not say."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import product
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expunge.adapters.policy_file import load_policy, parse_policy, shipped
from expunge.domain.lineage.row import Combination, combine
from expunge.domain.planning.policy.about import About
from expunge.domain.planning.policy.capabilities import incapable
from expunge.domain.planning.policy.clocks import after, deadlines
from expunge.domain.planning.policy.dispose import Circumstances, Judge, Nature, decide, meets
from expunge.domain.planning.policy.explain import Given, possible
from expunge.domain.planning.policy.rules import Basis, GradeRule, Policy, Sources
from expunge.domain.planning.policy.terms import Term
from expunge.domain.registry import System
from expunge.domain.scope import Granted, Scope, ScopeKind, Subject
from expunge.domain.vocabulary import CONTAINERS, STRICTNESS, Action, Grade, Kind, Regime
from expunge.errors import ConfigurationError
from expunge.wire.requests import REQUESTS
from tests.simulation import World

POLICY = load_policy(None)
PERSON = (Subject(pseudonym="01" + "a" * 30),)


def scope(kind: ScopeKind) -> Scope:
    purposes = ("training",) if kind is ScopeKind.REVOCATION else ()
    sources = ("supplier-a",) if kind is ScopeKind.WITHDRAWAL else ()
    people = PERSON if kind in {ScopeKind.ERASURE, ScopeKind.REVOCATION} else ()
    return Scope(kind=kind, subjects=people, purposes=purposes, data_sources=sources)


def disposed(
    about: ScopeKind,
    kind: str,
    *more: str,
    shared: bool = False,
    purposes: tuple[str, ...] = (),
    sources: tuple[str, ...] = (),
    named: bool = False,
    holding: bool = False,
    regime: Regime = Regime.GDPR,
) -> tuple[str, str] | None:
    """Action and rule."""
    names = combine((kind, *more), ("a",), sources, purposes, ())
    nature = Nature(names, shared, names.container, holding)
    found = Judge(POLICY, scope(about), regime).dispose(nature, named=named)
    return (found.action.value, found.rule) if found else None


ERASURE, REVOCATION, WITHDRAWAL, ASSET = (
    ScopeKind.ERASURE,
    ScopeKind.REVOCATION,
    ScopeKind.WITHDRAWAL,
    ScopeKind.ASSET,
)


@pytest.mark.parametrize(
    ("kind", "alone", "of_many"),
    [
        ("record", "delete", "redact"),
        ("object", "delete", "redact"),
        ("annotation", "delete", "redact"),
        ("embedding", "delete", "redact"),
        ("feature", "delete", "redact"),
        ("cache", "delete", "redact"),
        ("dataset", "rebuild_without", "rebuild_without"),
        ("dataset_version", "rebuild_without", "rebuild_without"),
        ("index", "rebuild_without", "rebuild_without"),
        ("log", "rebuild_without", "rebuild_without"),
        ("deployment", "rebuild_without", "rebuild_without"),
        ("backup", "rebuild_without", "rebuild_without"),
        ("model", "retrain_without", "retrain_without"),
        ("checkpoint", "delete", "delete"),
        ("recipient_copy", "notify", "notify"),
    ],
)
def test_one_person(kind: str, alone: str, of_many: str) -> None:
    assert (disposed(ERASURE, kind) or ("",))[0] == alone
    assert (disposed(ERASURE, kind, shared=True) or ("",))[0] == of_many
    last_purpose = {"purposes": ("training",)}
    assert (disposed(REVOCATION, kind, **last_purpose) or ("",))[0] == alone  # type: ignore[arg-type]


RESTRICTED = {"backup": ("exempt", "restriction-backup"), "recipient_copy": ("notify", "restriction-recipient")}


@pytest.mark.parametrize("kind", list(Kind))
@pytest.mark.parametrize("holding", [False, True])
def test_a_restriction(kind: Kind, *, holding: bool) -> None:
    found = disposed(ScopeKind.RESTRICTION, kind, holding=holding, purposes=("service",))
    assert found == RESTRICTED.get(kind, ("restrict", "restriction"))


def test_a_restriction_that_was_lifted_restricts_nothing() -> None:
    lifted = scope(ScopeKind.RESTRICTION).model_copy(update={"granted": (Granted(purpose="=restricted", since=1),)})
    names = combine(("object",), ("a",), (), (), ())
    assert Judge(POLICY, lifted, Regime.GDPR).dispose(Nature(names)) is None


@pytest.mark.parametrize(
    ("replace", "by", "reason"),
    [
        ("then: exempt\n    legal_basis: GDPR 18(2)", "then: exempt", "need legal_basis"),
        ("grades: []", "grades: [{id: g, kind: model, minimum: E9}]", "grades"),
        ("per: hour, more_than: 200000", "per: week, more_than: 200000", "rates"),
        ("requester_sees: deferred", "requester_sees: nothing", "requester_sees"),
    ],
)
def test_wrong_rows_are_named(tmp_path: Path, replace: str, by: str, reason: str) -> None:
    assert replace in shipped()
    file = tmp_path / "policy.yaml"
    file.write_text(shipped().replace(replace, by))
    with pytest.raises(ConfigurationError, match=reason):
        load_policy(file)


def test_an_answer_below_the_least_grade_is_no_answer() -> None:
    grade = GradeRule(id="signed", kind=(Kind.OBJECT,), minimum=Grade.E2)
    world = World()
    world.policies.change(POLICY.model_copy(update={"grades": (grade,)}))
    world.register("photo", subjects=["ann"])
    world.register("vector", "embedding", "ml", parents=["photo"])
    world.settle(ticks=1)
    case_id = world.erase("ann")
    world.settle(ticks=2)
    assert world.status(case_id) != "completed"
    (command,) = {event["data"]["minimum_grade"] for event in world.broker.events("commands.photos")}
    assert command == "E2"
    world.tick(40 * 86_400)
    world.settle(ticks=1)
    failed = [(line["kind"], line["reason"]) for line in world.confirmations("partially_completed")[-1]["failures"]]
    assert failed == [("object", "signed")]


@pytest.mark.parametrize("kind", list(Kind))
def test_a_purpose(kind: Kind) -> None:
    assert disposed(REVOCATION, kind, purposes=("service",)) is None
    assert disposed(REVOCATION, kind, purposes=("service", "training")) == ("restrict", "purpose-restrict")
    assert disposed(REVOCATION, kind) == ("restrict", "purpose-restrict")


@pytest.mark.parametrize(
    ("kind", "only", "others", "unstated"),
    [
        *((kind, "delete", "delete", "delete") for kind in ("model", "checkpoint", "deployment")),
        *(
            (kind, "delete", "rebuild_without", "rebuild_without")
            for kind in ("dataset", "dataset_version", "index", "log", "backup")
        ),
        *((kind, "delete", "redact", "delete") for kind in ("record", "object", "embedding", "feature", "cache")),
        ("recipient_copy", "notify", "notify", "notify"),
    ],
)
def test_a_data_source(kind: str, only: str, others: str, unstated: str) -> None:
    said = [
        disposed(WITHDRAWAL, kind, sources=sources, regime=Regime.ORDER)
        for sources in (("supplier-a",), ("supplier-a", "own"), ())
    ]
    assert [each and each[0] for each in said] == [only, others, unstated]


@pytest.mark.parametrize("kind", list(Kind))
def test_a_withdrawn_asset_goes_whole_and_what_was_made_from_it_as_for_one_person(kind: Kind) -> None:
    assert disposed(ASSET, kind, named=True) == ("delete", "named-asset")
    derived, of_a_person = disposed(ASSET, kind), disposed(ERASURE, kind)
    assert derived == of_a_person
    assert disposed(ASSET, kind, shared=True) == derived  # somebody's photo of a group is withdrawn with all of it


@pytest.mark.parametrize("about", [ERASURE, WITHDRAWAL])
def test_a_holding_is_told_what_to_look_for(about: ScopeKind) -> None:
    assert disposed(about, "record", holding=True) == ("delete", "holding")


def test_what_statements_disagree_about_is_treated_as_the_strictest_says() -> None:
    assert disposed(ERASURE, "dataset", "object") == ("rebuild_without", "container")
    assert disposed(ERASURE, "model", "dataset") == ("retrain_without", "model")
    assert disposed(ERASURE, "model", "checkpoint") == ("delete", "checkpoint")


CIRCUMSTANCES = st.builds(
    Circumstances,
    st.sampled_from(About),
    st.sampled_from(Kind),
    st.sampled_from(Regime),
    st.sets(st.sampled_from(["biometric", "health"])).map(frozenset),
    st.none() | st.sampled_from(Basis),
    st.none() | st.sampled_from(Sources),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)


@given(CIRCUMSTANCES)
def test_the_first_rule_that_is_met_decides(at: Circumstances) -> None:
    rule = decide(POLICY, at)
    before = POLICY.dispositions[: POLICY.dispositions.index(rule)]
    assert meets(at, rule.when)
    assert not any(meets(at, each.when) for each in before)


@given(CIRCUMSTANCES)
def test_an_explanation_names_the_rule_that_decides_whatever_is_left_out(at: Circumstances) -> None:
    basis = at.basis or Basis.OTHER if at.scope is About.PURPOSE else None
    sources = at.sources or Sources.OTHERS if at.scope is About.DATA_SOURCE else None
    named = at.named and at.scope is About.ASSET
    at = at._replace(basis=basis, sources=sources, named=named, shared=at.shared or at.kind in CONTAINERS)
    rule = decide(POLICY, at)
    category = next(iter(at.categories), None)
    full = Given(at.scope, at.kind, at.regime, category, basis, sources, at.holding, named, at.shared)
    assert possible(POLICY, full)[-1].rule == rule
    for left_out in product([False, True], repeat=4):
        fields = [name for name, out in zip(("holding", "named", "shared", "sources"), left_out, strict=True) if out]
        partly = Given(**full._asdict() | dict.fromkeys(fields))
        assert rule in [each.rule for each in possible(POLICY, partly)]


def test_every_rule_of_the_default_policy_can_decide() -> None:
    met = set()
    flags = [False, True]
    regimes = [Regime.GDPR, Regime.BIPA, Regime.DPDP]
    for about, kind, regime, basis, sources, holding, named, shared in product(
        About, Kind, regimes, [None, *Basis], [None, *Sources], flags, flags, flags
    ):
        at = Circumstances(about, kind, regime, frozenset(), basis, sources, holding, named, shared)
        met.add(decide(POLICY, at).id)
    assert met == {rule.id for rule in POLICY.dispositions}


def test_every_scope_has_a_word_in_policies() -> None:
    assert {kind.about for kind in ScopeKind} == set(About)
    assert {kind for kind, _ in REQUESTS.values()} == set(ScopeKind)


def test_every_action_that_a_policy_may_ask_for_has_its_strictness() -> None:
    assert set(STRICTNESS) == set(Action) - {Action.LIFT, Action.PROBE}


# -- Clocks


@pytest.mark.parametrize(
    ("received", "due"),
    [
        ("2026-01-15", "2026-02-15"),
        ("2026-01-31", "2026-02-28"),
        ("2028-01-31", "2028-02-29"),
        ("2026-03-31", "2026-04-30"),
        ("2026-08-31", "2026-09-30"),
        ("2026-12-31", "2027-01-31"),
    ],
)
def test_a_month_is_a_calendar_month(received: str, due: str) -> None:
    start = datetime.fromisoformat(received).replace(hour=12, tzinfo=UTC)
    assert deadlines(POLICY, Regime.GDPR, None, start).due.date() == date.fromisoformat(due)


def test_an_extension_counts_from_the_day_of_the_request() -> None:
    found = deadlines(POLICY, Regime.GDPR, None, datetime(2026, 1, 31, 12, tzinfo=UTC))
    assert found.extended is not None
    assert found.extended.date() == date(2026, 4, 30)  # not two months after 28 February


def test_days_begin_where_the_law_holds() -> None:
    """In Los Angeles it is still the evening before; the due date keeps its hour there, across daylight saving."""
    found = deadlines(POLICY, Regime.CCPA, "US-CA", datetime(2026, 10, 1, 3, tzinfo=UTC))
    assert found.due == datetime(2026, 11, 14, 20, tzinfo=ZoneInfo("America/Los_Angeles"))
    assert found.extended == datetime(2026, 12, 29, 20, tzinfo=ZoneInfo("America/Los_Angeles"))
    ireland = deadlines(POLICY, Regime.GDPR, "ie", datetime(2026, 1, 30, 23, 30, tzinfo=UTC))
    brussels = deadlines(POLICY, Regime.GDPR, None, datetime(2026, 1, 30, 23, 30, tzinfo=UTC))
    assert (ireland.due.date().day, brussels.due.date().day) == (28, 28)
    assert ireland.due.utcoffset() == timedelta(0)
    assert brussels.due.utcoffset() == timedelta(hours=1)


def test_business_days_leave_out_weekends_and_holidays() -> None:
    """Ten business days over Thanksgiving and the day after it, both holidays in California."""
    found = deadlines(POLICY, Regime.CCPA, "US-CA", datetime(2026, 11, 20, 23, tzinfo=UTC))
    assert found.acknowledge is not None
    assert found.acknowledge.date() == date(2026, 12, 8)


def test_a_law_that_changes_is_two_rows() -> None:
    los_angeles = ZoneInfo("America/Los_Angeles")
    last, first = (datetime(2026, 12, 31, 23, tzinfo=los_angeles), datetime(2027, 1, 1, 1, tzinfo=los_angeles))
    assert [deadlines(POLICY, Regime.DROP, None, each).clock for each in (last, first)] == ["drop-45", "drop-30"]
    assert deadlines(POLICY, Regime.DROP, None, first).due - first == timedelta(days=30)


@given(
    st.sampled_from(Regime),
    st.sampled_from([None, "IE", "US-CA", "DE"]),
    st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
)
def test_every_request_has_a_due_date_after_it_and_a_warning_before(
    regime: Regime, jurisdiction: str | None, received: datetime
) -> None:
    found = deadlines(POLICY, regime, jurisdiction, received)
    assert received <= found.due
    assert found.extended is None or found.due < found.extended


@given(st.datetimes(datetime(2000, 1, 1), datetime(2050, 1, 1), timezones=st.just(UTC)), st.integers(1, 24))  # noqa: DTZ001
def test_a_month_later_never_skips_a_month(start: datetime, months: int) -> None:
    end = after(start, Term(months=months))
    assert (end.year * 12 + end.month) - (start.year * 12 + start.month) == months
    assert end.day == start.day or (end + timedelta(days=1)).day == 1


# -- Files


def broken(*changes: tuple[str, str]) -> str:
    """What is said of the shipped policy with some text replaced."""
    text = shipped()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    with pytest.raises(ConfigurationError) as caught:
        parse_policy(text, "policy.yaml")
    return str(caught.value)


def line_of(text: str) -> int:
    return next(number for number, line in enumerate(shipped().splitlines(), 1) if text in line)


def test_a_wrong_value_is_named_by_line_and_key() -> None:
    said = broken(("then: retrain_without", "then: retrain"))
    assert said.startswith(f"policy.yaml:{line_of('then: retrain_without')}: dispositions.model.then: ")


def test_a_mistyped_key_is_named() -> None:
    said = broken(("    when: {kind: recipient_copy}", "    wen: {kind: recipient_copy}"))
    assert said.startswith(f"policy.yaml:{line_of('when: {kind: recipient_copy}')}: dispositions.recipient.wen: ")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ([("    zone: Europe/London\n", "    zone: Europe/Londres\n")], "no time zone"),
        ([("  GB: Europe/London", "  GB: London")], "no time zone"),
        ([("    calendar: US-CA\n", "    calendar: US-XX\n")], "no holidays are known"),
        ([("    regime: bipa\n    zone", "    regime: bipa\n    effective_from: 2008-10-03\n    zone")], "before 2008"),
        ([("effective_to: 2026-12-31", "effective_to: 2026-02-30")], "day is out of range"),
        ([("    more_than: 100000\n", "    more_than: true\n")], "valid integer"),
        ([("  - id: many\n", "  - id: many\n    kind: model\n")], "guard: at least one row"),
        ([("    then: redact\n", "    then: rebuild_without\n")], "makes anew"),
    ],
)
def test_what_would_fail_later_is_refused_now(changes: list[tuple[str, str]], message: str) -> None:
    assert message in broken(*changes)


def test_an_extension_may_be_longer_than_any_single_term() -> None:
    text = shipped().replace(
        "respond: {months: 1}\n    extend: {months: 2}", "respond: {months: 12}\n    extend: {months: 24}", 1
    )
    found = deadlines(parse_policy(text, "x"), Regime.GDPR, None, datetime(2026, 1, 31, 12, tzinfo=UTC))
    assert found.extended is not None
    assert found.extended.date() == date(2029, 1, 31)


def test_a_key_that_stands_twice_is_refused() -> None:
    assert "name stands here twice" in broken(("name: default", "name: default\nname: other"))


def test_what_is_no_yaml_is_refused_with_its_line() -> None:
    assert broken(("name: default", "name: [default")).startswith("policy.yaml:")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ([("  - id: alone\n    then", "  - id: alone\n    when: {kind: object}\n    then")], "the last rule (alone)"),
        ([("    when: {kind: model}\n", "")], "no rule behind model"),
        ([("kinds: [cache]", "kinds: [cache, model]")], "kind model stands in 2 stages"),
        ([("share: 30", "share: 40")], "add up to 100"),
        ([(", holdings: true", "")], "holdings: true"),
        ([("id: checkpoint", "id: model")], "two rules have the id model"),
        ([("id: bipa-15\n    regime: bipa", "id: bipa-15\n    regime: order")], "none for regime bipa"),
        ([("effective_from: 2027-01-01", "effective_from: 2027-01-02")], "overlap or leave days"),
        ([("    calendar: US-CA\n    acknowledge", "    acknowledge")], "business_days need a calendar"),
        ([("respond: {months: 1}", "respond: {months: 1, days: 2}")], "one of months, days"),
    ],
)
def test_a_policy_that_leaves_something_undecided_is_refused(changes: list[tuple[str, str]], message: str) -> None:
    assert message in broken(*changes)


def test_the_guard_cannot_be_turned_off() -> None:
    text = shipped()
    start, end = text.index("guard:\n"), text.index("# -- How far an erasure")
    with pytest.raises(ConfigurationError, match="guard"):
        parse_policy(text[:start] + "guard: []\n" + text[end:], "policy.yaml")


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="No such file"):
        load_policy(tmp_path / "none.yaml")


def test_the_digest_is_of_what_a_policy_says_and_not_of_how_it_is_written() -> None:
    assert parse_policy(shipped() + "\n# a comment\n", "x").digest == POLICY.digest
    assert parse_policy(shipped().replace("tail_days: 7", "tail_days: 8"), "x").digest != POLICY.digest
    assert Policy.model_validate_json(POLICY.encode()).digest == POLICY.digest


def test_what_policy_may_ask_of_a_system_that_cannot_do_it_is_known_before_a_request_comes() -> None:
    """adoption: an action that nobody declared was seen when obligations stayed open."""
    held = Nature(Combination(kinds=frozenset({"model"}), systems=frozenset({"ml", "elsewhere"})))
    systems = [
        System(name="ml", actions=(Action.DELETE, Action.DISABLE)),
        System(name="elsewhere", integrated=False, reason="r", owner="o"),
    ]
    found = incapable(POLICY, systems, [held], [Regime.GDPR])
    assert {each.system for each in found} == {"ml"}
    missing = {each.action: each for each in found}
    assert Action.RETRAIN_WITHOUT in missing
    assert not missing.keys() & {Action.DELETE, Action.DISABLE, Action.EXEMPT}
    assert missing[Action.RETRAIN_WITHOUT].kinds == ("model",)
    capable = [System(name="ml", actions=tuple(Action))]
    assert not incapable(POLICY, capable, [held], list(Regime))


def test_of_what_finds_its_data_itself_only_deletion_is_asked() -> None:
    held = Nature(Combination(kinds=frozenset({"record"}), systems=frozenset({"crm"})), holding=True)
    asked = {each.action for each in incapable(POLICY, [System(name="crm", actions=())], [held], [Regime.GDPR])}
    assert asked == {Action.DELETE, Action.RESTRICT}
