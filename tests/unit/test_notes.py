from __future__ import annotations

import re
from base64 import b64decode
from typing import Any

import pytest

from ledger.errors import InputError, IntegrityFailed, LedgerError
from ledger.integrity.checkpoint import Checkpoint, format_checkpoint, parse_checkpoint
from ledger.integrity.merkle import leaf_hash
from ledger.integrity.note import (
    COSIGNATURE_V1,
    Key,
    Signature,
    format_skey,
    format_vkey,
    is_ed25519_signed,
    make_signing_key,
    open_note,
    parse_note,
    parse_skey,
    parse_vkey,
    sign_note,
)
from ledger.integrity.tlog_proof import LogProof, check_proof, format_proof, parse_proof
from tests.vectors import needs_vectors, read_vectors

TEXT = "example.com/log\n3\nWqx3HImawpLnS/Gv4ubjAvi1WIOy0b8Ze0amvqbavKk=\n"


def is_accepted(action: Any, *arguments: Any) -> bool:
    try:
        action(*arguments)
    except LedgerError:
        return False
    return True


@needs_vectors
def test_every_published_note_gets_its_verdict() -> None:
    notes = read_vectors("derived/signed_notes.json")
    assert len(notes) == 26
    for case in notes:
        trusted = [parse_vkey(text) for text in case["vkeys"]]
        note = parse_note(case["note"].encode())
        assert note.format() == case["note"]
        assert is_accepted(open_note, note, trusted) == case["valid"], case["name"]
        if case["is_checkpoint"]:
            assert format_checkpoint(parse_checkpoint(note.text)) == note.text
        if "signer_key" in case:  # Ed25519 is deterministic: the same key makes the same note
            signer = parse_skey(case["signer_key"])
            assert sign_note(note.text, [signer]).format() == case["note"]
            assert format_skey(signer) == case["signer_key"]


@needs_vectors
def test_every_published_key_gets_its_verdict() -> None:
    keys = read_vectors("derived/vkeys.json")
    assert [format_vkey(parse_vkey(text)) for text in keys["good"]] == keys["good"]
    assert [is_accepted(parse_vkey, text) for text in keys["bad"]] == [False] * len(keys["bad"])
    signer = parse_skey(keys["tessera_testdata_signer"]["skey"])
    assert format_vkey(signer.key) in keys["good"]


@needs_vectors
def test_every_real_log_proof_gets_its_verdict() -> None:
    proofs = read_vectors("derived/rekor2_tlog_proofs.json")
    assert len(proofs) == 25

    def check(case: dict[str, Any]) -> None:
        text = case["tlog_proof"]
        proof = parse_proof(text.encode())
        check_proof(proof, leaf_hash(b64decode(case["entry_b64"])), [parse_vkey(each) for each in case["vkeys"]])
        assert format_proof(proof) == text

    assert {case["name"]: is_accepted(check, case) for case in proofs} == {
        case["name"]: case["log_valid"] for case in proofs
    }


@needs_vectors
def test_every_wycheproof_signature_gets_its_verdict() -> None:
    groups = read_vectors("wycheproof/testvectors_v1/ed25519_test.json")["testGroups"]
    found, expected = {}, {}
    for group in groups:
        public = bytes.fromhex(group["publicKey"]["pk"])
        for case in group["tests"]:
            message, signature = bytes.fromhex(case["msg"]), bytes.fromhex(case["sig"])
            found[case["tcId"]] = is_ed25519_signed(public, message, signature)
            expected[case["tcId"]] = case["result"] == "valid"
    assert len(expected) == 151
    assert found == expected


@needs_vectors
def test_unusual_points_are_judged_as_most_verifiers_do() -> None:
    """RFC 8032 leaves some open; foreign verifiers must come to the same verdict about our notes, so it is pinned."""
    cases = read_vectors("cctv/ed25519/ed25519vectors.json")
    assert len(cases) == 914
    for case in cases:
        refused = {"non_canonical_R", "low_order_residue"} & set(case["flags"] or ())
        found = is_ed25519_signed(bytes.fromhex(case["key"]), case["msg"].encode(), bytes.fromhex(case["sig"]))
        assert found == (not refused), case


