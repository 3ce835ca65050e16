"""Policies (c2sp.org/tlog-policy): which witnesses there are, and how many of them must have cosigned. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import urlsplit

from ledger.errors import InputError
from ledger.integrity.note import COSIGNATURE_V1, ED25519, Key, parse_vkey

LINES_MAX = 1_000
NONE = "none"
"""The quorum of a policy that asks for no cosignature."""

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_BLANKS = re.compile(r"[ \t]+")


class Witness(NamedTuple):
    """`name` is the policy's own word; `url` the prefix to submit checkpoints to, None: it cannot be asked."""

    name: str
    key: Key
    url: str | None


class Group(NamedTuple):
    """At least `threshold` of the members, which are witnesses or groups."""

    threshold: int
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Policy:
    """`quorum` names a witness or a group, or is NONE."""

    quorum: str
    witnesses: Mapping[str, Witness]
    groups: Mapping[str, Group]
    logs: Sequence[Key] = ()

    def is_met(self, cosigned: Collection[Key]) -> bool:
        """Whether the cosignatures of these keys are enough."""
        return self.quorum == NONE or self._has_witnessed(self.quorum, cosigned)

    def _has_witnessed(self, name: str, cosigned: Collection[Key]) -> bool:
        if name in self.witnesses:
            return self.witnesses[name].key in cosigned
        group = self.groups[name]
        return sum(self._has_witnessed(member, cosigned) for member in group.members) >= group.threshold


def parse_policy(data: bytes) -> Policy:
    """Raises InputError that names the line."""
    text = data.decode("utf-8", "surrogateescape")  # what is not ASCII is not looked into
    lines = text.split("\n")
    if len(lines) > LINES_MAX:
        raise InputError(f"The policy has {len(lines)} lines, more than {LINES_MAX}.")
    reader = _Reader()
    for number, line in enumerate(lines, 1):
        try:
            reader.read(line)
        except InputError as error:
            raise InputError(f"Line {number} of the policy: {error.message}") from error
    if reader.quorum is None:
        raise InputError("The policy has no quorum. Expected a line `quorum NAME`, or `quorum none`.")
    return Policy(reader.quorum, reader.witnesses, reader.groups, reader.logs)


@dataclass(slots=True)
class _Reader:
    """What was read so far. A name must stand above the line that uses it, so no group can hold itself."""

    witnesses: dict[str, Witness] = field(default_factory=dict)
    groups: dict[str, Group] = field(default_factory=dict)
    logs: list[Key] = field(default_factory=list)
    quorum: str | None = None
    members: set[str] = field(default_factory=set)
    """All names that are a member of a group: each may be of one only."""

    def read(self, line: str) -> None:
        if _CONTROL.search(line):
            raise InputError("it holds control characters.")
        words = [word for word in _BLANKS.split(line) if word]
        if not words or words[0].startswith("#"):
            return
        readers: dict[str, Callable[[list[str]], None]] = {
            "log": self._log, "witness": self._witness, "group": self._group, "quorum": self._quorum,
        }  # fmt: skip
        if words[0] not in readers:
            raise InputError(f"found {words[0][:40]!r}, expected log, witness, group or quorum.")
        readers[words[0]](words[1:])

    def _log(self, words: list[str]) -> None:
        if not 1 <= len(words) <= 2:
            raise InputError("expected `log VKEY [URL]`.")
        key = _key(words[0], ED25519, self.logs)
        _url(words[1:])
        self.logs.append(key)

    def _witness(self, words: list[str]) -> None:
        if not 2 <= len(words) <= 3:
            raise InputError("expected `witness NAME VKEY [URL]`.")
        name = self._new_name(words[0])
        key = _key(words[1], COSIGNATURE_V1, [each.key for each in self.witnesses.values()])
        self.witnesses[name] = Witness(name, key, _url(words[2:]))

    def _group(self, words: list[str]) -> None:
        if len(words) < 3:
            raise InputError("expected `group NAME all|any|NUMBER NAME...`.")
        name, wanted, *members = words
        self._new_name(name)
        for member in members:
            self._known(member)
            if member in self.members:
                raise InputError(f"{member!r} is a member of a group already. Each may be of one only.")
            self.members.add(member)
        number = {"all": str(len(members)), "any": "1"}.get(wanted, wanted)
        if not re.fullmatch("[1-9][0-9]{0,3}", number) or int(number) > len(members):
            raise InputError(f"found {wanted[:40]!r}, expected all, any or a number from 1 to {len(members)}.")
        self.groups[name] = Group(int(number), tuple(members))

    def _quorum(self, words: list[str]) -> None:
        if len(words) != 1 or self.quorum is not None:
            raise InputError("expected `quorum NAME`, once.")
        self.quorum = words[0] if words[0] == NONE else self._known(words[0])

    def _new_name(self, name: str) -> str:
        if name == NONE or name in self.witnesses or name in self.groups:
            raise InputError(f"the name {name!r} is taken.")
        return name

    def _known(self, name: str) -> str:
        if name not in self.witnesses and name not in self.groups:
            raise InputError(f"there is no witness or group {name!r} above it.")
        return name


def _key(vkey: str, algorithm: int, known: Collection[Key]) -> Key:
    key = parse_vkey(vkey)
    if key.algorithm != algorithm:
        raise InputError(f"the key of {key.name} is of kind {key.algorithm:#04x}, expected {algorithm:#04x}.")
    if any(key.public == each.public for each in known):
        raise InputError(f"the key of {key.name} stands in the policy already.")
    return key


def _url(words: list[str]) -> str | None:
    if not words:
        return None
    parts = urlsplit(words[0])
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise InputError(f"the URL is {words[0][:80]!r}, expected https://host/prefix.")
    return words[0].rstrip("/")
