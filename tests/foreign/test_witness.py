"""A real witness of somebody else's cosigns our checkpoints, and refuses a log that was rolled back or forked."""

from __future__ import annotations

import logging
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from zipfile import ZipFile

import psycopg
import pytest

from ledger.embedded import DatabaseUrls
from ledger.integrity.keys import write_keys
from ledger.integrity.note import format_vkey, open_note, parse_note
from ledger.integrity.policy import parse_policy
from ledger.integrity.sealing import AccountSealer
from ledger.integrity.signed_heads import SignedHeads
from ledger.integrity.signed_log import SignedLog
from ledger.integrity.tlog_proof import format_proof, parse_proof
from ledger.integrity.witnessing import AccountWitnessing, Witnessed, Witnessing
from ledger.service import AccountLedger
from ledger.store.database import Database
from tests.command import Command
from tests.conftest import cloned
from tests.examples import a_change, a_ledger, record
from tests.foreign.real_witness import RealWitness, needs_witness
from tests.sealed import ACCOUNT, new_signing
from tests.web import opened_web

pytestmark = needs_witness


@pytest.fixture
def signing(tmp_path: Path) -> SignedHeads:
    return new_signing(tmp_path)


@pytest.fixture
def witness(tmp_path: Path, signing: SignedHeads) -> Iterator[RealWitness]:
    found = RealWitness(tmp_path / "witness")
    found.add_log(signing.keys.signer("default").key)
    found.start()
    yield found
    found.stop()


@pytest.fixture
def ledger(database: DatabaseUrls) -> Iterator[AccountLedger]:
    with a_ledger(database.service_url) as found:
        yield found


def grow(ledger: AccountLedger, signing: SignedHeads, run_id: str, number: int = 300) -> None:
    """Records a run of so many changes, and signs the log with it: 3 events more."""
    record(ledger, run_id, [a_change(each) for each in range(number)])
    AccountSealer(database_of(ledger), ACCOUNT, "default", signing).seal()


def database_of(ledger: AccountLedger) -> Database:
    return ledger.store.recorder.database


def ask(ledger: AccountLedger, witness: RealWitness) -> Witnessed:
    return AccountWitnessing(database_of(ledger), ACCOUNT, "default", parse_policy(witness.policy())).witness()


def test_checkpoints_are_served_with_the_cosignature(
    ledger: AccountLedger, signing: SignedHeads, witness: RealWitness, tmp_path: Path
) -> None:
    log = SignedLog(database_of(ledger), ACCOUNT)
    keys = [signing.keys.signer("default").key, witness.key]
    for number, size in ((1, 303), (2, 606), (3, 909)):
        grow(ledger, signing, f"r-{number}")
        for _ in range(2):  # asked again, it is not bothered again
            witnessed = ask(ledger, witness)
            assert (witnessed.size, witnessed.is_met) == (size, True)
            assert [(state.size, state.failure) for state in witnessed.states] == [(size, None)]
        note = parse_note(log.checkpoint().note.encode())
        assert {verified.key for verified in open_note(note, keys)} == set(keys)
        assert log.witnessed_checkpoint(parse_policy(witness.policy())) == log.checkpoint()
        assert parse_proof(format_proof(log.proof(2)).encode()).note == note
    file = tmp_path / "checkpoint"
    file.write_text(log.checkpoint().note, "utf-8")
    their_own = [sys.executable, "-m", "aics_tlog", "verify-checkpoint", "--note", str(file), "--quorum", "1"]
    their_own += ["--log-key", format_vkey(keys[0]), "--witness-key", format_vkey(witness.key), "--max-age", "600"]
    assert '"ok": true' in subprocess.run(their_own, check=True, capture_output=True, text=True).stdout


def test_witness_whose_state_is_not_known_here_is_asked_what_it_holds(
    database: DatabaseUrls, ledger: AccountLedger, signing: SignedHeads, witness: RealWitness
) -> None:
    grow(ledger, signing, "r-1")
    ask(ledger, witness)
    with psycopg.connect(database.owner_url) as owner:
        owner.execute("SET LOCAL session_replication_role = replica")
        owner.execute("ALTER TABLE log_witnesses NO FORCE ROW LEVEL SECURITY")
        assert owner.execute("DELETE FROM log_witnesses").rowcount == 1
        owner.execute("ALTER TABLE log_witnesses FORCE ROW LEVEL SECURITY")
    grow(ledger, signing, "r-2")
    assert ask(ledger, witness).is_met


@pytest.fixture
def backup(
    cluster: DatabaseUrls,
    administrator: psycopg.Connection,
    database: DatabaseUrls,
    signing: SignedHeads,
    witness: RealWitness,
) -> Iterator[DatabaseUrls]:
    """A copy of the database with 303 events; since then another 303 were signed and cosigned in the database."""
    with a_ledger(database.service_url) as ledger:
        grow(ledger, signing, "r-1")
        ask(ledger, witness)
    name = database.owner_url.rpartition("/")[2].partition("?")[0]
    with cloned(cluster, administrator, name) as urls:
        with a_ledger(database.service_url) as ledger:
            grow(ledger, signing, "r-2")
            assert ask(ledger, witness).is_met
        yield urls


def without_heads(signing: SignedHeads) -> SignedHeads:
    """The same key, whose folder of signed heads was lost too: nothing on our side can know any more."""
    shutil.rmtree(signing.folder)
    return SignedHeads(signing.folder, signing.keys)


