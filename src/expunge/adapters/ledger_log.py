"""The ledger's Merkle log in a directory: what is published as files, and what the notary needs besides in SQLite.

    DIRECTORY/log-0/checkpoint       the signed note
    DIRECTORY/log-0/tile/...         hashes and entries (`domain.evidence.tiles`)
    DIRECTORY/log-0/large/SHA-256    a record that is too large for a bundle; its entry names it
    DIRECTORY/log-1/...              the log that goes on after that was closed, and so on
    DIRECTORY/keys/1, 2, ...         by whose word the key that signs has followed earlier ones
    DIRECTORY/state.sqlite           how far the log has come, the tiles that are not whole yet, whose record is where

Files are written first, then the transaction that counts on them is committed: a process that dies in between writes
the same bytes again. Several processes may have the directory open; each append is one transaction.
"""

from __future__ import annotations

import base64
import hashlib
import sqlite3
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from expunge.adapters import files
from expunge.adapters.records import recalled, remembered
from expunge.adapters.signing import Signer
from expunge.domain.backoff import doubled
from expunge.domain.continuity import Place, Reached
from expunge.domain.events import Position, millis
from expunge.domain.evidence import merkle, tiles
from expunge.domain.evidence.notes import Checkpoint, Party, checkpoint_of, is_signed, signed, succession
from expunge.domain.evidence.reading_notes import key_of, succession_of
from expunge.errors import ConfigurationError, Contradicted, Unavailable
from expunge.ports.evidence import Due, Leaf, Proven
from expunge.ports.logs import Covered

ENTRIES = -1
"""The level of the bundle that is not full, among the tiles that are not."""
LEDGER = "the ledger"
FIRST_WAIT, LONGEST_WAIT = timedelta(minutes=1), timedelta(days=1)
"""Until a certificate that could not be made is tried again."""
SCHEMA = """
CREATE TABLE IF NOT EXISTS log (
    number INTEGER PRIMARY KEY, origin TEXT, key TEXT, first INTEGER, size INTEGER, reached TEXT
);
CREATE TABLE IF NOT EXISTS pending (level INTEGER, at INTEGER, raw BLOB, PRIMARY KEY (level, at)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS due (
    key BLOB, sequence INTEGER, at_ms INTEGER, tries INTEGER, next_ms INTEGER, PRIMARY KEY (key, sequence)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS leaves (
    key BLOB, number INTEGER, leaf INTEGER, PRIMARY KEY (key, number, leaf)
) WITHOUT ROWID;
"""


class _State(NamedTuple):
    """The log that is open."""

    number: int
    """How many were closed before it."""
    first: int
    """The offset of the ledger's record that is leaf 0, or that leaf 0 stands before, where it names an earlier log."""
    size: int
    reached: Reached
    origin: str

    @property
    def base(self) -> int:
        """The offset of the first record that it holds."""
        return self.first + 1 if self.number else self.first


