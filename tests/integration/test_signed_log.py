"""What is served of the signed log, and that it can be checked without our code."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
from pathlib import Path
from threading import Event
from zipfile import ZipFile

import psycopg
import pytest

from ledger.access import Account
from ledger.embedded import DatabaseUrls
from ledger.integrity.checkpoint import parse_checkpoint
from ledger.integrity.keys import write_keys
from ledger.integrity.merkle import leaf_hash, root_of
from ledger.integrity.note import format_vkey, open_note, parse_note
from ledger.integrity.sealing import AccountSealer
from ledger.integrity.signed_heads import SignedHeads, open_signing
from ledger.integrity.tiles import TILE_SIZE, parse_bundle
from ledger.integrity.tlog_proof import check_proof, parse_proof
from ledger.settings import read_settings
from tests.command import Command
from tests.examples import a_change
from tests.sealed import ACCOUNT, expected_entries, new_signing
from tests.web import Web

CHANGES = 300


@pytest.fixture
def signing(tmp_path: Path) -> SignedHeads:
    return new_signing(tmp_path)


@pytest.fixture
def sealed(web: Web, signing: SignedHeads) -> Web:
    """The API on a sealed log: two runs, 304 and 4 events."""
    web.record([a_change(number) for number in range(CHANGES)], run_id="r-1")
    web.record([a_change(1)], run_id="r-2")
    AccountSealer(web.services.database, ACCOUNT, "default", signing).seal()
    return web


def test_log_over_http_is_rebuilt_by_who_reads_it(sealed: Web, signing: SignedHeads, database: DatabaseUrls) -> None:
    answer = sealed.get("/v1/log/checkpoint")
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert answer.headers["Cache-Control"] == "private, max-age=1"
    note = parse_note(answer.data)
    assert open_note(note, signing.keys.trusted("default"))
    checkpoint = parse_checkpoint(note.text)
    bundles = [sealed.get(f"/v1/log/tile/entries/{path}") for path in ("000", f"001.p/{checkpoint.size - 256}")]
    tiles = [sealed.get(f"/v1/log/tile/0/{path}") for path in ("000", f"001.p/{checkpoint.size - 256}")]
    assert {each.headers["Content-Type"] for each in (*bundles, *tiles)} == {"application/octet-stream"}
    assert {each.headers["Cache-Control"] for each in (*bundles, *tiles)} == {"private, max-age=31536000, immutable"}
    entries = [entry for bundle in bundles for entry in parse_bundle(bundle.data)]
    assert entries == expected_entries(database.owner_url)
    leaves = [leaf_hash(entry) for entry in entries]
    assert b"".join(each.data for each in tiles) == b"".join(leaves)
    assert len(tiles[0].data) == TILE_SIZE
    assert root_of(leaves) == checkpoint.root
    assert sealed.get("/v1/log/tile/1/000.p/1").data == root_of(leaves[:256])
    packed = sealed.get("/v1/log/tile/entries/000", headers={"Accept-Encoding": "gzip"})
    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.data) == bundles[0].data
    for position in (1, 256, 257, checkpoint.size):
        entry = sealed.get(f"/v1/log/entry/{position}").data
        proof = parse_proof(sealed.get(f"/v1/log/proof/{position}").data)
        assert entry == entries[position - 1]
        assert check_proof(proof, leaf_hash(entry), signing.keys.trusted("default")) == checkpoint


@pytest.mark.parametrize(
    "path",
    [
        "tile/0/002", "tile/0/001", "tile/0/001.p/52", "tile/1/000", "tile/1/000.p/2", "tile/2/000.p/1", "tile/0/0",
        "tile/entries/001", "tile/0/000/000", "tile/0/..%2F000", "proof/0", "proof/309", "entry/0", "entry/309",
    ],
)  # fmt: skip
def test_what_the_log_does_not_have_is_not_found(sealed: Web, path: str) -> None:
    assert sealed.get(f"/v1/log/{path}").status_code == 404


def test_log_is_for_its_account_alone_unless_it_is_public(sealed: Web) -> None:
    for path in ("checkpoint", "tile/0/000", "tile/entries/000", "entry/1", "proof/1"):
        assert sealed.get(f"/v1/log/{path}", role=None).status_code == 401
        assert sealed.get(f"/v1/logs/default/{path}", role=None).status_code == 404
    sealed.app.extensions["settings"] = read_settings({}, environment={"LEDGER_PUBLIC_LOGS": "other, default"})
    for path in ("checkpoint", "tile/0/000", "tile/entries/000"):
        answer = sealed.get(f"/v1/logs/default/{path}", role=None)
        assert answer.status_code == 200
        assert answer.headers["Cache-Control"].startswith("public, ")
    assert sealed.get("/v1/logs/other/checkpoint", role=None).status_code == 404  # nothing was signed there
    assert sealed.get("/v1/logs/third/checkpoint", role=None).status_code == 404


def test_log_without_a_checkpoint_says_what_to_do(web: Web) -> None:
    assert "ledger seal" in web.get("/v1/log/checkpoint").get_json()["detail"]


# On the command line.


@pytest.fixture
def ledger(database: DatabaseUrls, signing: SignedHeads, tmp_path: Path) -> Command:
    write_keys(tmp_path / "log.key", signing.keys)
    command = Command(urls=database)
    command.environment = {**command.environment, "LEDGER_LOG_KEY_FILE": str(tmp_path / "log.key")}
    return command


def test_exported_files_are_what_is_served(sealed: Web, ledger: Command, tmp_path: Path) -> None:
    folder = tmp_path / "exported"
    ledger("log", "export", folder)
    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert found == {
        "checkpoint", "tile/0/000", "tile/0/001.p/51", "tile/1/000.p/1", "tile/entries/000", "tile/entries/001.p/51",
    }  # fmt: skip
    for path in found:
        assert (folder / path).read_bytes() == sealed.get(f"/v1/log/{path}").data
    sealed.record([a_change(1)], run_id="r-3")
    ledger("seal", "--once")
    before = (folder / "tile/0/000").stat().st_mtime_ns
    ledger("log", "export", folder)
    assert (folder / "checkpoint").read_bytes() == sealed.get("/v1/log/checkpoint").data
    assert (folder / "tile/0/001.p/55").exists()
    assert (folder / "tile/0/000").stat().st_mtime_ns == before


def unpacked(ledger: Command, folder: Path, run_id: str) -> Path:
    ledger("proof", run_id, "-o", folder / "bundle.zip")
    with ZipFile(folder / "bundle.zip") as bundle:
        bundle.extractall(folder / "bundle")
    return folder / "bundle"


def run_script(bundle: Path, *arguments: str) -> tuple[int, str]:
    done = subprocess.run(["sh", "verify.sh", *arguments], cwd=bundle, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_bundle_is_checked_by_a_shell_and_openssl(
    sealed: Web, ledger: Command, signing: SignedHeads, tmp_path: Path
) -> None:
    sealed.services.project_once(ACCOUNT)
    bundle = unpacked(ledger, tmp_path, "r-1")
    vkey = format_vkey(signing.keys.trusted("default")[0])
    assert (bundle / "vkeys").read_text() == vkey + "\n"
    positions = sorted(int(each.name) for each in (bundle / "events").iterdir())
    assert positions == list(range(1, CHANGES + 4))
    for position in (1, 2, 256, 257, CHANGES + 3):
        assert run_script(bundle, str(position), vkey) == (
            0,
            f"PROVEN: position {position} is in ledger.example/log/default as of 307 events\n",
        )
    report = [json.loads(line) for line in next(bundle.glob("*.ndjson")).read_bytes().splitlines()]
    payloads = [
        json.loads((bundle / f"events/{position}/payload").read_bytes()) for position in positions[1 : CHANGES + 1]
    ]
    assert [row["after"] for row in report] == [payload["after"] for payload in payloads]
    assert "sh verify.sh 1 'VKEY'" in (bundle / "README.txt").read_text()
    # anything else than what was recorded is refused
    other = format_vkey(new_signing(tmp_path / "x").keys.trusted("default")[0])
    assert run_script(bundle, "2", other) == (1, "NOT PROVEN: the checkpoint is not signed by this key\n")
    event = bundle / "events" / "2"
    for name, old, new, why in [
        ("payload", b"phone", b"phome", "the payload is another"),
        ("stream", None, bytes(16), "the record is another"),
        ("entry", b'"sequence":1,', b'"sequence":2,', "the path does not lead to the root"),
        ("proof.tlog-proof", b"\n307\n", b"\n308\n", "the checkpoint is not signed by this key"),
        ("proof.tlog-proof", b"index 1\n", b"index 2\n", "the proof is for another position"),
    ]:  # fmt: skip
        kept = (event / name).read_bytes()
        (event / name).write_bytes(new if old is None else kept.replace(old, new))
        assert (event / name).read_bytes() != kept
        assert run_script(bundle, "2", vkey) == (1, f"NOT PROVEN: {why}\n")
        (event / name).write_bytes(kept)
    assert run_script(bundle, "2", vkey)[0] == 0


def test_script_of_the_docs_is_the_one_in_the_bundle() -> None:
    root = Path(__file__).parents[2]
    assert (root / "ledger/integrity/verify.sh").read_text() in (root / "docs/integrity.md").read_text()


def test_embedded_log_is_sealed_by_who_asks_for_it(tmp_path: Path, database: DatabaseUrls, web: Web) -> None:
    # the settings of an embedded home on this database: what `ledger log checkpoint` does first
    web.record([a_change(1)], run_id="r-1")
    signing = open_signing(read_settings({"home": str(tmp_path)}, environment={}), make=True)
    assert signing is not None
    web.services.account_sealer(Account(ACCOUNT, "default", 0), signing).seal()
    assert parse_checkpoint(parse_note(web.get("/v1/log/checkpoint").data).text).size == 4


# Verifying.


def test_verify_says_in_order_keeps_what_it_saw_and_tells_an_alteration(
    sealed: Web, ledger: Command, database: DatabaseUrls, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    assert b"is as it was recorded: 307 events, 1 checkpoints" in ledger("verify", "--state", state).stdout
    kept = list(state.iterdir())
    assert [each.read_bytes() for each in kept] == [sealed.get("/v1/log/checkpoint").data]
    found = ledger("verify", "--state", state, "--json").document
    assert (found["verified"], found["events"], found["signed"], found["findings"]) == (True, 307, 307, [])
    with psycopg.connect(database.owner_url, autocommit=True) as connection:
        connection.execute("ALTER TABLE events DISABLE TRIGGER refuse_change")
        connection.execute("UPDATE events SET sequence = 7 WHERE position = 3")
        connection.execute("ALTER TABLE events ENABLE ALWAYS TRIGGER refuse_change")
    ended = ledger("verify", "--state", state, code=5)
    assert b"NOT as it was recorded. The first wrong position is 3." in ended.stdout
    found = ledger("verify", "--state", state, "--json", code=5).document
    assert (found["verified"], found["first_position"], found["findings"][0]["kind"]) == (False, 3, "changed")
    with psycopg.connect(database.owner_url, autocommit=True) as connection:
        connection.execute("ALTER TABLE events DISABLE TRIGGER refuse_change")
        connection.execute("UPDATE events SET sequence = 2 WHERE position = 3")
        connection.execute("ALTER TABLE events ENABLE ALWAYS TRIGGER refuse_change")
    ledger("verify", "--state", state)


def test_verifier_with_a_key_of_its_own_needs_nothing_of_the_service(
    sealed: Web, database: DatabaseUrls, signing: SignedHeads, tmp_path: Path
) -> None:
    elsewhere = Command(urls=database)
    elsewhere.environment = {**elsewhere.environment, "XDG_STATE_HOME": str(tmp_path / "state")}
    assert "no key to verify with" in elsewhere("verify", code=2).stderr
    vkey = format_vkey(signing.keys.trusted("default")[0])
    elsewhere("verify", "--vkey", vkey)
    assert len(list((tmp_path / "state/ledger/verified").iterdir())) == 1
    stranger = format_vkey(new_signing(tmp_path / "x").keys.trusted("default")[0])
    ended = elsewhere("verify", "--vkey", stranger, "--state", tmp_path / "fresh", code=5)
    assert b"not signed by a trusted key" in ended.stdout


def test_verdict_over_http(sealed: Web, signing: SignedHeads, tmp_path: Path) -> None:
    assert sealed.get("/v1/verify").status_code == 404
    write_keys(tmp_path / "log.key", signing.keys)
    environment = {"LEDGER_LOG_KEY_FILE": str(tmp_path / "log.key"), "LEDGER_DATABASE_URL": "postgresql://x@y/z"}
    sealed.app.extensions["settings"] = read_settings({}, environment=environment)
    assert set(sealed.get("/v1/verify").get_json().values()) == {None}
    asked = sealed.post("/v1/verify", role="auditor")
    assert asked.status_code == 202
    assert asked.get_json()["asked_at"] is not None
    assert sealed.post("/v1/verify", role="auditor").get_json() == asked.get_json()
    sealed.services.continuous_verification(signing).look_once(Event())
    document = sealed.get("/v1/verify").get_json()
    assert document["asked_at"] is None
    assert document["began_at"] <= document["ended_at"]
    verdict = document["verdict"]
    assert (verdict["verified"], verdict["events"], verdict["findings"]) == (True, 307, [])
    assert sealed.post("/v1/verify", role="producer").status_code == 403
    assert sealed.get("/v1/verify", role="producer").status_code == 403
