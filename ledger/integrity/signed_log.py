"""What is served of an account's signed log: checkpoint, tiles, entries, proofs."""

from __future__ import annotations

from uuid import UUID

from ledger.errors import InputError, NotFound
from ledger.integrity.entries import EntryReader
from ledger.integrity.merkle import HASH_SIZE
from ledger.integrity.note import parse_note
from ledger.integrity.tiles import TILE_HEIGHT, TILE_WIDTH, Tile, format_bundle, format_tile_path
from ledger.integrity.tlog_proof import LogProof
from ledger.integrity.tree import StoredCheckpoint, inclusion_of, read_newest_checkpoint, read_tiles, read_tree
from ledger.store.database import Database


class SignedLog:
    """The signed log of one account. Only what a checkpoint covers is shown."""

    def __init__(self, database: Database, account_id: UUID) -> None:
        self._database = database
        self._account_id = account_id

    def checkpoint(self) -> StoredCheckpoint:
        """The newest one. Raises NotFound where nothing was signed yet."""
        with self._database.transaction(self._account_id) as connection:
            newest = read_newest_checkpoint(connection, self._account_id)
        if newest is None:
            raise NotFound(
                "The account's log has no checkpoint yet. It gets one within a second of its first event, where "
                "sealing is on: see `ledger seal` and LEDGER_LOG_KEY_FILE."
            )
        return newest

    def tile(self, tile: Tile) -> bytes:
        """The hashes of a tile, or the entries of a bundle, as they are served. Raises NotFound for one that the tree
        does not have in this width."""
        with self._database.transaction(self._account_id) as connection:
            size = read_tree(connection, self._account_id).size
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
        with self._database.transaction(self._account_id) as connection:
            entries = EntryReader(self._account_id).read(connection, position - 1, position) if position > 0 else []
        if not entries:
            raise NotFound(f"The log has no event at position {position}.")
        return entries[0]

    def proof(self, position: int) -> LogProof:
        """That the event at a position is in the log, as of the newest checkpoint. Raises NotFound."""
        newest = self.checkpoint()
        if position < 1:
            raise InputError(f"Positions count from 1; found {position}.")
        if position > newest.size:
            raise NotFound(f"The newest checkpoint covers {newest.size} events, not yet position {position}.")
        with self._database.transaction(self._account_id) as connection:
            path = inclusion_of(connection, self._account_id, position - 1, newest.size)
        return LogProof(position - 1, tuple(path), parse_note(newest.note.encode()))
