"""The tree as tiles, and entries in bundles, as c2sp.org/tlog-tiles lays them out. Pure.

A tile of level L holds up to 256 hashes, each over 256**L leaves. Only the tiles at the right edge are narrower, and
a narrower tile is the beginning of the wider one that takes its place.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from ledger.errors import InputError
from ledger.integrity.merkle import HASH_SIZE, NodeAt, paired, subtree_hash

TILE_WIDTH = 256
TILE_SIZE = TILE_WIDTH * HASH_SIZE
"""Bytes of a full tile."""
TILE_HEIGHT = 8
"""Levels of the tree in a tile: 2**8 hashes are its width."""
TILE_LEVEL_MAX = 63
ENTRY_SIZE_MAX = 65_535
"""Bytes; the length in a bundle is an unsigned 16-bit number."""
ENTRIES = "entries"
"""Stands in a path for the level, where a bundle of entries is meant."""

_PATH = re.compile(
    r"tile/(?P<level>entries|0|[1-9][0-9]?)/(?P<number>(x[0-9]{3}/)*[0-9]{3})(\.p/(?P<width>[1-9][0-9]{0,2}))?"
)


class Tile(NamedTuple):
    """Which tile: the `number`th of its level, from 0, with `width` hashes. Level None: a bundle of `width` entries."""

    level: int | None
    number: int
    width: int = TILE_WIDTH


TileAt = Callable[[int, int], bytes]
"""From level and number to the widest tile that is known there."""


def format_tile_path(tile: Tile) -> str:
    """The path below the log's prefix: `tile/0/x001/x234/067.p/5`."""
    groups = [f"{tile.number % 1000:03}"]
    rest = tile.number // 1000
    while rest:
        groups.append(f"x{rest % 1000:03}")
        rest //= 1000
    level = ENTRIES if tile.level is None else tile.level
    partial = "" if tile.width == TILE_WIDTH else f".p/{tile.width}"
    return f"tile/{level}/{'/'.join(reversed(groups))}{partial}"


def parse_tile_path(path: str) -> Tile:
    """The inverse of format_tile_path; each tile has one path only. Raises InputError."""
    found = _PATH.fullmatch(path)
    if found:
        level = None if found["level"] == ENTRIES else int(found["level"])
        number = int(found["number"].replace("/", "").replace("x", ""))
        tile = Tile(level, number, int(found["width"] or TILE_WIDTH))
        if (level or 0) <= TILE_LEVEL_MAX and format_tile_path(tile) == path:
            return tile
    raise InputError(
        f"There is no tile at {path[:80]!r}. Expected tile/LEVEL/NUMBER or tile/entries/NUMBER, with .p/WIDTH behind "
        "it for a partial one, as in tile/0/x001/x234/067.p/5 (see c2sp.org/tlog-tiles)."
    )


def tiles_of(size: int) -> list[Tile]:
    """The last tile of each level in the tree of `size` leaves, narrow or full, level 0 first."""
    last: list[Tile] = []
    hashes = size
    while hashes:
        number = (hashes - 1) // TILE_WIDTH
        last.append(Tile(len(last), number, hashes - number * TILE_WIDTH))
        hashes //= TILE_WIDTH
    return last


def all_tiles(size: int, *, after: int = 0) -> Iterator[Tile]:
    """The tiles of the tree of `size` leaves that are not, as wide, in the tree of `after`: those to be written."""
    level = 0
    while size >> (TILE_HEIGHT * level):
        before, hashes = after >> (TILE_HEIGHT * level), size >> (TILE_HEIGHT * level)
        for number in range(before // TILE_WIDTH, (hashes + TILE_WIDTH - 1) // TILE_WIDTH):
            width = min(TILE_WIDTH, hashes - number * TILE_WIDTH)
            if number * TILE_WIDTH + width > before:
                yield Tile(level, number, width)
        level += 1


def grow(size: int, edge: Mapping[tuple[int, int], bytes], leaves: Sequence[bytes]) -> dict[tuple[int, int], bytes]:
    """The tiles, by level and number, that change when leaf hashes are added to the tree of `size` leaves, whose last
    tiles are in `edge`."""
    grown: dict[tuple[int, int], bytes] = {}
    level, before, row = 0, size, b"".join(leaves)
    while row:
        number, width = divmod(before, TILE_WIDTH)
        hashes = (edge[level, number] if width else b"") + row
        above: list[bytes] = []
        for at in range(0, len(hashes), TILE_SIZE):
            tile = grown[level, number] = hashes[at : at + TILE_SIZE]
            if len(tile) == TILE_SIZE:
                above.append(tile_hash(tile))
            number += 1
        level, before, row = level + 1, before // TILE_WIDTH, b"".join(above)
    return grown


def tile_hash(hashes: bytes) -> bytes:
    """The hash over a full tile: one hash of the level above."""
    row = split_hashes(hashes)
    assert len(row) == TILE_WIDTH
    while len(row) > 1:
        row = paired(row)
    return row[0]


def split_hashes(hashes: bytes) -> list[bytes]:
    """The hashes that stand in a tile."""
    return [hashes[at : at + HASH_SIZE] for at in range(0, len(hashes), HASH_SIZE)]


def nodes_in_tiles(tile_at: TileAt) -> NodeAt:
    """The nodes of the tree, computed from its tiles when they are asked for; each tile is hashed once."""
    rows: dict[tuple[int, int], list[list[bytes]]] = {}

    def node_at(level: int, index: int) -> bytes:
        tile_level, height = divmod(level, TILE_HEIGHT)
        number = (index << height) // TILE_WIDTH
        known = rows.get((tile_level, number))
        if known is None:
            known = rows[tile_level, number] = [split_hashes(tile_at(tile_level, number))]
        while len(known) <= height:
            known.append(paired(known[-1][: len(known[-1]) & ~1]))
        row, at = known[height], index - (number * TILE_WIDTH >> height)
        assert at < len(row), "the tile is as wide as the tree says"
        return row[at]

    return node_at


def root_in_tiles(size: int, tile_at: TileAt) -> bytes:
    """The root of the tree of `size` leaves; looks at the last tile of each level only."""
    return subtree_hash(0, size, nodes_in_tiles(tile_at))


def format_bundle(entries: Sequence[bytes]) -> bytes:
    """Entries as they are served: each behind its length, an unsigned 16-bit number, big-endian."""
    assert all(len(entry) <= ENTRY_SIZE_MAX for entry in entries)
    return b"".join(len(entry).to_bytes(2) + entry for entry in entries)


def parse_bundle(bundle: bytes) -> list[bytes]:
    """The inverse of format_bundle. Raises InputError for one that ends within an entry."""
    entries: list[bytes] = []
    at = 0
    while at < len(bundle):
        end = at + 2 + int.from_bytes(bundle[at : at + 2])
        if at + 2 > len(bundle) or end > len(bundle):
            raise InputError(f"The bundle of entries ends within entry {len(entries)}, at byte {len(bundle)}.")
        entries.append(bundle[at + 2 : end])
        at = end
    return entries