def test_note_is_opened_by_the_key_that_signed_it_and_by_no_other() -> None:
    ours, witness, other = (
        make_signing_key(name) for name in ("example.com/log", "witness.example", "example.com/log")
    )
    cosigner = make_signing_key("witness.example", COSIGNATURE_V1)
    note = parse_note(sign_note(TEXT, [ours, witness, cosigner], at=1_700_000_000).format().encode())
    assert [each.key for each in open_note(note, [ours.key])] == [ours.key]
    found = open_note(note, [cosigner.key, other.key, witness.key])
    assert [(each.key, each.at) for each in found] == [(witness.key, None), (cosigner.key, 1_700_000_000)]
    with pytest.raises(IntegrityFailed, match="not signed by a trusted key"):
        open_note(note, [other.key])


def test_note_with_a_wrong_signature_of_a_trusted_key_is_refused_whole() -> None:
    ours, witness = make_signing_key("example.com/log"), make_signing_key("witness.example")
    note = sign_note(TEXT, [ours, witness])
    wrong = Signature("witness.example", witness.key.key_id, ours.sign(TEXT))
    with pytest.raises(IntegrityFailed, match=re.escape("signature of witness.example")):
        open_note(note._replace(signatures=(note.signatures[0], wrong)), [ours.key, witness.key])


def test_any_byte_of_a_note_that_is_changed_is_noticed() -> None:
    ours = make_signing_key("example.com/log")
    data = sign_note(TEXT, [ours]).format().encode()

    def open_altered(altered: bytes) -> None:
        open_note(parse_note(altered), [ours.key])

    assert is_accepted(open_altered, data)
    for at in range(len(data)):
        for changed in (data[at] ^ 1, data[at] ^ 0x80):
            assert not is_accepted(open_altered, data[:at] + bytes([changed]) + data[at + 1 :])


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\n", b"text\n", b"text\n\n", b"\n\n\n", b"text\n\n- name AAAAAAA=\n", "text\n\n— name AAAAAAA=".encode(),
        "text\n\n— name AAAA\n".encode(), "text\n\n— na me AAAAAAA=\n".encode(), "text\n\n— n+e AAAAAAA=\n".encode(),
        "t\x01\n\n— name AAAAAAA=\n".encode(), "t\r\n\n— name AAAAAAA=\n".encode(),
        b"\xff\n\n\xe2\x80\x94 name AAAAAAA=\n",
        "text\n\n— name AAAAAAB=\n".encode(), ("text\n\n" + "— name AAAAAAA=\n" * 101).encode(),
    ],
)  # fmt: skip
def test_what_is_no_signed_note_is_refused(data: bytes) -> None:
    with pytest.raises(InputError):
        parse_note(data)


@pytest.mark.parametrize(
    "text",
    [
        "", "a\n1\n", "a\n1\n\n", "a\n01\n" + "A" * 43 + "=\n", "a\n-1\n" + "A" * 43 + "=\n", "a\n1\nAAAA\n",
        "\n1\n" + "A" * 43 + "=\n", "a\n1\n" + "A" * 43 + "=", "a\n1\n" + "A" * 42 + "B=\n",
        "a\n1 \n" + "A" * 43 + "=\n",
    ],
)  # fmt: skip
def test_what_is_no_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(InputError):
        parse_checkpoint(text)


def test_checkpoint_is_read_back() -> None:
    checkpoint = Checkpoint("example.com/log", 10**12, bytes(range(32)), ("more", "lines"))
    assert parse_checkpoint(format_checkpoint(checkpoint)) == checkpoint


def test_signing_key_is_never_shown() -> None:
    key = make_signing_key("example.com/log")
    assert key.seed.hex() not in repr(key)
    assert repr(key.seed) not in repr(key)
    damaged = format_skey(key)[:-6] + "AAAAA="
    with pytest.raises(InputError) as refused:
        parse_skey(damaged)
    assert damaged[-40:] not in str(refused.value)


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\u2003b", "a\nb", "a\tb"])
def test_key_name_that_cannot_stand_in_a_note_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="key name"):
        make_signing_key(name)


def test_proof_of_the_only_entry_has_an_empty_path() -> None:
    key = make_signing_key("example.com/log")
    leaf = leaf_hash(b"entry")
    note = sign_note(format_checkpoint(Checkpoint("example.com/log", 1, leaf)), [key])
    proof = parse_proof(format_proof(LogProof(0, (), note, b"more")).encode())
    assert proof == LogProof(0, (), note, b"more")
    assert check_proof(proof, leaf, [key.key]).size == 1
    with pytest.raises(IntegrityFailed, match="not at index 0"):
        check_proof(proof, leaf_hash(b"other"), [key.key])
    with pytest.raises(IntegrityFailed, match="trusted"):
        check_proof(proof, leaf, [Key("example.com/log", 1, bytes(32))])
