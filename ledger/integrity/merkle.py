"""The Merkle tree of RFC 6962 section 2.1 and RFC 9162 section 2.1 with SHA-256. Pure: hashes in, hashes out.

Proofs are made from a `NodeAt`, a function from (level, index) to the hash of the complete subtree of 2**level leaves
that begins at leaf index * 2**level; where it takes the hashes from (memory, tiles) is not known here.
Indexes of leaves count from 0: the event at position p is leaf p - 1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256

HASH_SIZE = 32
"""Bytes of a hash."""
EMPTY_ROOT = sha256().digest()
"""The root of the tree without leaves."""

NodeAt = Callable[[int, int], bytes]


def leaf_hash(entry: bytes) -> bytes:
    """The hash of a leaf with this content. The 0 in front tells leaves from nodes (RFC 9162 section 2.1.1)."""
    return sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of a node over two subtrees."""
    return sha256(b"\x01" + left + right).digest()


def root_of(hashes: Sequence[bytes]) -> bytes:
    """The root over these leaf hashes."""
    return subtree_hash(0, len(hashes), nodes_of(hashes))


def nodes_of(hashes: Sequence[bytes]) -> NodeAt:
    """The nodes over leaf hashes in memory, computed when they are asked for."""

    def node_at(level: int, index: int) -> bytes:
        row = list(hashes[index << level : (index + 1) << level])
        while len(row) > 1:
            row = paired(row)
        return row[0]

    return node_at


def paired(hashes: Sequence[bytes]) -> list[bytes]:
    """The level above an even number of hashes."""
    return [sha256(b"\x01" + hashes[at] + hashes[at + 1]).digest() for at in range(0, len(hashes), 2)]


def subtree_hash(start: int, end: int, node_at: NodeAt) -> bytes:
    """The hash over leaves start to end (end excluded), where start is a multiple of the next power of two."""
    size = end - start
    if size == 0:
        return EMPTY_ROOT
    if size & (size - 1) == 0:
        return node_at(size.bit_length() - 1, start // size)
    middle = start + _split(size)
    return node_hash(subtree_hash(start, middle, node_at), subtree_hash(middle, end, node_at))


def is_subtree(start: int, end: int) -> bool:
    """Whether leaves start to end (end excluded) hang together under one node in every tree that holds them."""
    return 0 <= start < end and start % (1 << (end - start - 1).bit_length()) == 0


def prove_inclusion(index: int, size: int, node_at: NodeAt) -> list[bytes]:
    """The path from leaf `index` to the root of the tree of `size` leaves (RFC 9162 section 2.1.3.1)."""
    assert 0 <= index < size
    path: list[bytes] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            path.append(subtree_hash(middle, end, node_at))
            end = middle
        else:
            path.append(subtree_hash(start, middle, node_at))
            start = middle
    return path[::-1]


def check_inclusion(index: int, size: int, leaf: bytes, proof: Sequence[bytes], root: bytes) -> bool:
    """Whether the proof leads from the leaf hash at `index` to the root (RFC 9162 section 2.1.3.2)."""
    if not 0 <= index < size or not _are_hashes(leaf, root, *proof):
        return False
    node, last, found = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            return False
        if node & 1 or node == last:
            found = node_hash(sibling, found)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            found = node_hash(found, sibling)
        node, last = node >> 1, last >> 1
    return last == 0 and found == root


def prove_consistency(first: int, second: int, node_at: NodeAt) -> list[bytes]:
    """That the tree of `first` leaves is the beginning of the tree of `second` (RFC 9162 section 2.1.4.1)."""
    assert 0 < first <= second
    proof: list[bytes] = []
    start, end = 0, second
    while first != end:
        middle = start + _split(end - start)
        if first <= middle:
            proof.append(subtree_hash(middle, end, node_at))
            end = middle
        else:
            proof.append(subtree_hash(start, middle, node_at))
            start = middle
    if start:  # where it is 0, the verifier holds this hash: the first root
        proof.append(subtree_hash(start, end, node_at))
    return proof[::-1]


def check_consistency(first: int, second: int, first_root: bytes, second_root: bytes, proof: Sequence[bytes]) -> bool:
    """Whether the proof shows that the tree of `first` leaves is the beginning of the tree of `second` (RFC 9162
    section 2.1.4.2). Nothing follows from a tree without leaves, so for one the answer is no."""
    return first > 0 and check_subtree(0, first, second, first_root, second_root, proof)


def check_subtree(start: int, end: int, size: int, subtree: bytes, root: bytes, proof: Sequence[bytes]) -> bool:
    """Whether leaves start to end (end excluded) of the tree of `size` leaves have the hash `subtree`
    (draft-ietf-plants-merkle-tree-certs, verification of a subtree consistency proof)."""
    if start == end:
        return 0 <= start <= size and not proof and subtree == EMPTY_ROOT
    if not is_subtree(start, end) or end > size or not _are_hashes(*proof):
        return False
    begin, end, last = start, end - 1, size - 1
    while begin != end and (end == last or end & 1):
        begin, end, last = begin >> 1, end >> 1, last >> 1
    hashes = [subtree, *proof] if begin == end else list(proof)
    if not hashes:
        return False
    old = new = hashes[0]
    for sibling in hashes[1:]:
        if last == 0:
            return False
        if end & 1 or end == last:
            if begin < end:
                old = node_hash(sibling, old)
            new = node_hash(sibling, new)
            while not end & 1 and end:
                begin, end, last = begin >> 1, end >> 1, last >> 1
        else:
            new = node_hash(new, sibling)
        begin, end, last = begin >> 1, end >> 1, last >> 1
    return last == 0 and old == subtree and new == root


def _are_hashes(*values: bytes) -> bool:
    return all(len(value) == HASH_SIZE for value in values)


def _split(size: int) -> int:
    """The largest power of two below `size`."""
    return 1 << (size - 1).bit_length() - 1
