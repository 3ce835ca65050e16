from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from ledger.errors import InputError
from ledger.integrity.checkpoint import parse_checkpoint
from ledger.integrity.merkle import leaf_hash, nodes_of, root_of
from ledger.integrity.note import parse_note
from ledger.integrity.tiles import (
    TILE_WIDTH,
    Tile,
    all_tiles,
    format_bundle,
    format_tile_path,
    nodes_in_tiles,
    parse_bundle,
    parse_tile_path,
    root_in_tiles,
    tile_hash,
    tiles_of,
)
from tests.vectors import VECTORS, needs_vectors, read_vectors

RECORDED = VECTORS / "transparency-dev-tessera/testdata/log"


def build(leaves: list[bytes]) -> dict[tuple[int, int], bytes]:
    """All tiles over the leaf hashes, by level and number."""
    tiles: dict[tuple[int, int], bytes] = {}
    level, row = 0, leaves
    while row:
        for number in range(0, len(row), TILE_WIDTH):
            tiles[level, number // TILE_WIDTH] = b"".join(row[number : number + TILE_WIDTH])
        row = [tile_hash(tiles[level, number]) for number in range(len(row) // TILE_WIDTH)]
        level += 1
    return tiles


@needs_vectors
def test_paths_are_those_of_the_specification() -> None:
    path, *sizes = read_vectors("derived/tile_paths.json")["cases"]
    assert format_tile_path(Tile(path["level"], path["n"])) == path["path"]
    for case in sizes:
        found = {
            str(tile.level): {
                "full": tile.number + (tile.width == TILE_WIDTH),
                "partial": tile.width % TILE_WIDTH,
            }
            for tile in tiles_of(case["tree_size"])
        }
        assert found == case["tiles"]


@pytest.mark.parametrize("number", [0, 1, 999, 1000, 1_234_067, 999_999, 1_000_000, 10**12 + 7])
@pytest.mark.parametrize("level", [None, 0, 1, 63])
@pytest.mark.parametrize("width", [1, 255, 256])
def test_path_of_a_tile_is_read_back(level: int | None, number: int, width: int) -> None:
    tile = Tile(level, number, width)
    assert parse_tile_path(format_tile_path(tile)) == tile


@pytest.mark.parametrize(
    "path",
    [
        "tile/0/0", "tile/00/000", "tile/64/000", "tile/-1/000", "tile/0/x000/001", "tile/0/001/002", "tile/0/000.p/0",
        "tile/0/000.p/256", "tile/0/000.p/01", "tile/0/000/", "tile/0/x001", "tile/entry/000", "/tile/0/000",
        "tile/0/000\n", "tile/0/٠٠٠", "tile/data/000", "tile/0/../000", "",
    ],
)  # fmt: skip
def test_what_is_no_path_of_a_tile_is_refused(path: str) -> None:
    with pytest.raises(InputError, match="There is no tile"):
        parse_tile_path(path)


@needs_vectors
def test_recorded_log_is_built_again_byte_for_byte() -> None:
    entries: list[bytes] = []
    for size in range(16):
        checkpoint = parse_checkpoint(parse_note((RECORDED / f"checkpoint.{size}").read_bytes()).text)
        if size:
            entries = parse_bundle((RECORDED / f"tile/entries/000.p/{size}").read_bytes())
            assert (RECORDED / f"tile/entries/000.p/{size}").read_bytes() == format_bundle(entries)
        leaves = [leaf_hash(entry) for entry in entries]
        tiles = build(leaves)
        for tile in tiles_of(size):
            level, number, _ = tile
            assert (RECORDED / format_tile_path(tile)).read_bytes() == tiles[level or 0, number]
        found = root_in_tiles(size, lambda level, number, tiles=tiles: tiles[level, number])  # type: ignore[misc]
        assert (checkpoint.size, checkpoint.root) == (size, found)
    assert len(entries) == 15


def sizes() -> Iterator[int]:
    return iter((0, 1, 2, 255, 256, 257, 511, 512, 513, 65_535, 65_536, 65_537))


def test_tiles_and_leaves_give_the_same_hashes() -> None:
    leaves = [leaf_hash(number.to_bytes(4)) for number in range(max(sizes()))]
    for size in sizes():
        tiles = build(leaves[:size])
        assert root_in_tiles(size, lambda level, number, tiles=tiles: tiles[level, number]) == root_of(leaves[:size])  # type: ignore[misc]
    in_tiles, in_leaves = nodes_in_tiles(lambda level, number: tiles[level, number]), nodes_of(leaves)
    for level, index in [(0, 65_536), (1, 300), (7, 3), (8, 0), (8, 255), (9, 127), (12, 15), (15, 1), (16, 0)]:
        assert in_tiles(level, index) == in_leaves(level, index)


def test_tiles_to_be_written_are_those_that_grew() -> None:
    assert list(all_tiles(0)) == []
    assert list(all_tiles(3)) == [Tile(0, 0, 3)]
    assert list(all_tiles(3, after=3)) == []
    assert list(all_tiles(256, after=255)) == [Tile(0, 0, 256), Tile(1, 0, 1)]
    assert list(all_tiles(513, after=256)) == [Tile(0, 1, 256), Tile(0, 2, 1), Tile(1, 0, 2)]
    for after in range(0, 700, 37):
        grown = set(all_tiles(700, after=after)) | set(all_tiles(after))
        last = {(tile.level, tile.number): tile for tile in sorted(grown, key=lambda each: each.width)}
        assert set(last.values()) == set(all_tiles(700))


def test_paths_below_the_prefix_differ() -> None:
    paths = [format_tile_path(tile) for tile in all_tiles(70_000)]
    assert len(set(paths)) == len(paths) == 274 + 2 + 1
    assert all(re.fullmatch(r"[a-z0-9/.]+", path) for path in paths)


def test_bundle_that_ends_early_is_refused() -> None:
    bundle = format_bundle([b"", b"a", b"b" * 65_535])
    assert parse_bundle(bundle) == [b"", b"a", b"b" * 65_535]
    for end in (1, 3, 4, len(bundle) - 1):
        with pytest.raises(InputError, match="ends within entry"):
            parse_bundle(bundle[:end])
