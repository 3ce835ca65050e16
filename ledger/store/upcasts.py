"""Old stored shapes, brought up to the present ones when they are read. Stored events themselves never change.

The version of a payload's shape stands in its member `v`, left out while it is 1. An upcast takes the payload's members
(name to raw JSON) at one version and returns them at the next.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from msgspec import Raw

from ledger.errors import IntegrityFailed
from ledger.store.shapes import SHAPES, Shape

Members = dict[str, Raw]
Upcast = Callable[[Members], Members]

UPCASTS: dict[tuple[str, int], Upcast] = {}
"""(topic, version) to the upcast from that version to the next. Empty as long as every shape is in its first one."""

_MEMBERS = msgspec.json.Decoder(Members)


def read_old_shape(
    topic: str,
    payload: bytes,
    *,
    shapes: Mapping[str, type[Any]] = SHAPES,
    upcasts: Mapping[tuple[str, int], Upcast] = UPCASTS,
) -> Shape:
    """A payload of any version as the present shape of its topic.

    Raises IntegrityFailed for an unknown topic, a version newer than this ledger knows, or a payload that no version
    of the shape explains.
    """
    shape = shapes.get(topic)
    if shape is None:
        raise IntegrityFailed(f"An event has the unknown topic {topic!r}. Was it written by a newer ledger? Update.")
    try:
        members = _MEMBERS.decode(payload)
        version = msgspec.json.decode(members.pop("v", Raw(b"1")), type=int)
        if version > shape.VERSION:
            raise IntegrityFailed(
                f"A {topic} event has shape version {version}; this ledger knows {shape.VERSION}. Update the ledger."
            )
        for old in range(version, shape.VERSION):
            members = upcasts[topic, old](members)
        if shape.VERSION > 1:
            members = {"v": Raw(b"%d" % shape.VERSION), **members}
        present: Shape = msgspec.json.decode(msgspec.json.encode(members), type=shape)
    except (msgspec.MsgspecError, KeyError, UnicodeDecodeError) as error:
        raise IntegrityFailed(f"The payload of a {topic} event is not of its stored shape: {error}.") from error
    return present
