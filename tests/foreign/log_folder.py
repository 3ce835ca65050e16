"""Logs of made-up entries as folders of files (c2sp.org/tlog-tiles), with checkpoints and proofs of any size."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

from ledger.integrity.checkpoint import Checkpoint, format_checkpoint
from ledger.integrity.merkle import HASH_SIZE, NodeAt, leaf_hash, prove_consistency, prove_inclusion, subtree_hash
from ledger.integrity.note import Note, SigningKey, sign_note
from ledger.integrity.tiles import (
    ENTRY_SIZE_MAX,
    TILE_WIDTH,
    all_tiles,
    format_bundle,
    format_tile_path,
    grow,
    nodes_in_tiles,
)


class LogFolder:
    """A log that was published at each of `sizes`: every tile and bundle that any of those trees has is a file, and
    the checkpoint that of the largest."""

    def __init__(self, folder: Path, key: SigningKey, sizes: Sequence[int], chance: random.Random) -> None:
        self.folder = folder
        self.key = key
        self.entries = make_entries(max(sizes), chance)
        self._tiles = grow(0, {}, [leaf_hash(entry) for entry in self.entries])
        self._node_at: NodeAt = nodes_in_tiles(lambda level, number: self._tiles[level, number])
        for size in sorted(sizes, reverse=True):
            self._write(size)

    def checkpoint(self, size: int) -> Checkpoint:
        return Checkpoint(self.key.name, size, subtree_hash(0, size, self._node_at))

    def note(self, size: int) -> Note:
        return sign_note(format_checkpoint(self.checkpoint(size)), [self.key])

    def inclusion(self, index: int, size: int) -> list[bytes]:
        return prove_inclusion(index, size, self._node_at)

    def consistency(self, first: int, second: int) -> list[bytes]:
        return prove_consistency(first, second, self._node_at)

    def _write(self, size: int) -> None:
        for tile in all_tiles(size):
            assert tile.level is not None
            first = tile.number * TILE_WIDTH
            self._put(format_tile_path(tile), self._tiles[tile.level, tile.number][: tile.width * HASH_SIZE])
            if tile.level == 0:
                bundle = format_bundle(self.entries[first : first + tile.width])
                self._put(format_tile_path(tile._replace(level=None)), bundle)
        self._put("checkpoint", self.note(size).format().encode())

    def _put(self, path: str, content: bytes) -> None:
        file = self.folder / path
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)


def make_entries(count: int, chance: random.Random) -> list[bytes]:
    """Short entries, among the first ones an empty one and one of the greatest length."""
    salt = chance.randbytes(8)
    special = [b"", chance.randbytes(ENTRY_SIZE_MAX)]
    return [*special, *(salt + index.to_bytes(8) for index in range(2, count))][:count]
