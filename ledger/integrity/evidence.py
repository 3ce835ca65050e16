"""Evidence bundles: all that somebody needs to check a run offline, without our code, as a zip file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.resources import files
from typing import BinaryIO
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from ledger.integrity.leaf import Sealed
from ledger.integrity.note import Key, format_vkey
from ledger.integrity.signed_log import SignedLog
from ledger.integrity.tlog_proof import format_proof

Report = tuple[str, Iterable[bytes]]
"""File name and content."""

_README = """Evidence of run {run_id}
{line}

Origin:     {origin}
Checkpoint: {size} events, root hash {root}
Events:     {number}, at the positions {first} to {last}

Each folder events/POSITION holds
  entry              the leaf of the log: canonical JSON
  proof.tlog-proof   its path to the root hash in the signed checkpoint (c2sp.org/tlog-proof)
  payload, salt      what the entry's "commitment" is SHA-256 of: salt, then payload
  stream             id of the record's or run's stream; the entry's "stream" is SHA-256 of salt, "stream" and it
Payload, salt and stream are missing where they were erased; entry and proof stay.

To check one event with a shell and openssl alone (read verify.sh, it is short):

  sh verify.sh {first} 'VKEY'

VKEY is the log's public key. Take it from whom you trust, not from here. The one that this bundle was made with:
{vkeys}
The entries of type run-started, changes-recorded and run-finished (or run-failed) hold counts. A report is whole if
its rows are the events between them, with the sequences 1, 2, 3 ... and as many as counted. Any verifier of
transparency-log proofs can check the proofs: Go's golang.org/x/mod/sumdb/tlog, sigstore, and others.
"""


def write_evidence(
    stream: BinaryIO,
    log: SignedLog,
    run_id: str,
    reports: Sequence[Report],
    trusted: Sequence[Key],
    on_progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> int:
    """Writes the bundle of a run. How many events it holds. Raises NotFound: no such run, not covered yet."""
    positions = log.positions_of(run_id)
    newest = log.checkpoint()
    origin, size, root = newest.note.split("\n")[:3]
    facts = {
        "run_id": run_id, "line": "=" * (16 + len(run_id)), "origin": origin, "size": size, "root": root,
        "number": len(positions), "first": positions[0], "last": positions[-1],
        "vkeys": "".join(f"  {format_vkey(key)}\n" for key in trusted),
    }  # fmt: skip
    with ZipFile(stream, "w", ZIP_DEFLATED, compresslevel=3) as bundle:
        _add(bundle, "README.txt", _README.format(**facts).encode())
        _add(bundle, "verify.sh", files("ledger.integrity").joinpath("verify.sh").read_bytes())
        _add(bundle, "checkpoint", newest.note.encode())
        _add(bundle, "vkeys", "".join(f"{format_vkey(key)}\n" for key in trusted).encode())
        for name, blocks in reports:
            with bundle.open(_info(name), "w") as file:
                for block in blocks:
                    file.write(block)
        for number, disclosed in enumerate(log.disclose(positions), 1):
            folder = f"events/{disclosed.event.position}"
            for name, content in _files_of(disclosed.entry, format_proof(disclosed.proof), disclosed.event).items():
                _add(bundle, f"{folder}/{name}", content)
            on_progress(number, len(positions))
    return len(positions)


def _files_of(entry: bytes, proof: str, event: Sealed) -> Mapping[str, bytes]:
    found = {"entry": entry, "proof.tlog-proof": proof.encode()}
    if event.salt is not None and event.payload is not None:
        found |= {"payload": event.payload, "salt": event.salt, "stream": event.stream}
    return found


def _add(bundle: ZipFile, name: str, content: bytes) -> None:
    bundle.writestr(_info(name), content)


def _info(name: str) -> ZipInfo:
    """No time of making: the same evidence is the same file."""
    info = ZipInfo(name)
    info.compress_type = ZIP_DEFLATED
    info.external_attr = 0o644 << 16
    return info