def test_rolled_back_log_is_refused_by_the_witness(
    backup: DatabaseUrls, signing: SignedHeads, witness: RealWitness, caplog: pytest.LogCaptureFixture
) -> None:
    with a_ledger(backup.service_url) as ledger:
        grow(ledger, without_heads(signing), "r-3", 100)
        witnessed = ask(ledger, witness)
        assert not witnessed.is_met
        (state,) = witnessed.states
        assert state.refused
        assert "cosigned 606 events of this log, which has 406" in (state.failure or "")
        assert [each.levelno for each in caplog.records if "is not cosigned" in each.message] == [logging.ERROR]
        log = SignedLog(database_of(ledger), ACCOUNT)
        assert log.checkpoint().size == 406
        assert (
            log.witnessed_checkpoint(parse_policy(witness.policy())).size == 303
        )  # who asks for a quorum is not fooled


def test_forked_log_is_refused_by_the_witness(backup: DatabaseUrls, signing: SignedHeads, witness: RealWitness) -> None:
    with a_ledger(backup.service_url) as ledger:
        grow(ledger, without_heads(signing), "r-3", 500)
        witnessed = ask(ledger, witness)
    (state,) = witnessed.states
    assert state.refused
    assert "altered or forked" in (state.failure or "")
    assert "ledger.example/log/default" in witness.evidence()


@pytest.mark.parametrize(("command", "events"), [("serve", 0), ("seal", 500)])
def test_service_does_not_start_on_a_log_rolled_back_or_forked(
    backup: DatabaseUrls, signing: SignedHeads, tmp_path: Path, command: str, events: int
) -> None:
    if events:
        with a_ledger(backup.service_url) as ledger:
            record(ledger, "r-3", [a_change(each) for each in range(events)])
    key = tmp_path / "log.key"
    write_keys(key, signing.keys)
    process = Command(urls=backup, LEDGER_LOG_KEY_FILE=key, LEDGER_PORT=0).start(command, stderr=subprocess.PIPE)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 5, said
    assert (b"does not begin with the 606" if events else b"303 events, but 606 were signed") in said


def test_witness_that_is_away_is_told_and_stops_nothing(
    database: DatabaseUrls, ledger: AccountLedger, signing: SignedHeads, witness: RealWitness
) -> None:
    policy = parse_policy(witness.policy())
    witness.stop()
    witnessing = Witnessing(database_of(ledger), policy)
    with opened_web(database.service_url) as web:
        grow(ledger, signing, "r-1")
        witnessing.look_once()
        ready = web.client.get("/readyz").json
        assert ready is not None
        assert (ready["status"], ready["witnesses"]) == ("ready", {"failing": 1, "refusing": 0})
        metrics = web.client.get("/metrics").text
        assert f'ledger_witness_failing{{witness="{witness.key.name}"}} 1.0' in metrics
    grow(ledger, signing, "r-2")


def test_command_asks_now_and_tells(
    database: DatabaseUrls, ledger: AccountLedger, signing: SignedHeads, witness: RealWitness, tmp_path: Path
) -> None:
    grow(ledger, signing, "r-1")
    policy = tmp_path / "policy"
    policy.write_bytes(witness.policy())
    command = Command(urls=database, LEDGER_WITNESS_POLICY=policy)
    command("log", "checkpoint", "--witnessed", code=3)
    assert command("log", "witness").stdout == b"witness.example/w1: cosigned 303 events\n"
    checkpoint = command("log", "checkpoint", "--witnessed").stdout
    assert [each.name for each in parse_note(checkpoint).signatures] == [
        "ledger.example/log/default",
        "witness.example/w1",
    ]
    assert command("log", "checkpoint").stdout == checkpoint
    grow(ledger, signing, "r-2")
    assert command("log", "checkpoint", "--witnessed").stdout == checkpoint
    witness.stop()
    ended = command("log", "witness", code=7)
    assert b"cannot be reached" in ended.stdout


def test_evidence_of_a_cosigned_log_holds_for_its_own_script(
    database: DatabaseUrls, ledger: AccountLedger, signing: SignedHeads, witness: RealWitness, tmp_path: Path
) -> None:
    grow(ledger, signing, "r-1", 3)
    assert ask(ledger, witness).is_met
    write_keys(tmp_path / "log.key", signing.keys)
    command = Command(urls=database, LEDGER_LOG_KEY_FILE=tmp_path / "log.key")
    command("project", "--once")
    command("proof", "r-1", "-o", tmp_path / "bundle.zip")
    with ZipFile(tmp_path / "bundle.zip") as bundle:
        bundle.extractall(tmp_path / "bundle")
    assert witness.key.name in (tmp_path / "bundle/checkpoint").read_text("utf-8")
    script = ["sh", "verify.sh", "2", format_vkey(signing.keys.signer("default").key)]
    said = subprocess.run(script, cwd=tmp_path / "bundle", capture_output=True, text=True, check=True).stdout
    assert said == "PROVEN: position 2 is in ledger.example/log/default as of 6 events\n"


def test_sealing_process_has_new_events_cosigned(
    database: DatabaseUrls, ledger: AccountLedger, signing: SignedHeads, witness: RealWitness, tmp_path: Path
) -> None:
    record(ledger, "r-1", [a_change()])
    (tmp_path / "policy").write_bytes(witness.policy())
    write_keys(tmp_path / "log.key", signing.keys)
    settings = {"LEDGER_LOG_KEY_FILE": tmp_path / "log.key", "LEDGER_WITNESS_POLICY": tmp_path / "policy"}
    command = Command(urls=database, **settings)
    process = command.start("seal", "--follow", stderr=subprocess.PIPE)
    while command("log", "checkpoint", "--witnessed", code=None).code != 0 and process.poll() is None:
        Event().wait(0.05)
    process.terminate()
    _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    checkpoint = command("log", "checkpoint", "--witnessed").stdout
    assert checkpoint == command("log", "checkpoint").stdout
    assert b"\n4\n" in checkpoint
