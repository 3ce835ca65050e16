"""The account's tree as the database keeps it: how far it is, its tiles, its checkpoints.

What is read here was computed from the events once and may have been altered since: who rests something on it checks
it against a root that was signed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from psycopg import Connection

from ledger.errors import IntegrityFailed
from ledger.integrity.checkpoint import Checkpoint, parse_checkpoint
from ledger.integrity.merkle import EMPTY_ROOT, HASH_SIZE, NodeAt, prove_consistency
from ledger.integrity.note import Key, open_note, parse_note
from ledger.integrity.tiles import (
    TILE_HEIGHT,
    TILE_WIDTH,
    Tile,
    nodes_in_tiles,
    root_in_tiles,
    tiles_of,
)

TileKey = tuple[int, int]
"""Level and number."""

_TREE = "SELECT size, root FROM log_trees WHERE account_id = %s"
_ADD_TREE = """
    INSERT INTO log_trees (account_id, size, root) VALUES (%(account)s, %(size)s, %(root)s) ON CONFLICT DO NOTHING
"""
_MOVE_TREE = """
    UPDATE log_trees SET size = %(size)s, root = %(root)s
    WHERE account_id = %(account)s AND size = %(old_size)s AND root = %(old_root)s
"""
_TILES = """
    SELECT level, number, hashes FROM log_tiles
    WHERE account_id = %s AND (level, number) IN (SELECT * FROM unnest(%s::smallint[], %s::bigint[]))
"""
_WRITE_TILE = """
    INSERT INTO log_tiles (account_id, level, number, hashes) VALUES (%s, %s, %s, %s)
    ON CONFLICT (account_id, level, number) DO UPDATE SET hashes = excluded.hashes
"""
_NEWEST = """
    SELECT size, root, note FROM log_checkpoints WHERE account_id = %s ORDER BY size DESC LIMIT 1
"""
_CHECKPOINTS = "SELECT size, root, note FROM log_checkpoints WHERE account_id = %s ORDER BY size"
_UPPER_TILES = "SELECT level, number, hashes FROM log_tiles WHERE account_id = %s AND level > 0"
_TILE_COUNTS = """
    SELECT count(*), coalesce(sum(octet_length(hashes)), 0)::bigint FROM log_tiles WHERE account_id = %s AND level = 0
"""
_ADD_CHECKPOINT = """
    INSERT INTO log_checkpoints (account_id, size, root, note) VALUES (%s, %s, %s, %s)
"""


class Tree(NamedTuple):
    """How far an account's tiles are."""

    size: int
    root: bytes


class StoredCheckpoint(NamedTuple):
    """A signed checkpoint as it is served. size and root stand in the note too."""

    size: int
    root: bytes
    note: str


def read_tree(connection: Connection[Any], account_id: UUID, *, lock: bool = False) -> Tree:
    """The account's tree; with `lock`, nobody else moves it before this transaction ends."""
    row = connection.execute(_TREE + (" FOR UPDATE" if lock else ""), (account_id,)).fetchone()
    return Tree(row[0], bytes(row[1])) if row else Tree(0, EMPTY_ROOT)


def read_head(connection: Connection[Any], account_id: UUID) -> int:
    """The position of the account's newest event."""
    row = connection.execute("SELECT head FROM accounts WHERE account_id = %s", (account_id,)).fetchone()
    return row[0] if row else 0


def read_last_position(connection: Connection[Any]) -> int:
    """The highest position that an event of the account has, whatever its head says."""
    row = connection.execute("SELECT coalesce(max(position), 0) FROM account_events").fetchone()
    assert row is not None
    return int(row[0])


def move_tree(
    connection: Connection[Any], account_id: UUID, before: Tree, after: Tree, tiles: Mapping[TileKey, bytes]
) -> bool:
    """Writes the tiles that changed and how far the tree is now. False, and nothing written: the tree is no longer
    where it was."""
    names = {"account": account_id, "size": after.size, "root": after.root}
    if before.size:
        moved = connection.execute(_MOVE_TREE, names | {"old_size": before.size, "old_root": before.root})
    else:  # two who begin a tree: the second waits for the first here, and adds nothing
        moved = connection.execute(_ADD_TREE, names)
    if moved.rowcount != 1:
        return False
    connection.cursor().executemany(_WRITE_TILE, [(account_id, *key, hashes) for key, hashes in tiles.items()])
    return True


def read_tiles(connection: Connection[Any], account_id: UUID, keys: Iterable[TileKey]) -> dict[TileKey, bytes]:
    """Those of the tiles that are there."""
    wanted = list(dict.fromkeys(keys))
    columns = [level for level, _ in wanted], [number for _, number in wanted]
    rows = connection.cursor(binary=True).execute(_TILES, (account_id, *columns)).fetchall()
    return {(level, number): hashes for level, number, hashes in rows}


