"""Reading record batches so that nothing in one of them ends the client, or stops it (rule "third death").

kafka-python 3.0.12 raises out of `poll`, for ever, at a batch in a codec that is not installed, and spins at a header
whose key is not UTF-8. What it cannot read comes here as records without a value that say why; their place is known, so
they are set aside and the partition goes on.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from kafka.record import memory_records
from kafka.record.default_records import DefaultRecord, DefaultRecordBatch


class Broken(bytes):
    """Stands in the headers of a record that could not be read: the class of the error.

    It is known by its type, for whatever is only spelled like it may have been sent by anybody.
    """


PATIENCE = 3
"""So often a batch with a wrong checksum is fetched again: it may have been right at the broker."""


class _Lenient(bytearray):
    """Bytes whose text may be of any encoding: names of headers decide nothing here."""

    def __getitem__(self, at: Any) -> Any:
        found = super().__getitem__(at)
        return _Lenient(found) if isinstance(at, slice) else found

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        del errors
        return bytes(self).decode(encoding, "replace")


class TolerantBatch(DefaultRecordBatch):  # type: ignore[misc]  # the client has no types
    """A batch that always comes to its end."""

    __slots__ = ("_left", "_why")
    _seen: Counter[tuple[int, int]] = Counter()

    def __init__(self, buffer: Any) -> None:
        super().__init__(buffer)
        self._why, self._left = "", iter(())

    def validate_crc(self) -> bool:
        """Whether the checksum is right; after a few times a wrong one makes the batch unreadable, and no error."""
        if super().validate_crc():
            return True
        place = (self.base_offset, self.crc)
        self._seen[place] += 1
        if self._seen[place] < PATIENCE:
            return False
        self._seen.clear()
        self._break("CorruptRecordError")
        return True

    def __iter__(self) -> TolerantBatch:
        if not self._why:
            try:
                self._maybe_uncompress()
            except Exception as error:  # noqa: BLE001 - codecs raise what they like at bytes that others have made
                self._break(type(error).__name__)
        return self

    def __next__(self) -> Any:
        if self._why:
            return next(self._left)
        try:
            return super().__next__()
        except StopIteration:
            raise
        except Exception as error:  # noqa: BLE001 - see above
            self._break(type(error).__name__)
            return next(self._left)

    def _read_msg(self, *arguments: Any) -> Any:
        this: Any = self
        before = this._pos  # noqa: SLF001 - its own, which the type checker cannot see
        try:
            return super()._read_msg(*arguments)
        except UnicodeDecodeError:
            this._pos, this._buffer = before, _Lenient(this._buffer)  # noqa: SLF001 - as above
            return super()._read_msg(*arguments)

    def _break(self, why: str) -> None:
        """From here on nothing can be read: each record that is left stands for itself, and says so."""
        first = self.base_offset + self._next_record_index
        headers = [("", Broken(why.encode()))]
        self._why = why
        self._left = (
            DefaultRecord(0, offset, self.max_timestamp, self.timestamp_type, None, None, headers)
            for offset in range(first, self.base_offset + self.last_offset_delta + 1)
        )


def install() -> None:
    """Have the client read with this; it offers no other way."""
    memory_records.DefaultRecordBatch = TolerantBatch
