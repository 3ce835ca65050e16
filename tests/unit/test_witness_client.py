from __future__ import annotations

from collections.abc import Sequence

import pytest

from ledger.errors import IntegrityFailed, Unavailable
from ledger.integrity.checkpoint import Checkpoint, format_checkpoint
from ledger.integrity.merkle import leaf_hash, nodes_of, prove_consistency, root_of
from ledger.integrity.note import COSIGNATURE_V1, SigningKey, sign_note
from ledger.integrity.witness import Answer, Asked, Cosignature, format_request, post_body, request_cosignature

LEAVES = [leaf_hash(bytes([number])) for number in range(20)]
LOG = SigningKey("log.example", b"l" * 32)
WITNESS = SigningKey("witness.example/w1", b"w" * 32, COSIGNATURE_V1)
TEXT = format_checkpoint(Checkpoint("log.example", 20, root_of(LEAVES)))
NOTE = sign_note(TEXT, [LOG]).format()
NOW = 1_780_000_000


def prove(old: int) -> Sequence[bytes]:
    return prove_consistency(old, 20, nodes_of(LEAVES))


def cosigned(*signers: SigningKey, text: str = TEXT) -> Answer:
    lines = [signature.format() for signature in sign_note(text, signers, at=NOW).signatures]
    return Answer(200, "".join(lines).encode())


def ask(*answers: Answer, old: int = 0) -> tuple[Cosignature, list[bytes]]:
    """What the witness that gives these answers is asked, and what comes of it."""
    sent: list[bytes] = []
    left = list(answers)

    def post(url: str, body: bytes) -> Answer:
        assert url == "https://witness.example/prefix/add-checkpoint"
        sent.append(body)
        return left.pop(0)

    asked = Asked(20, NOTE, prove)
    cosignature = request_cosignature("https://witness.example/prefix", WITNESS.key, asked, old=old, post=post)
    assert not left
    return cosignature, sent


def test_request_is_as_the_specification_shows() -> None:
    assert (
        format_request(7, [bytes(32), b"\xff" * 32], NOTE)
        == (
            "old 7\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n//////////////////////////////////////////8=\n\n"
            + NOTE
        ).encode()
    )


@pytest.mark.parametrize("old", [0, 7, 20, 21])
def test_cosignature_of_the_witness_is_taken(old: int) -> None:
    cosignature, sent = ask(cosigned(SigningKey("other", b"o" * 32, COSIGNATURE_V1), WITNESS), old=old)
    assert cosignature == Cosignature(sign_note(TEXT, [WITNESS], at=NOW).signatures[0].format(), NOW)
    expected = {7: format_request(7, prove(7), NOTE), 20: format_request(20, [], NOTE)}
    assert sent == [expected.get(old, format_request(0, [], NOTE))]  # what cannot be is not told as known


def test_witness_that_holds_another_size_is_asked_again_from_there() -> None:
    _, sent = ask(Answer(409, b"5\n"), Answer(409, b"9\n"), cosigned(WITNESS))
    assert sent == [format_request(0, [], NOTE), *(format_request(old, prove(old), NOTE) for old in (5, 9))]


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ([Answer(409, b"21\n")], "cosigned 21 events of this log, which has 20"),
        ([Answer(422, b"")], "refuses the checkpoint of 20 events"),
        ([Answer(409, b"20\n"), Answer(409, b"20\n")], "another root for 20 events"),
    ],
)
def test_refusal_tells_of_a_rollback_or_fork(answers: list[Answer], said: str) -> None:
    with pytest.raises(IntegrityFailed, match=said):
        ask(*answers)


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ([Answer(404, b"unknown log")], "answered 404: unknown log"),
        ([Answer(302, b"")], "answered 302"),
        ([Answer(409, b"05\n")], "does not say which size"),
        ([Answer(409, f"{number}\n".encode()) for number in (1, 2, 3, 4)], "another size each time"),
        ([Answer(200, b"")], "no signature lines"),
        ([Answer(200, b"\xff\n")], "no signature lines"),
        ([cosigned(SigningKey("witness.example/w1", b"x" * 32, COSIGNATURE_V1))], "no cosignature of the key"),
        ([cosigned(SigningKey("witness.example/w1", b"w" * 32))], "no cosignature of the key"),
        ([cosigned(WITNESS, text=TEXT.replace("20", "21"))], "not of this checkpoint"),
    ],
)
def test_answer_that_is_none_is_told_and_tried_again(answers: list[Answer], said: str) -> None:
    with pytest.raises(Unavailable, match=said):
        ask(*answers)


def test_witness_that_is_not_there_is_unavailable() -> None:
    with pytest.raises(Unavailable, match="cannot be reached"):
        post_body("http://127.0.0.1:1/add-checkpoint", b"")
