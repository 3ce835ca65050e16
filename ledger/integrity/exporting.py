"""The signed log as static files, at the paths of c2sp.org/tlog-tiles: any web server can serve them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ledger.errors import InputError
from ledger.integrity.signed_log import SignedLog
from ledger.integrity.tiles import TILE_WIDTH, Tile, all_tiles, format_tile_path


def export_log(log: SignedLog, folder: Path, on_progress: Callable[[int, int], None] = lambda _done, _all: None) -> int:
    """Writes the log up to its newest checkpoint; what an earlier export wrote whole is not written again. The number
    of events. Raises InputError where the folder cannot be written.

    The checkpoint comes last: whoever reads the folder meanwhile finds all that the checkpoint there promises.
    """
    newest = log.checkpoint()
    written = 0
    try:
        for tile in all_tiles(newest.size):
            for each in (tile, tile._replace(level=None)) if tile.level == 0 else (tile,):
                _write_tile(log, folder, each)
            if tile.level == 0:
                written += tile.width
                on_progress(written, newest.size)
        _write(folder / "checkpoint", newest.note.encode())
    except OSError as error:
        raise InputError(f"The log cannot be exported to {folder}: {error}.") from error
    return newest.size


def _write_tile(log: SignedLog, folder: Path, tile: Tile) -> None:
    path = folder / format_tile_path(tile)
    if tile.width == TILE_WIDTH and path.exists():
        return
    _write(path, log.tile(tile))


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(content)
    part.replace(path)
