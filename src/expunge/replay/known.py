"""What cases know already of what indexers tell them again: an open case would only look once more where it has been.

A case that was never told, for the message was lost or its indexer died before it was sent, knows nothing: that the
index knows an asset says nothing of its cases.
"""

from __future__ import annotations

from expunge.domain.events import Outgoing
from expunge.domain.lineage.marks import is_planned
from expunge.domain.lineage.walk import asked_of
from expunge.domain.partition import partition_of
from expunge.domain.scope import Arrival
from expunge.ports import CaseStore, Index, PartitionReader
from expunge.wire.cases.case import HoldingKnown, Late
from expunge.wire.cases.said import home_of
from expunge.wire.cases.table import TYPE_OF


class Known:
    """Holds what is said to cases against the marks that they have left."""

    def __init__(self, store: CaseStore, index: Index, partitions: int) -> None:
        # partitions: of `cases`.
        self._store, self._index, self._partitions = store, index, partitions

    def home(self, message: Outgoing) -> int:
        """The partition of `cases` that a message is for."""
        told = message.partition
        return told if told is not None else partition_of(home_of(message.key), self._partitions)

    def has_heard(self, message: Outgoing) -> bool:
        """Whether the case of a `Late` has been at all that it names, and nothing of that has come back."""
        if message.event is None or message.event.type != TYPE_OF[Late]:
            return False
        said = Late.model_validate(message.event.data)
        keys = [bytes.fromhex(each.key) for each in said.assets]
        found = zip(said.assets, self._index.rows(keys), self._index.marks(keys), strict=True)
        return all(
            not each.returned and is_planned(said.case_id, row.encode() if row else None, Arrival(each.arrival), marks)
            for each, row, marks in found
        )

    def has_asked(self, case_id: str, message: Outgoing) -> bool:
        """Whether a case has asked the holding that a `HoldingKnown` names, or has nothing to ask it for."""
        if message.event is None or message.event.type != TYPE_OF[HoldingKnown]:
            return False
        key = bytes.fromhex(message.event.data["holding"])
        (row,), (marks,) = self._index.rows([key]), self._index.marks([key])
        root = self._reader(case_id).root(case_id)
        if row is None or root is None:
            return False
        return not asked_of(row, root.scope) or is_planned(case_id, row.encode(), Arrival.THROUGH, marks)

    def _reader(self, case_id: str) -> PartitionReader:
        return self._store.reader(partition_of(case_id, self._partitions))