def read_edge(connection: Connection[Any], account_id: UUID, tree: Tree) -> dict[TileKey, bytes]:
    """The last tile of each level. Raises IntegrityFailed where they do not give the root."""
    tiles = read_tiles(connection, account_id, [key_of(tile) for tile in tiles_of(tree.size)])
    for tile in tiles_of(tree.size):
        if len(tiles.get(key_of(tile), b"")) != tile.width * HASH_SIZE:
            raise IntegrityFailed(_altered(tree, f"the tile of level {tile.level}, number {tile.number} is not whole"))
    if root_in_tiles(tree.size, lambda level, number: tiles[level, number]) != tree.root:
        raise IntegrityFailed(_altered(tree, "its last tiles do not give its root"))
    return tiles


def nodes_of_tree(connection: Connection[Any], account_id: UUID, size: int, ahead: Iterable[TileKey] = ()) -> NodeAt:
    """The nodes of the tree of `size` leaves, from tiles that are read when they are needed; `ahead` and the last ones
    at once. Raises IntegrityFailed for a tile that is missing or too narrow."""
    known = read_tiles(connection, account_id, [*(key_of(tile) for tile in tiles_of(size)), *ahead])

    def tile_at(level: int, number: int) -> bytes:
        if (level, number) not in known:
            known.update(read_tiles(connection, account_id, [(level, number)]))
        width = min(TILE_WIDTH, (size >> TILE_HEIGHT * level) - number * TILE_WIDTH)
        hashes = known.get((level, number), b"")[: width * HASH_SIZE]
        if len(hashes) < width * HASH_SIZE:
            raise IntegrityFailed(f"The tile of level {level}, number {number} is not whole: see `ledger verify`.")
        return hashes

    return nodes_in_tiles(tile_at)


def consistency_of(connection: Connection[Any], account_id: UUID, first: int, second: int) -> list[bytes] | None:
    """The proof that the tree of `first` leaves begins that of `second`; None where a tile is not whole."""
    try:
        ahead = [key_of(tile) for tile in tiles_of(first)]
        return prove_consistency(first, second, nodes_of_tree(connection, account_id, second, ahead))
    except IntegrityFailed:
        return None


def open_checkpoint(stored: StoredCheckpoint, trusted: Sequence[Key]) -> Checkpoint:
    """What a stored checkpoint says, signed by a trusted key. Raises InputError, IntegrityFailed."""
    note = parse_note(stored.note.encode())
    open_note(note, trusted)
    checkpoint = parse_checkpoint(note.text)
    if (checkpoint.size, checkpoint.root) != (stored.size, stored.root):
        raise IntegrityFailed(f"The note of the checkpoint of size {stored.size} is of another size or root.")
    return checkpoint


def key_of(tile: Tile) -> TileKey:
    assert tile.level is not None, "a tile of hashes"
    return tile.level, tile.number


def read_newest_checkpoint(connection: Connection[Any], account_id: UUID) -> StoredCheckpoint | None:
    row = connection.execute(_NEWEST, (account_id,)).fetchone()
    return StoredCheckpoint(row[0], bytes(row[1]), row[2]) if row else None


def read_checkpoints(connection: Connection[Any], account_id: UUID) -> list[StoredCheckpoint]:
    """All of them, by size."""
    rows = connection.execute(_CHECKPOINTS, (account_id,))
    return [StoredCheckpoint(size, bytes(root), note) for size, root, note in rows]


def read_upper_tiles(connection: Connection[Any], account_id: UUID) -> dict[TileKey, bytes]:
    """The tiles above level 0."""
    rows = connection.cursor(binary=True).execute(_UPPER_TILES, (account_id,))
    return {(level, number): hashes for level, number, hashes in rows}


def read_tile_counts(connection: Connection[Any], account_id: UUID) -> tuple[int, int]:
    """How many tiles of level 0 there are, and how many bytes of hashes are in them."""
    row = connection.execute(_TILE_COUNTS, (account_id,)).fetchone()
    assert row is not None
    return row[0], row[1]


def add_checkpoint(connection: Connection[Any], account_id: UUID, checkpoint: StoredCheckpoint) -> None:
    """Raises the driver's IntegrityError where one of this size or a larger one is there."""
    connection.execute(_ADD_CHECKPOINT, (account_id, checkpoint.size, checkpoint.root, checkpoint.note))


def _altered(tree: Tree, how: str) -> str:
    return f"The tree of {tree.size} leaves was altered: {how}. Nothing is signed. `ledger verify` tells more."