class DirectoryLog:
    """See `ports.evidence.LedgerLog`."""

    def __init__(self, directory: Path, origin: str, signer: Signer) -> None:
        self._directory, self._origin, self._signer = directory, origin, signer
        self._opened: sqlite3.Connection | None = None
        self.public = signer.public
        """The public key, hexadecimal."""

    @property
    def origin(self) -> str:
        """The name of the log that is open."""
        with self._asking() as database:
            return self._state(database).origin

    def reached(self) -> Reached:
        """See `ports.evidence.LedgerLog.reached`."""
        with self._asking() as database:
            return self._state(database).reached

    def append(self, leaves: Sequence[Leaf]) -> int:
        """See `ports.evidence.LedgerLog.append`."""
        with self._writing() as database:
            state, number = self._state(database), 0
            growing = _Growing(self._folder(state), database, state.size)
            if state.number and not growing.size:
                growing.add(self._head(state))
            for leaf in leaves:
                offset = leaf.reached.next - 1
                if offset < state.reached.next:
                    self._hold_against(state, growing, offset, leaf.entry)
                    continue
                if offset > state.reached.next:
                    raise Contradicted(
                        f"the ledger has nothing at offset {state.reached.next}, and was logged up to there: nothing "
                        "is logged any more until somebody has looked (docs/evidence.md)",
                        server=LEDGER,
                    )
                index = growing.add(leaf.entry)
                database.executemany(
                    "INSERT OR IGNORE INTO leaves VALUES (?, ?, ?)",
                    [(key.encode(), state.number, index) for key in dict.fromkeys(leaf.keys)],
                )
                ends = [(each.key.encode(), each.sequence, millis(each.at)) for each in leaf.ends]
                database.executemany("INSERT OR IGNORE INTO due VALUES (?, ?, ?, 0, 0)", ends)
                state, number = state._replace(size=growing.size, reached=leaf.reached), number + 1
            growing.keep()
            self._keep(database, state)
        return number

    @property
    def size(self) -> int:
        """See `ports.evidence.LedgerLog.size`."""
        with self._asking() as database:
            return self._state(database).size

    def due(self, limit: int, now: datetime) -> list[Due]:
        """See `ports.evidence.LedgerLog.due`."""
        with self._asking() as database:
            rows = database.execute(
                "SELECT key, sequence, at_ms FROM due WHERE next_ms <= ? ORDER BY tries, at_ms, key LIMIT ?",
                (millis(now), limit),
            )
            return [Due(key.decode(), number, datetime.fromtimestamp(at / 1000, UTC)) for key, number, at in rows]

    def later(self, due: Due, now: datetime) -> None:
        """See `ports.evidence.LedgerLog.later`."""
        with self._writing() as database:
            which = (due.key.encode(), due.sequence)
            row = database.execute("SELECT tries FROM due WHERE key = ? AND sequence = ?", which).fetchone()
            tries = row[0] if row else 0
            wait = doubled(FIRST_WAIT, tries, LONGEST_WAIT)
            database.execute(
                "UPDATE due SET tries = ?, next_ms = ? WHERE key = ? AND sequence = ?",
                (tries + 1, millis(now + wait), *which),
            )

    def again(self, due: Due) -> None:
        """Have a certificate made and published that was, or could not be."""
        with self._writing() as database:
            row = (due.key.encode(), due.sequence, millis(due.at))
            database.execute("INSERT OR REPLACE INTO due VALUES (?, ?, ?, 0, 0)", row)

    def settled(self, done: Sequence[Due]) -> None:
        """See `ports.evidence.LedgerLog.settled`."""
        with self._writing() as database:
            rows = [(each.key.encode(), each.sequence) for each in done]
            database.executemany("DELETE FROM due WHERE key = ? AND sequence = ?", rows)

    def checkpoint(self) -> str | None:
        """See `ports.evidence.LedgerLog.checkpoint`."""
        with self._writing() as database:
            state = self._state(database)
            growing = _Growing(self._folder(state), database, state.size)
            node = tiles.nodes(state.size, growing.tile)
            now = Checkpoint(state.origin, state.size, merkle.root(state.size, node))
            file = self._folder(state) / "checkpoint"
            if (published := _text(file)) is not None:
                before = self._read_checkpoint(published)
                if before == now and is_signed(published, bytes.fromhex(self.public)):
                    return published
                if before.size > now.size:
                    return None
                self._hold_checkpoint_against(before, now, growing)
            growing.publish()
            note = signed(now, bytes.fromhex(self._signer.public), self._signer.sign)
            files.write(file, note.encode())
        return note

    def grown(self, before: int, note: str) -> Sequence[bytes]:
        """See `ports.evidence.LedgerLog.grown`."""
        size = checkpoint_of(note).size
        with self._asking() as database:
            state = self._state(database)
            node = tiles.nodes(size, _Growing(self._folder(state), database, state.size).tile)
            try:
                return merkle.consistency(before, size, node) if 0 < before < size else []
            except OSError as error:  # one file is not there: the log goes on without whoever asked for it
                raise ValueError(f"the log lacks a file: {error.strerror}") from None

    def cosigned(self, note: str) -> None:
        """See `ports.evidence.LedgerLog.cosigned`."""
        with self._writing() as database:
            file = self._folder(self._state(database)) / "checkpoint"
            published = _text(file)
            if published is not None and note.startswith(published):
                files.write(file, note.encode())

    @property
    def folder(self) -> Path:
        """Where what is published of the log that is open lies."""
        with self._asking() as database:
            return self._folder(self._state(database))

    def proven(self, key: str, note: str) -> list[Proven]:
        """See `ports.evidence.LedgerLog.proven`."""
        with self._asking() as database:
            state, of = self._state(database), checkpoint_of(note)
            rows = database.execute(
                "SELECT leaf FROM leaves WHERE key = ? AND number = ? AND leaf < ? ORDER BY leaf",
                (key.encode(), state.number, of.size),
            ).fetchall()
            growing = _Growing(self._folder(state), database, state.size)
            node = tiles.nodes(of.size, growing.tile)
            try:
                return [Proven(leaf, growing.entry(leaf), merkle.inclusion(leaf, of.size, node)) for (leaf,) in rows]
            except OSError as error:  # one file is not there: that is this case's, and nobody else's
                raise ValueError(f"the log lacks a file: {error.strerror}") from None

    def check(self) -> None:
        """Hold what is published against what stands, without writing anything.

        Raises:
            Contradicted: the checkpoint says something else of the leaves that it covers.
        """
        with self._asking() as database:
            state = self._state(database)
            published = _text(self._folder(state) / "checkpoint")
            before = self._read_checkpoint(published) if published is not None else None
            if before is not None and before.size <= state.size:
                growing = _Growing(self._folder(state), database, state.size)
                self._hold_checkpoint_against(before, before, growing)

    def succeed(self, following: Reached) -> None:
        """See `ports.evidence.LedgerLog.succeed`."""
        with self._writing() as database:
            before = self._state(database)
            if before.number and following.next == before.reached.next == before.base:
                return  # nothing was logged since it was opened
            said = {
                "continues": before.origin,
                "checkpoint": _text(self._folder(before) / "checkpoint"),
                "offset": following.next,
            }
            number = before.number + 1
            _Growing(self._folder(before), database, before.size).publish()
            state = _State(number, following.next - 1, 0, following, f"{self._origin}/{number}")
            database.execute("DELETE FROM pending")
            growing = _Growing(self._folder(state), database, 0)
            growing.add(orjson.dumps(said, option=orjson.OPT_SORT_KEYS))
            growing.keep()
            self._keep(database, state._replace(size=1))

    def successions(self) -> list[str]:
        """See `ports.evidence.LedgerLog.successions`."""
        kept = self._directory / "keys"
        found, number = list[str](), 1
        while (note := _text(kept / str(number))) is not None:
            found.append(note)
            number += 1
        return found

    def succeeded(self, signer: Signer) -> Path:
        """Write down that another key takes the place of this one, from the last checkpoint on.

        Raises:
            ConfigurationError: nothing was published that the old key could speak of.
        """
        with self._writing() as database:
            published = _text(self._folder(self._state(database)) / "checkpoint")
            if published is None:
                raise ConfigurationError("the log has no checkpoint yet: start the notary, and wait a minute")
            last = self._read_checkpoint(published)
            old, new = (Party(bytes.fromhex(each.public), each.sign) for each in (self._signer, signer))
            file = self._directory / "keys" / str(len(self.successions()) + 1)
            files.write(file, succession(last, self._origin, old, new).encode())
        return file

    def _publics(self) -> list[str]:
        """The public keys that have signed for the log, this one last.

        Raises:
            ConfigurationError: another has taken its place.
        """
        told = [succession_of(note) for note in self.successions()]
        found = [key_of(old)[1].hex() for old, _ in told] + ([key_of(told[-1][1])[1].hex()] if told else [self.public])
        if found[-1] != self.public:
            raise ConfigurationError(
                f"another key has taken the place of the log's ({self._directory}/keys): "
                "`expunge certificate rotate-key` ends what was begun; then start the notary anew"
            )
        return found

    def entries(self, key: str) -> list[bytes]:
        """See `ports.evidence.LedgerLog.entries`."""
        with self._asking() as database:
            found = []
            now = self._state(database)
            for number, leaf in database.execute(
                "SELECT number, leaf FROM leaves WHERE key = ? ORDER BY number, leaf", (key.encode(),)
            ).fetchall():
                state = now if number == now.number else self._closed(database, number)
                found.append(
                    _Growing(self._folder(state), database, state.size, is_open=number == now.number).entry(leaf)
                )
            return found

    def close(self) -> None:
        """Let go of the database."""
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    def _state(self, database: sqlite3.Connection) -> _State:
        row = database.execute(
            "SELECT number, first, size, reached, origin, key FROM log ORDER BY number DESC"
        ).fetchone()
        if row is None:
            return self._found()
        *fields, key = row
        if key not in self._publics():
            raise ConfigurationError(
                f"the log in {self._directory} was begun with another key: put that back in the place of notary.key"
            )
        return self._read(fields)

    def _closed(self, database: sqlite3.Connection, number: int) -> _State:
        return self._read(
            database.execute(
                "SELECT number, first, size, reached, origin FROM log WHERE number = ?", (number,)
            ).fetchone()
        )

    def _read(self, fields: Sequence[Any]) -> _State:
        number, first, size, reached, origin = fields
        if origin != self._origin_of(number):
            raise ConfigurationError(
                f"the log in {self._directory} bears the name {origin}: set evidence.origin to what it was, or "
                "evidence.directory to a new one"
            )
        following, _, last = reached.partition(":")
        return _State(number, first, size, recalled(int(following), last), origin)

    def _origin_of(self, number: int) -> str:
        return f"{self._origin}/{number}" if number else self._origin

    def _found(self) -> _State:
        """Where nothing is remembered: the last log that was published, from its beginning; it is made anew."""
        numbers = [each.parent.name.removeprefix("log-") for each in self._directory.glob("log-*/checkpoint")]
        number = max((int(each) for each in numbers if each.isdigit()), default=0)
        if number == 0:
            return _State(0, 0, 0, Reached(0), self._origin)
        state = _State(number, 0, 0, Reached(0), self._origin_of(number))
        offset = orjson.loads(self._head(state))["offset"]
        return state._replace(first=offset - 1, reached=Reached(offset))

    def _head(self, state: _State) -> bytes:
        """The first leaf of a log that goes on after another, as it was published."""
        folder = self._folder(state)
        bundles = [*folder.glob("tile/entries/000"), *sorted(folder.glob("tile/entries/000.p/*"))]
        if not bundles:
            raise ConfigurationError(f"{folder} has a checkpoint and no entries: bring the directory back as it was")
        return tiles.entries_in(bundles[0].read_bytes())[0]

    def _keep(self, database: sqlite3.Connection, state: _State) -> None:
        reached = f"{state.reached.next}:{remembered(state.reached)}"
        row = (state.number, state.origin, self.public, state.first, state.size, reached)
        database.execute("INSERT OR REPLACE INTO log VALUES (?, ?, ?, ?, ?, ?)", row)

    def _folder(self, state: _State) -> Path:
        return self._directory / f"log-{state.number}"

    def _hold_against(self, state: _State, growing: _Growing, offset: int, entry: bytes) -> None:
        index = offset - state.first
        if offset >= state.base and growing.hash_at(index) != merkle.leaf_hash(entry):
            raise Contradicted(
                f"the ledger holds another record at offset {offset} than was logged: nothing is logged any more until "
                "somebody has looked (docs/evidence.md)",
                server=LEDGER,
            )

    def _read_checkpoint(self, note: str) -> Checkpoint:
        try:
            found = checkpoint_of(note)
        except ValueError:
            raise Contradicted(
                f"the published checkpoint in {self._directory} cannot be read: put the right file there", server=LEDGER
            ) from None
        if not any(is_signed(note, bytes.fromhex(public)) for public in self._publics()):
            raise Contradicted(
                f"the published checkpoint in {self._directory} is signed with another key: put that back in the place "
                "of notary.key",
                server=LEDGER,
            )
        return found

    def _hold_checkpoint_against(self, before: Checkpoint, now: Checkpoint, growing: _Growing) -> None:
        node = tiles.nodes(before.size, growing.tile)
        if before.origin != now.origin or merkle.root(before.size, node) != before.root:
            raise Contradicted(
                "the checkpoint that was published says something else of the ledger than what lies there now: no "
                "other is published until somebody has looked (docs/evidence.md)",
                server=LEDGER,
            )

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._asking() as database:
            database.execute("BEGIN IMMEDIATE")
            try:
                yield database
            except BaseException:
                database.execute("ROLLBACK")
                raise
            database.execute("COMMIT")

    @contextmanager
    def _asking(self) -> Iterator[sqlite3.Connection]:
        try:
            if self._opened is None:
                self._opened = self._open()
            yield self._opened
        except (sqlite3.OperationalError, OSError) as error:
            self.close()
            raise Unavailable(f"the log in {self._directory}: {error}", server="the log") from None
        except sqlite3.DatabaseError as error:
            self.close()
            raise ConfigurationError(
                f"{self._directory}/state.sqlite cannot be read ({error}): move it away, and it is made anew"
            ) from None

    def _open(self) -> sqlite3.Connection:
        self._directory.mkdir(mode=0o755, parents=True, exist_ok=True)
        database = sqlite3.connect(
            self._directory / "state.sqlite", isolation_level=None, timeout=10, check_same_thread=False
        )
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        database.executescript(SCHEMA)
        return database


