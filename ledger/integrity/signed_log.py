"""What is served of an account's signed log: checkpoint, tiles, entries, proofs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple
from uuid import UUID

from ledger.errors import NotFound
from ledger.ids import run_stream_id
from ledger.integrity.cosignatures import newest_that_meets, with_cosignatures
from ledger.integrity.entries import WINDOW_EVENTS, EntryReader, read_run_positions, read_sealed
from ledger.integrity.leaf import Sealed
from ledger.integrity.merkle import HASH_SIZE, prove_inclusion
from ledger.integrity.note import parse_note
from ledger.integrity.policy import Policy
from ledger.integrity.tiles import TILE_HEIGHT, TILE_WIDTH, Tile, format_bundle, format_tile_path
from ledger.integrity.tlog_proof import LogProof
from ledger.integrity.tree import StoredCheckpoint, nodes_of_tree, read_newest_checkpoint, read_tiles
from ledger.store.database import Database


class Disclosed(NamedTuple):
    """An event as somebody is shown it who is to check it himself."""

    entry: bytes
    proof: LogProof
    event: Sealed
    """Its salt, stream id and payload, which the entry commits to; None where they were erased."""


class SignedLog:
    """The signed log of one account. Only what a checkpoint covers is shown."""

    def __init__(self, database: Database, account_id: UUID) -> None:
        self._database = database
        self._account_id = account_id

    def checkpoint(self) -> StoredCheckpoint:
        """The newest one, with the cosignatures that it has already. Raises NotFound where nothing was signed yet."""
        with self._database.transaction(self._account_id) as connection:
            newest = read_newest_checkpoint(connection, self._account_id)
            if newest is not None:
                return with_cosignatures(connection, self._account_id, newest)
        raise NotFound(
            "The account's log has no checkpoint yet. It gets one within a second of its first event, where sealing is "
            "on: see `ledger seal` and LEDGER_LOG_KEY_FILE."
        )

    def witnessed_checkpoint(self, policy: Policy) -> StoredCheckpoint:
        """The newest one whose cosignatures meet the policy, with them. Raises NotFound where there is none."""
        found = newest_that_meets(self._database, self._account_id, policy)
        if found is None:
            raise NotFound(
                "No checkpoint of the account's log has the cosignatures that the policy asks for. /readyz and the log "
                "of the process tell how the witnesses fare; `ledger log witness` asks them now."
            )
        return found

    def tile(self, tile: Tile) -> bytes:
        """The hashes of a tile, or the entries of a bundle, as they are served. Raises NotFound for one that the tree
        does not have in this width."""
        with self._database.transaction(self._account_id) as connection:
            newest = read_newest_checkpoint(connection, self._account_id)
            size = newest.size if newest else 0
            level = tile.level or 0
            first = tile.number * TILE_WIDTH
            if first + tile.width > size >> TILE_HEIGHT * level:
                raise NotFound(f"The log has no {format_tile_path(tile)}: it has {size} entries.")
            if tile.level is None:
                return format_bundle(EntryReader(self._account_id).read(connection, first, first + tile.width))
            found = read_tiles(connection, self._account_id, [(level, tile.number)])
        hashes = found.get((level, tile.number), b"")[: tile.width * HASH_SIZE]
        if len(hashes) != tile.width * HASH_SIZE:
            raise NotFound(f"The log has lost {format_tile_path(tile)}. `ledger verify` tells more.")
        return hashes

    def entry(self, position: int) -> bytes:
        """The entry of the event at a position. Raises NotFound."""
        return next(iter(self.disclose([position]))).entry

    def proof(self, position: int) -> LogProof:
        """That the event at a position is in the log, as of the newest checkpoint. Raises NotFound."""
        return next(iter(self.disclose([position]))).proof

    def disclose(self, positions: Sequence[int]) -> Iterator[Disclosed]:
        """Entry, proof and what the entry commits to, of the events at these positions, in order. Raises NotFound for
        one that the newest checkpoint does not cover."""
        newest = self.checkpoint()
        for position in positions:
            if not 1 <= position <= newest.size:
                raise NotFound(
                    f"The newest checkpoint covers the positions 1 to {newest.size}, not {position}. A new event is "
                    "covered within a second of its recording, where sealing is on."
                )
        note = parse_note(newest.note.encode())
        with self._database.transaction(self._account_id) as connection:
            nodes = nodes_of_tree(connection, self._account_id, newest.size)
            reader = EntryReader(self._account_id)
            for first, last in _ranges(positions):
                rows = read_sealed(connection, first - 1, last)
                for row, entry in zip(rows, reader.read(connection, first - 1, last), strict=True):
                    path = prove_inclusion(row.position - 1, newest.size, nodes)
                    yield Disclosed(entry, LogProof(row.position - 1, tuple(path), note), row)

    def positions_of(self, run_id: str) -> list[int]:
        """Where the events of a run stand: its own, and its changes. Raises NotFound."""
        stream = run_stream_id(self._account_id, run_id)
        with self._database.transaction(self._account_id) as connection:
            positions = read_run_positions(connection, stream)
        if not positions:
            raise NotFound(f"There is no run {run_id} in this account.", run_id=run_id)
        return positions


def _ranges(positions: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Positions in order as ranges, both ends included, none wider than a window."""
    begun: tuple[int, int] | None = None
    for position in positions:
        if begun is not None and position == begun[1] + 1 and position - begun[0] < WINDOW_EVENTS:
            begun = (begun[0], position)
        else:
            if begun is not None:
                yield begun
            begun = (position, position)
    if begun is not None:
        yield begun
