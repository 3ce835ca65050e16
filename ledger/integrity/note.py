"""Signed notes (c2sp.org/signed-note): a text and signature lines below it. Keys, signing and opening.

Two kinds of signature are known: Ed25519 over the text (0x01), and the witnesses' cosignature/v1 (0x04,
c2sp.org/tlog-cosignature), which is Ed25519 over a time and the text. Notes signed otherwise are refused, and
signatures of other kinds beside a known one are passed over, as the specification asks.
"""

from __future__ import annotations

import binascii
import re
from base64 import b64decode, b64encode
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from ledger.errors import InputError, IntegrityFailed

ED25519 = 0x01
COSIGNATURE_V1 = 0x04
NOTE_SIZE_MAX = 1_000_000
SIGNATURES_MAX = 100
"""Lines; the specification asks for at least 16."""

_KEY_SIZE = 32
_SIGNATURE_SIZES = {ED25519: 64, COSIGNATURE_V1: 8 + 64}
_PRIVATE = "PRIVATE+KEY+"
_LINE = re.compile("— ([^ +]+) ([A-Za-z0-9+/=]+)")
_CONTROL = re.compile("[\x00-\x09\x0b-\x1f]")


class Key(NamedTuple):
    """A public key with the name that it signs under."""

    name: str
    algorithm: int
    public: bytes

    @property
    def key_id(self) -> bytes:
        """4 bytes that stand before its signatures; together with the name they tell which key it was."""
        return sha256(self.name.encode() + b"\n" + bytes([self.algorithm]) + self.public).digest()[:4]


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key with the name that it signs under. Never shown by repr."""

    name: str
    seed: bytes = field(repr=False)
    """The 32 bytes of RFC 8032's private key."""
    algorithm: int = ED25519

    @property
    def key(self) -> Key:
        return Key(self.name, self.algorithm, self._private().public_key().public_bytes_raw())

    def sign(self, text: str, *, at: int = 0) -> bytes:
        """The signature of a note's text; `at`, seconds since 1970, goes into a cosignature."""
        if self.algorithm == COSIGNATURE_V1:
            return at.to_bytes(8) + self._private().sign(_cosigned(at, text))
        return self._private().sign(text.encode())

    def _private(self) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(self.seed)


class Signature(NamedTuple):
    """A signature line. `signature` is without the key id."""

    name: str
    key_id: bytes
    signature: bytes

    def format(self) -> str:
        return f"— {self.name} {_base64(self.key_id + self.signature)}\n"


class Note(NamedTuple):
    """A note as it was read: nothing in it is to be believed before open_note says so."""

    text: str
    """Ends with a newline."""
    signatures: tuple[Signature, ...]

    def format(self) -> str:
        return self.text + "\n" + "".join(signature.format() for signature in self.signatures)


class Verified(NamedTuple):
    """A key whose signature was found good. `at`: seconds since 1970, of a cosignature."""

    key: Key
    at: int | None


def make_signing_key(name: str, algorithm: int = ED25519) -> SigningKey:
    """A new key. Raises InputError for a name that cannot stand in a note."""
    return SigningKey(_check_name(name), Ed25519PrivateKey.generate().private_bytes_raw(), algorithm)


def format_vkey(key: Key) -> str:
    """The public key as text: name, key id, algorithm and key."""
    return f"{key.name}+{key.key_id.hex()}+{_base64(bytes([key.algorithm]) + key.public)}"


def parse_vkey(text: str) -> Key:
    """The inverse of format_vkey. Raises InputError."""
    name, algorithm, public, key_id = _parse_key(text, "NAME+ID+KEY, as from `ledger log key`")
    key = Key(name, algorithm, public)
    if key.key_id != key_id:
        raise InputError(f"The public key of {name} is damaged: its id is {key.key_id.hex()}, not {key_id.hex()}.")
    return key


def format_skey(key: SigningKey) -> str:
    """The private key as text, to be kept secret."""
    return f"{_PRIVATE}{key.name}+{key.key.key_id.hex()}+{_base64(bytes([key.algorithm]) + key.seed)}"


def parse_skey(text: str) -> SigningKey:
    """The inverse of format_skey. Raises InputError that does not tell the key."""
    if not text.startswith(_PRIVATE):
        raise InputError("The signing key is not one. Expected PRIVATE+KEY+NAME+ID+KEY, as from `ledger log make-key`.")
    name, algorithm, seed, key_id = _parse_key(text[len(_PRIVATE) :], "PRIVATE+KEY+NAME+ID+KEY", secret=True)
    key = SigningKey(name, seed, algorithm)
    if key.key.key_id != key_id:
        raise InputError(f"The signing key of {name} is damaged: its id does not fit.")
    return key


def sign_note(text: str, signers: Iterable[SigningKey], *, at: int = 0) -> Note:
    """The text, signed by each. Raises InputError for a text that cannot be a note's."""
    _check_text(text)
    return Note(text, tuple(Signature(each.name, each.key.key_id, each.sign(text, at=at)) for each in signers))