class LoggedCovered:
    """How far the notary has come, by Redis and by its log: see `ports.logs.Covered`."""

    def __init__(self, covered: Covered, log: DirectoryLog) -> None:
        self._covered, self._log = covered, log

    def is_another(self) -> bool:
        """See `ports.logs.Covered.is_another`."""
        return self._covered.is_another()

    def accept(self) -> None:
        """See `ports.logs.Covered.accept`."""
        self._covered.accept()

    def covered(self, places: Collection[Place]) -> dict[Place, Reached]:
        """See `ports.logs.Covered.covered`: what either does not hold yet is handled again."""
        found, logged = self._covered.covered(places), self._log.reached()
        return {place: min(found.get(place, logged), logged, key=lambda each: each.next) for place in places}

    def cover(self, reached: Mapping[Place, Reached]) -> None:
        """See `ports.logs.Covered.cover`."""
        self._covered.cover(reached)

    def restart(self, place: Place, position: Position) -> None:
        """See `ports.logs.Covered.restart`: what was logged is closed, and another log goes on."""
        self._log.succeed(Reached(position.offset + 1))
        self._covered.restart(place, position)


class _Growing:
    """A tree that leaves are added to: whole tiles are written at once, the others are kept with the state."""

    def __init__(self, folder: Path, database: sqlite3.Connection, size: int, *, is_open: bool = True) -> None:
        self._folder, self._database, self.size = folder, database, size
        self._pending: dict[int, list[bytes]] = {}
        self._bundle: tuple[int, list[bytes]] = (-1, [])
        """The bundle that was read last, by its number: a case's records stand close together."""
        if not is_open:
            self._pending = _published(folder, size)
        for level, raw in database.execute("SELECT level, raw FROM pending ORDER BY level, at") if is_open else ():
            self._pending.setdefault(level, []).append(raw)
        self._kept = {level: len(found) for level, found in self._pending.items()}

    def add(self, entry: bytes) -> int:
        """One more leaf; its index."""
        index = self.size
        self._pending.setdefault(ENTRIES, []).append(self._bundled(entry))
        self._add(0, index, merkle.leaf_hash(entry))
        self.size += 1
        return index

    def _add(self, level: int, index: int, hash_: bytes) -> None:
        whole = self._pending.setdefault(level, [])
        whole.append(hash_)
        if len(whole) < tiles.WIDTH:
            return
        number = index // tiles.WIDTH
        if level == 0:
            self._write(None, number, tiles.bundle(self._pending.pop(ENTRIES)))
            self._kept[ENTRIES] = -1
        self._write(level, number, b"".join(whole))
        self._pending[level], self._kept[level] = [], -1
        self._add(level + 1, number, merkle.root_of(whole))

    def _bundled(self, entry: bytes) -> bytes:
        """The entry as it stands in its bundle: one that is too large lies beside it."""
        if len(entry) <= tiles.MOST_ENTRY_BYTES:
            return entry
        digest = hashlib.sha256(entry).hexdigest()
        files.write(self._folder / "large" / digest, entry)
        return orjson.dumps({"large": digest, "leaf": base64.b64encode(merkle.leaf_hash(entry)).decode()})

    def keep(self) -> None:
        """Keep the tiles that are not whole with the state."""
        for level, found in {**{each: [] for each in self._kept}, **self._pending}.items():
            kept = self._kept.get(level, 0)
            if kept < 0:  # what was kept has become part of a whole tile
                self._database.execute("DELETE FROM pending WHERE level = ?", (level,))
            begin = max(0, kept)
            rows = [(level, at, raw) for at, raw in enumerate(found[begin:], begin)]
            self._database.executemany("INSERT OR REPLACE INTO pending VALUES (?, ?, ?)", rows)

    def publish(self) -> None:
        """Write the tiles that are not whole, for whoever reads the checkpoint that covers them."""
        for level, number, width in tiles.partial_tiles(self.size):
            found = self._pending[ENTRIES if level is None else level]
            self._write(level, number, tiles.bundle(found) if level is None else b"".join(found), width)

    def tile(self, level: int, number: int, width: int) -> bytes:
        """The first hashes of a tile."""
        if number == (self.size >> tiles.HEIGHT * level) // tiles.WIDTH:
            return b"".join(self._pending.get(level, ())[:width])
        return (self._folder / tiles.tile_path(level, number)).read_bytes()[: width * tiles.HASH_BYTES]

    def hash_at(self, index: int) -> bytes:
        """The hash of a leaf."""
        number, at = divmod(index, tiles.WIDTH)
        return tiles.hashes_in(self.tile(0, number, at + 1))[at]

    def entry(self, index: int) -> bytes:
        """A leaf as it was added."""
        number, at = divmod(index, tiles.WIDTH)
        if number == self.size // tiles.WIDTH:
            found = self._pending[ENTRIES][at]
        else:
            if self._bundle[0] != number:
                self._bundle = number, tiles.entries_in((self._folder / tiles.tile_path(None, number)).read_bytes())
            found = self._bundle[1][at]
        if merkle.leaf_hash(found) == self.hash_at(index):
            return found
        digest: str = orjson.loads(found)["large"]
        return (self._folder / "large" / digest).read_bytes()

    def _write(self, level: int | None, number: int, raw: bytes, width: int = tiles.WIDTH) -> None:
        file = self._folder / tiles.tile_path(level, number, width)
        if file.exists() and file.read_bytes() != raw:  # written by this very log before, or by one of another ledger
            raise Contradicted(
                f"{file} holds another tile than the ledger gives now: nothing is logged any more until somebody has "
                "looked (docs/evidence.md)",
                server=LEDGER,
            )
        files.write(file, raw)


def _published(folder: Path, size: int) -> dict[int, list[bytes]]:
    """The tiles that are not whole of a log that was closed, as far as they were published."""
    found = {}
    for level, number, width in tiles.partial_tiles(size):
        file = folder / tiles.tile_path(level, number, width)
        if file.exists():
            raw = file.read_bytes()
            found[ENTRIES if level is None else level] = (
                tiles.entries_in(raw) if level is None else tiles.hashes_in(raw)
            )
    return found


def _text(file: Path) -> str | None:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None
