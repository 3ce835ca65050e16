"""Checkpoints leave the database: with each e-mail and webhook, and as files."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from threading import Event

import pytest

from ledger.embedded import DatabaseUrls
from ledger.errors import Unavailable
from ledger.integrity.anchoring import Anchoring
from ledger.integrity.keys import write_keys
from ledger.integrity.sealing import AccountSealer
from ledger.integrity.signed_heads import SignedHeads
from ledger.integrity.signed_log import SignedLog
from ledger.service import AccountLedger
from tests.command import Command
from tests.examples import a_change, a_ledger, record
from tests.integration.test_notifications_mail import Post
from tests.integration.test_notifications_webhook import Hook, receiving
from tests.mail_server import mail_server
from tests.sealed import ACCOUNT, new_signing


@pytest.fixture
def ledger(database: DatabaseUrls) -> Iterator[AccountLedger]:
    with a_ledger(database.service_url) as found:
        yield found


@pytest.fixture
def signing(tmp_path: Path) -> SignedHeads:
    return new_signing(tmp_path)


def seal(ledger: AccountLedger, signing: SignedHeads) -> str:
    """The note of the newest checkpoint, of all that was recorded."""
    database = ledger.store.recorder.database
    AccountSealer(database, ACCOUNT, "default", signing).seal()
    return SignedLog(database, ACCOUNT).checkpoint().note


def test_folder_gets_each_checkpoint_once_and_none_is_written_over(
    ledger: AccountLedger, signing: SignedHeads, tmp_path: Path
) -> None:
    folder = tmp_path / "anchors"
    anchoring = Anchoring(ledger.store.recorder.database, folder)
    record(ledger, "r-1", [a_change()])
    anchoring.look_once()
    assert not folder.exists()
    first = seal(ledger, signing)
    anchoring.look_once()
    (file,) = (folder / "default").iterdir()
    assert (file.name, file.read_text("utf-8")) == ("000000000004.checkpoint", first)
    file.write_text("as somebody left it", "utf-8")
    Anchoring(ledger.store.recorder.database, folder).look_once()
    assert file.read_text("utf-8") == "as somebody left it"
    record(ledger, "r-2", [a_change()])
    second = seal(ledger, signing)
    anchoring.look_once()  # less than a minute later: not yet
    assert list((folder / "default").iterdir()) == [file]
    stopped = Event()
    stopped.set()
    anchoring.follow(stopped)  # but before it ends
    assert (folder / "default/000000000008.checkpoint").read_text("utf-8") == second


def test_folder_that_cannot_be_written_is_told(ledger: AccountLedger, signing: SignedHeads, tmp_path: Path) -> None:
    record(ledger, "r-1", [a_change()])
    seal(ledger, signing)
    (tmp_path / "anchors").write_bytes(b"")
    with pytest.raises(Unavailable, match=r"anchors/default cannot be written"):
        Anchoring(ledger.store.recorder.database, tmp_path / "anchors").look_once()


def test_sealing_process_fills_the_folder(database: DatabaseUrls, signing: SignedHeads, tmp_path: Path) -> None:
    with a_ledger(database.service_url) as ledger:
        record(ledger, "r-1", [a_change()])
    write_keys(tmp_path / "log.key", signing.keys)
    file = tmp_path / "anchors/default/000000000004.checkpoint"
    command = Command(
        urls=database, LEDGER_LOG_KEY_FILE=tmp_path / "log.key", LEDGER_ANCHOR_FOLDER=tmp_path / "anchors"
    )
    process = command.start("seal", "--follow", stderr=subprocess.PIPE)
    while not file.exists() and process.poll() is None:
        Event().wait(0.05)
    process.terminate()
    _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert file.read_bytes() == command("log", "checkpoint").stdout


def test_newest_checkpoint_goes_with_an_email_byte_for_byte(ledger: AccountLedger, signing: SignedHeads) -> None:
    with mail_server() as inbox:
        post = Post(ledger, inbox)
        post.run("r-1")
        note = seal(ledger, signing)
        post.work()
    (message,) = inbox.messages
    *_, attached = message.iter_attachments()
    assert attached.get_filename() == "checkpoint.txt"
    assert attached.get_payload(decode=True) == note.encode()


def test_newest_checkpoint_goes_with_a_webhook(ledger: AccountLedger, signing: SignedHeads) -> None:
    with receiving() as receiver:
        hook = Hook(ledger, receiver.url)
        record(ledger, "r-0", [a_change()])
        note = seal(ledger, signing)
        hook.run("r-1")
    assert {json.loads(body)["checkpoint"] for _, _, body in receiver.requests} == {note}