def parse_note(data: bytes) -> Note:
    """A note's text and signatures. Raises InputError for what is no signed note."""
    if len(data) > NOTE_SIZE_MAX:
        raise InputError(f"The signed note has {len(data)} bytes, more than {NOTE_SIZE_MAX}.")
    try:
        note = data.decode()
    except UnicodeDecodeError as error:
        raise InputError(f"The signed note is not UTF-8 at byte {error.start}.") from None
    if _CONTROL.search(note):
        raise InputError("The signed note holds control characters.")
    text, blank, lines = note.rpartition("\n\n")
    if not blank or not lines.endswith("\n"):
        raise InputError("This is no signed note: expected a text, an empty line, and signature lines to the end.")
    signatures = lines[:-1].split("\n")
    if len(signatures) > SIGNATURES_MAX:
        raise InputError(f"The signed note has {len(signatures)} signatures, more than {SIGNATURES_MAX}.")
    return Note(text + "\n", tuple(_parse_signature(line) for line in signatures))


def open_note(note: Note, trusted: Sequence[Key]) -> list[Verified]:
    """Who of the trusted signed the note, at least one.

    Raises IntegrityFailed where a trusted key's signature is wrong (the whole note is refused then) and where none of
    the trusted signed it.
    """
    known = {(key.name, key.key_id): key for key in trusted}
    verified: dict[Key, Verified] = {}
    for signature in note.signatures:
        key = known.get((signature.name, signature.key_id))
        if key is None or key in verified:
            continue
        if not is_signed(key, note.text, signature.signature):
            raise IntegrityFailed(
                f"The signature of {key.name} ({key.key_id.hex()}) does not fit the text of the note: it was altered."
            )
        at = int.from_bytes(signature.signature[:8]) if key.algorithm == COSIGNATURE_V1 else None
        verified[key] = Verified(key, at)
    if not verified:
        signers = ", ".join(f"{each.name} ({each.key_id.hex()})" for each in note.signatures)
        wanted = ", ".join(f"{each.name} ({each.key_id.hex()})" for each in trusted) or "none"
        raise IntegrityFailed(f"The note is not signed by a trusted key. Signed by {signers}; trusted: {wanted}.")
    return list(verified.values())


def is_signed(key: Key, text: str, signature: bytes) -> bool:
    """Whether this is the key's signature of the text."""
    if len(signature) != _SIGNATURE_SIZES.get(key.algorithm):
        return False
    signed = text.encode()
    if key.algorithm == COSIGNATURE_V1:
        signed, signature = _cosigned(int.from_bytes(signature[:8]), text), signature[8:]
    return is_ed25519_signed(key.public, signed, signature)


def is_ed25519_signed(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether the signature is the key's (RFC 8032)."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def bytes_of_base64(text: str) -> bytes | None:
    """Standard base64 in its only spelling, None for anything else."""
    try:
        data = b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return data if _base64(data) == text else None


def _cosigned(at: int, text: str) -> bytes:
    return f"cosignature/v1\ntime {at}\n{text}".encode()


def _parse_signature(line: str) -> Signature:
    found = _LINE.fullmatch(line)
    data = None if found is None else bytes_of_base64(found[2])
    if found is None or data is None or len(data) < 5 or _has_space(found[1]):
        raise InputError(f"A signature line is not one: {line[:60]!r}. Expected an em dash, a name and base64.")
    return Signature(found[1], data[:4], data[4:])


def _parse_key(text: str, expected: str, *, secret: bool = False) -> tuple[str, int, bytes, bytes]:
    """Name, algorithm, key and the key id that stands in it."""
    name, _, rest = text.partition("+")
    key_id, _, encoded = rest.partition("+")
    data = bytes_of_base64(encoded)
    if not name or _has_space(name) or not re.fullmatch("[0-9a-f]{8}", key_id) or data is None:
        found = "" if secret else f" Found {text[:80]!r}."
        raise InputError(f"The key is not one.{found} Expected {expected}.")
    if data[:1] not in (b"\x01", b"\x04") or len(data) != 1 + _KEY_SIZE:
        raise InputError(f"The key of {name} is of a kind that is not known. Expected Ed25519 or cosignature/v1.")
    return name, data[0], data[1:], bytes.fromhex(key_id)


def _check_name(name: str) -> str:
    if not name or "+" in name or _has_space(name) or _CONTROL.search(name):
        raise InputError(f"The key name {name[:80]!r} is not one. Expected text without spaces and plus signs.")
    return name


def _check_text(text: str) -> None:
    if not text.endswith("\n") or _CONTROL.search(text):
        raise InputError("The text of a note must end with a newline and hold no other control characters.")


def _has_space(name: str) -> bool:
    return any(character.isspace() for character in name)


def _base64(data: bytes) -> str:
    return b64encode(data).decode()
