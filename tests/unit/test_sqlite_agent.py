"""The agent for SQLite: whom it means, what it counts, and that what it calls deleted is gone from the files."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from expunge.agent import Action, Claim, Kind, Person, Result, Target
from expunge.agent.sqlite import Sqlite, Table
from expunge.agent.sqlite.values import seconds_of
from expunge.errors import ConfigurationError

CASE = "d" * 32

CANARY = "CANARY7f3a9zq"
ANN = Person("a" * 32, "u1", "user_id", "ann")


def target(asset: str, action: Action = Action.DELETE, **fields: Any) -> Target:
    return Target("c" * 32, "d" * 32, asset, Kind.RECORD, action, **({"people": (ANN,)} | fields))


def person(text: str, namespace: str = "user_id", **fields: Any) -> Person:
    return Person("a" * 32, None, namespace, text, text, **fields)


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "users.db"
    with sqlite3.connect(path) as connection:
        connection.execute("create table users (id text, name text, no_use text)")
        connection.execute("create table visits (who text)")
        connection.executemany("insert into users values (?, ?, ?)", [("ann", "Ann", ""), ("bob", "Bob", "")])
        connection.executemany("insert into visits values (?)", [("ann",), ("ann",), ("bob",)])
    return path


TABLES = (Table("users", "user_id", "id", "no_use"), Table("visits", "user_id", "who"))


def ask(database: Path, wanted: Target, tables: Sequence[Table] = TABLES) -> Result:
    (result,) = Sqlite(database, tables).purge([wanted])
    return result


def test_rows_of_one_person_are_deleted_and_counted(database: Path) -> None:
    result = ask(database, target("db"))
    assert (result.claim, result.fields) == (Claim.DELETED, {"matched": 3, "affected": 3})
    with sqlite3.connect(database) as connection:
        assert connection.execute("select id from users").fetchall() == [("bob",)]
        assert connection.execute("select count(*) from visits").fetchone() == (1,)
    again = ask(database, target("db"))
    assert (again.claim, again.fields) == (Claim.NOT_FOUND, {"matched": 0, "affected": 0})
    assert ask(database, target("db", interrupted=True)).claim is Claim.DELETED


def test_restriction_is_written_into_its_column_and_adds_up(database: Path) -> None:
    only_users = TABLES[:1]
    for purpose in ("training", "marketing", "training"):
        wanted = target("db", Action.RESTRICT, purposes=(purpose,))
        assert ask(database, wanted, only_users).claim is Claim.RESTRICTED
    with sqlite3.connect(database) as connection:
        both = f"{CASE}:marketing,{CASE}:training,marketing,training"
        assert connection.execute("select no_use from users order by id").fetchall() == [(both,), ("",)]


def test_a_case_lets_go_of_its_own_restriction_alone(database: Path) -> None:
    """A row may be two people's: one of them let go, and the other's restriction was gone without a word."""
    mine, other = target("db", Action.RESTRICT), replace(target("db", Action.RESTRICT), case_id="e" * 32)
    for each in (mine, other):
        ask(database, each, TABLES[:1])
    ask(database, replace(mine, action=Action.LIFT), TABLES[:1])
    assert left(database, "select no_use from users where id = 'ann'") == [f"*,{'e' * 32}:*"]


def test_what_an_earlier_build_restricted_is_let_go_of(database: Path) -> None:
    with sqlite3.connect(database) as connection:
        connection.execute("update users set no_use = 'training,*' where id = 'ann'")
    ask(database, target("db", Action.LIFT), TABLES[:1])
    assert left(database, "select no_use from users where id = 'ann'") == ["training"]


def test_somebody_whose_id_nobody_has_said_is_a_failure_and_not_absent(database: Path) -> None:
    """An id of hers was named by pseudonym alone: what stands under it was called not found."""
    named = target("db")
    other = Table("users", "email", "id", "no_use")
    unsaid = replace(named, people=(*named.people, Person("b" * 32, namespace="email")))
    assert ask(database, unsaid, [*TABLES[:1], other]).fields["reason_code"] == "identity_not_revealed"


@pytest.mark.parametrize(("namespace", "answered"), [(None, True), ("phone", True), ("user_id", False), ("", False)])
def test_who_was_named_by_pseudonym_alone_fails_where_tables_may_be_searched(
    database: Path, namespace: str | None, *, answered: bool
) -> None:
    """Every pseudonym of an id bears it (`also`): who has none was not looked for. 0.1 said no namespaces at all."""
    named = target("db")
    result = ask(database, replace(named, people=(*named.people, Person("b" * 32, namespace=namespace))))
    assert (result.claim is Claim.DELETED) is answered


def test_an_id_under_several_pseudonyms_is_counted_once(database: Path) -> None:
    named = target("db", Action.RESTRICT)
    twice = replace(named, people=(*named.people, replace(named.people[0], pseudonym="b" * 32)))
    assert ask(database, twice, TABLES[:1]).fields == ask(database, named, TABLES[:1]).fields


def test_nobody_is_called_absent_while_the_log_keeps_what_was_deleted(database: Path) -> None:
    """A second case of the same person was told `not_found` while a reader kept her bytes in the log."""
    agent = _impatient(Sqlite(database, TABLES), 0.1)
    with sqlite3.connect(database) as writer:
        writer.execute("pragma journal_mode = wal")
    reader = sqlite3.connect(database)
    try:
        reader.execute("begin")
        reader.execute("select * from users").fetchall()
        other = replace(target("db"), case_id="e" * 32, command_id="f" * 32)
        (first,) = agent.purge([target("db")])
        (second,) = agent.purge([other])
        assert first.expected_by is not None
        assert second.expected_by is not None
    finally:
        reader.close()
    (again,) = agent.purge([other])
    assert again.claim is Claim.NOT_FOUND


def test_a_restriction_is_taken_out_of_its_column_purpose_by_purpose(database: Path) -> None:
    only_users = TABLES[:1]
    for purposes in (("training",), ()):
        ask(database, target("db", Action.RESTRICT, purposes=purposes), only_users)
    left = []
    for purposes in ((), ("training",)):
        assert ask(database, target("db", Action.LIFT, purposes=purposes), only_users).claim is Claim.LIFTED
        with sqlite3.connect(database) as connection:
            left += connection.execute("select no_use from users where id = 'ann'").fetchone()
    assert left == [f"{CASE}:training,training", ""]


def test_a_table_that_cannot_be_restricted_fails_and_nothing_changes(database: Path) -> None:
    result = ask(database, target("db", Action.RESTRICT, purposes=("training",)))
    assert result.fields["reason_code"] == "no_restriction_column"
    with sqlite3.connect(database) as connection:
        assert connection.execute("select no_use from users where id = 'ann'").fetchone() == ("",)


def test_a_person_that_was_not_revealed_is_a_failure(database: Path) -> None:
    hidden = replace(target("db"), people=(Person("a" * 32),))
    assert ask(database, hidden).fields["reason_code"] == "identity_not_revealed"


def test_a_missing_database_is_a_failure_and_is_not_made(tmp_path: Path) -> None:
    assert ask(tmp_path / "none.db", target("db")).fields["reason_code"] == "sqlite_cantopen"
    assert not (tmp_path / "none.db").exists()


def made(path: Path, *statements: str) -> Path:
    with sqlite3.connect(path) as connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()
    return path


def left(path: Path, query: str) -> list[Any]:
    connection = sqlite3.connect(path)
    try:
        return [row[0] for row in connection.execute(query)]
    finally:
        connection.close()


def erased(path: Path, who: Person, *tables: Table, **fields: Any) -> Result:
    return ask(path, target("db", people=(who,), **fields), tables)


# Whom it means

HELD = [
    ("integer", 7, "7", True),
    ("integer", 7, "007", False),
    ("integer", 1000, "1e3", False),
    ("integer", 8, " 8 ", False),
    ("integer", 55, "55", True),
    ("", 55, "55", True),
    ("", "55", "55", True),
    ("text", "055", "55", False),
    ("text", "Ann", "ann", False),
    ("text collate nocase", "Ann", "ann", False),
    ("numeric", "1e3", "1000", True),
    ("blob", b"ann", "ann", True),
    ("integer", 9223372036854775807, "9223372036854775807", True),
    ("integer", 1, "9" * 400, False),
]


@pytest.mark.parametrize("normalised", [False, True])
@pytest.mark.parametrize(("declared", "held", "asked", "same"), HELD)
def test_exact_is_exact_whatever_type_a_column_has(
    tmp_path: Path, declared: str, held: Any, asked: str, *, same: bool, normalised: bool
) -> None:
    """edges 4: `007` deleted 7, and erasing `55` left the integer 55 of a column without a type."""
    path = made(tmp_path / "u.db", f"create table users (id {declared})")
    with sqlite3.connect(path) as connection:
        connection.execute("insert into users values (?)", (held,))
    connection.close()
    result = erased(path, person(asked), Table("users", "user_id", "id", normalised=normalised and held != b"ann"))
    assert result.claim is (Claim.DELETED if same else Claim.NOT_FOUND)
    assert len(left(path, "select 1 from users")) == (not same)


def test_ids_are_compared_as_the_namespace_spells_them(tmp_path: Path) -> None:
    """edges 6: the column held another case than the request, beyond ASCII."""
    path = made(tmp_path / "u.db", "create table users (mail text)")
    spelled = [
        "J\u00d6RG.M\u00dcLLER@EXAMPLE.COM",
        " Jo\u0308rg.Mu\u0308ller@example.com",
        "other@example.com",
        "no address",
    ]
    with sqlite3.connect(path) as connection:
        connection.executemany("insert into users values (?)", [(each,) for each in spelled])
    connection.close()
    who = person("j\u00f6rg.m\u00fcller@example.com", "email")
    result = erased(path, who, Table("users", "email", "mail", normaliser="email"))
    assert result.fields == {"matched": 2, "affected": 2}
    assert left(path, "select mail from users") == spelled[2:]


def test_a_person_of_one_tenant_is_no_other_tenants(tmp_path: Path) -> None:
    """edges 5: (acme, 42) and (globex, 42) were both deleted."""
    path = made(
        tmp_path / "u.db",
        "create table users (tenant text, id integer, primary key (tenant, id)) without rowid",
        "insert into users values ('acme', 42), ('globex', 42)",
    )
    table = Table("users", "user_id", "id", tenant_column="tenant")
    assert erased(path, person("42"), table).fields == {"reason_code": "tenant_not_named"}
    assert erased(path, person("42", tenant="acme"), table).fields == {"matched": 1, "affected": 1}
    assert left(path, "select tenant from users") == ["globex"]


@pytest.mark.parametrize(
    ("written", "stays"),
    [
        ("2026-02-15T00:00:00Z", False),
        ("2026-02-15 00:00:00", False),
        ("2026-11-20T00:00:00+01:00", True),
        (1_795_000_000, True),
        (1_770_000_000_000, False),
        ("1795000000", True),
        (None, False),
        ("yesterday", False),
    ],
)
def test_what_is_newer_than_a_request_reaches_stays(tmp_path: Path, written: Any, *, stays: bool) -> None:
    """edges 9: a request of February deleted an order of November."""
    path = made(tmp_path / "u.db", "create table orders (who text, at)")
    with sqlite3.connect(path) as connection:
        connection.execute("insert into orders values ('ann', ?)", (written,))
    connection.close()
    reach = datetime(2026, 3, 1, tzinfo=UTC)
    result = erased(path, ANN, Table("orders", "user_id", "who", time_column="at"), collected_until=reach)
    assert result.claim is (Claim.NOT_FOUND if stays else Claim.DELETED)
    assert len(left(path, "select 1 from orders")) == stays


def test_times_that_can_be_read() -> None:
    assert seconds_of("1970-01-01 00:01:00") == 60
    assert seconds_of(60_000_000_000_000) == 60_000_000_000
    assert seconds_of(b"\xff") is None


# What is there


@pytest.mark.parametrize(
    ("table", "why"),
    [
        (Table("user", "user_id", "id"), "there is no table user"),
        (Table("users", "user_id", "usr_id"), "has no column usr_id"),
        (Table("users", "user_id", "id", "no_ues"), "has no column no_ues"),
        (Table("users", "user_id", "id", tenant_column="tenant"), "has no column tenant"),
        (Table("words", "user_id", "body"), "is a full-text index"),
    ],
)
def test_a_table_that_is_not_there_as_declared_is_refused_at_the_start(database: Path, table: Table, why: str) -> None:
    """doors 4: a misspelt column is a string to SQLite, so everybody was not found, or everybody was meant."""
    made(database, "create virtual table words using fts5(body)")
    with pytest.raises(ConfigurationError, match=why):
        Sqlite(database, [table])


def test_a_column_that_a_migration_renamed_is_a_failure_and_nobody_is_deleted(database: Path) -> None:
    agent = Sqlite(database, TABLES)
    made(database, "alter table users rename column id to user_id")
    (result,) = agent.purge([target("db", people=(person("id"),))])
    assert (result.claim, result.fields, result.untouched) == (Claim.FAILED, {"reason_code": "schema_changed"}, True)
    assert len(left(database, "select 1 from users")) == 2


# What is counted


def test_foreign_keys_hold(tmp_path: Path) -> None:
    """edges 7: children that should go stayed, and children that should keep their parent did not."""
    path = made(
        tmp_path / "u.db",
        "create table users (id text primary key)",
        "create table visits (who text references users on delete cascade)",
        "create table bills (who text references users on delete restrict)",
        "insert into users values ('ann'), ('bob')",
        "insert into visits values ('ann'), ('bob')",
        "insert into bills values ('bob')",
    )
    table = Table("users", "user_id", "id")
    assert erased(path, ANN, table).claim is Claim.DELETED
    assert left(path, "select who from visits") == ["bob"]
    refused = erased(path, person("bob"), table)
    assert (refused.fields, refused.untouched) == ({"reason_code": "sqlite_constraint_trigger"}, True) or (
        refused.fields == {"reason_code": "sqlite_constraint_foreignkey"}
    )
    assert left(path, "select id from users") == ["bob"]


@pytest.mark.parametrize("honest", [True, False])
def test_a_view_is_judged_by_what_is_left_afterwards(tmp_path: Path, *, honest: bool) -> None:
    body = "delete from people where id = old.id" if honest else "select 1"
    path = made(
        tmp_path / "u.db",
        "create table people (id text)",
        "create view users as select id from people",
        f"create trigger gone instead of delete on users begin {body}; end",
        "insert into people values ('ann')",
    )
    result = erased(path, ANN, Table("users", "user_id", "id"))
    assert result.fields == {"matched": 1, "affected": int(honest)}


def test_a_trigger_that_keeps_a_row_makes_fewer_affected_than_matched(tmp_path: Path) -> None:
    path = made(
        tmp_path / "u.db",
        "create table users (id text, gone integer default 0)",
        "create trigger soft before delete on users begin update users set gone = 1 where id = old.id; "
        "select raise(ignore); end",
        "insert into users values ('ann', 0)",
    )
    assert erased(path, ANN, Table("users", "user_id", "id")).fields == {"matched": 1, "affected": 0}


def test_a_table_without_rowid_can_be_restricted(tmp_path: Path) -> None:
    path = made(
        tmp_path / "u.db",
        "create table users (id text primary key, no_use text) without rowid",
        "insert into users values ('ann', null), ('bob', null)",
    )
    table = Table("users", "user_id", "id", "no_use")
    for action, written in ((Action.RESTRICT, f"ads,{CASE}:ads"), (Action.LIFT, "")):
        result = ask(path, target("db", action, purposes=("ads",)), [table])
        assert result.fields == {"matched": 1, "affected": 1}
        assert left(path, "select no_use from users where id = 'ann'") == [written]


# What is left behind


def holds(path: Path) -> dict[str, int]:
    """How often the canary stands in each file beside the database."""
    found = {each.name: each.read_bytes().count(CANARY.encode()) for each in path.parent.iterdir() if each.is_file()}
    return {name: number for name, number in found.items() if number}


@pytest.fixture(params=["wal", "delete", "truncate", "persist"])
def secret(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    path = made(
        tmp_path / "u.db",
        f"pragma journal_mode = {request.param}",
        "create table users (id text, bio text)",
        "create virtual table words using fts5(bio, content=users)",
        "create trigger ai after insert on users begin insert into words (rowid, bio) values (new.rowid, new.bio); end",
        "create trigger ad after delete on users begin "
        "insert into words (words, rowid, bio) values ('delete', old.rowid, old.bio); end",
    )
    with sqlite3.connect(path) as connection:
        connection.executemany("insert into users values (?, ?)", [(f"u{n}", "x" * 50) for n in range(200)])
        connection.execute("insert into users values ('ann', ?)", (CANARY + "y" * 20_000,))
    connection.close()
    return path


USERS = Table("users", "user_id", "id")


def test_what_is_deleted_is_gone_from_the_files_though_others_have_them_open(secret: Path) -> None:
    """edges 8: an idle connection of the service kept everything readable."""
    service = sqlite3.connect(secret)
    service.execute("select count(*) from users").fetchone()
    assert holds(secret)
    assert erased(secret, ANN, USERS).claim is Claim.DELETED
    assert holds(secret) == {}
    service.close()


def test_what_a_reader_keeps_in_the_log_is_not_called_deleted_yet(tmp_path: Path) -> None:
    path = made(tmp_path / "u.db", "pragma journal_mode = wal", "create table users (id text, bio text)")
    with sqlite3.connect(path) as connection:
        connection.execute("insert into users values ('ann', ?)", (CANARY,))
    connection.close()
    service = sqlite3.connect(path, isolation_level=None)
    service.execute("begin")
    service.execute("select * from users").fetchone()
    agent = _impatient(Sqlite(path, [USERS]), 0.2)
    (result,) = agent.purge([target("db")])
    assert result.expected_by is not None
    assert holds(path)
    service.execute("commit")
    (result,) = agent.purge([replace(target("db"), interrupted=True)])
    assert (result.claim, result.fields) == (Claim.DELETED, {"matched": 1, "affected": 1})
    assert holds(path) == {}
    service.close()


def _impatient(agent: Sqlite, seconds: float) -> Sqlite:
    """The same, but it does not wait for half a minute that a lock is free."""
    agent.busy_seconds = seconds
    return agent


def test_a_locked_database_is_a_failure_by_its_name_and_nothing_changed(database: Path) -> None:
    writer = sqlite3.connect(database, isolation_level=None)
    writer.execute("begin immediate")
    (result,) = _impatient(Sqlite(database, TABLES), 0.1).purge([target("db")])
    assert (result.fields, result.untouched) == ({"reason_code": "sqlite_busy"}, True)
    writer.execute("rollback")
    writer.close()


# What a column or a database may hold


@pytest.mark.parametrize("declared", ["integer", "numeric", "string", "real", "text", ""])
def test_a_telephone_number_is_found_whatever_the_column_made_of_it(tmp_path: Path, declared: str) -> None:
    path = made(tmp_path / "u.db", f"create table users (phone {declared})")
    with sqlite3.connect(path) as connection:
        connection.execute("insert into users values (?)", ("+442079460999",))
    connection.close()
    who = person("+442079460999", "phone")
    assert erased(path, who, Table("users", "phone", "phone", normaliser="e164")).claim is Claim.DELETED


@pytest.mark.parametrize("at", [1_577_836_800_000_000, 1_577_836_800_000_000_000, "9999-12-31", 253_402_214_400])
def test_finer_times_are_read_and_what_lies_ahead_is_no_time(tmp_path: Path, at: Any) -> None:
    path = made(tmp_path / "u.db", "create table orders (who text, at)")
    with sqlite3.connect(path) as connection:
        connection.execute("insert into orders values ('ann', ?)", (at,))
    connection.close()
    reach = datetime(2026, 3, 1, tzinfo=UTC)
    result = erased(path, ANN, Table("orders", "user_id", "who", time_column="at"), collected_until=reach)
    assert result.claim is Claim.DELETED


@pytest.mark.parametrize("using", ["USING  fts5", "using\nfts5", 'using "fts5"', "using fts4"])
def test_a_full_text_index_is_merged_however_it_was_declared(tmp_path: Path, using: str) -> None:
    path = made(
        tmp_path / "u.db", "create table users (id text, bio text)", f"create virtual table words {using} (bio)"
    )
    made(
        path,
        "create trigger ai after insert on users begin insert into words (rowid, bio) values (new.rowid, new.bio); end",
        "create trigger ad after delete on users begin delete from words where rowid = old.rowid; end",
    )
    with sqlite3.connect(path) as connection:
        connection.executemany("insert into users values (?, 'x')", [(f"u{n}",) for n in range(50)])
        connection.execute("insert into users values ('ann', ?)", (CANARY,))
    connection.close()
    assert erased(path, ANN, USERS).claim is Claim.DELETED
    assert CANARY.lower().encode() not in path.read_bytes().lower()


def test_a_person_one_of_whose_ids_was_not_opened_is_not_called_absent(database: Path) -> None:
    """With the e-mail opened and the user id not, the table of user ids was silently not searched."""
    closed = Person("b" * 32, closed=True)
    result = ask(database, target("db", people=(ANN, closed)))
    assert result.fields == {"reason_code": "identity_not_revealed"}
    assert len(left(database, "select 1 from users")) == 2


def test_tables_may_be_declared_in_any_order(tmp_path: Path) -> None:
    path = made(
        tmp_path / "u.db",
        "create table users (id text primary key)",
        "create table visits (who text references users)",
        "insert into users values ('ann')",
        "insert into visits values ('ann')",
    )
    result = erased(path, ANN, USERS, Table("visits", "user_id", "who"))
    assert result.fields == {"matched": 2, "affected": 2}


def test_a_lock_is_waited_for_once_a_batch(database: Path) -> None:
    writer = sqlite3.connect(database, isolation_level=None)
    writer.execute("begin immediate")
    agent = _impatient(Sqlite(database, TABLES), 0.3)
    began = time.monotonic()
    results = agent.purge([target(f"db{number}") for number in range(50)])
    assert {result.fields["reason_code"] for result in results} == {"sqlite_busy"}
    assert time.monotonic() - began < 10  # fifty waits would be fifteen seconds
    writer.close()
