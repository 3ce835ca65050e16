from __future__ import annotations

import json
from base64 import b64decode
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from ledger.integrity.merkle import (
    EMPTY_ROOT,
    check_consistency,
    check_inclusion,
    check_subtree,
    is_subtree,
    leaf_hash,
    node_hash,
    nodes_of,
    prove_consistency,
    prove_inclusion,
    root_of,
)
from tests.vectors import VECTORS, needs_vectors, read_vectors

MERKLE = "transparency-dev-merkle/testdata"
LEAVES = [leaf_hash(bytes([number])) for number in range(70)]


def verdict(kind: str, case: dict[str, Any]) -> bool:
    proof = [b64decode(each) for each in case["proof"] or ()]
    roots = [b64decode(case.get(name, "")) for name in ("root", "root1", "root2")]
    if kind == "inclusion":
        return check_inclusion(case["leafIdx"], case["treeSize"], b64decode(case["leafHash"]), proof, roots[0])
    if kind == "consistency":
        return check_consistency(case["size1"], case["size2"], roots[1], roots[2], proof)
    if kind == "subtreeconsistency":
        return check_subtree(case["start"], case["end"], case["size"], roots[1], roots[2], proof)
    start, end = case["start"], case["end"]
    leaf = b64decode(case["leafHash"])
    return is_subtree(start, end) and check_inclusion(case["leafIdx"] - start, end - start, leaf, proof, roots[0])


@needs_vectors
@pytest.mark.parametrize(
    ("kind", "number"),
    [("inclusion", 98), ("consistency", 98), ("subtreeinclusion", 204), ("subtreeconsistency", 118)],
)
def test_every_proof_of_the_reference_implementation_gets_its_verdict(kind: str, number: int) -> None:
    cases = {path: json.loads(path.read_bytes()) for path in (VECTORS / MERKLE / kind).rglob("*.json")}
    assert len(cases) == number
    assert Counter(not case["wantErr"] for case in cases.values()).keys() == {True, False}
    wrong = [str(path) for path, case in cases.items() if verdict(kind, case) == case["wantErr"]]
    assert wrong == []


@needs_vectors
def test_reference_tree_has_the_published_hashes() -> None:
    reference = read_vectors("derived/rfc6962_reference_tree.json")
    leaves = [leaf_hash(bytes.fromhex(each)) for each in reference["leaves"]]
    assert [root_of(leaves[:size]).hex() for size in range(9)] == reference["roots_by_size"]
    node_at = nodes_of(leaves)
    nodes = [node_at(level, index).hex() for level in range(4) for index in range(8 >> level)]
    assert nodes == reference["node_hashes_flat"]
    hasher = {
        "empty": EMPTY_ROOT,
        "leaf_of_empty": leaf_hash(b""),
        "leaf_L123456": leaf_hash(b"L123456"),
        "node_N123_N456": node_hash(b"N123", b"N456"),
    }
    assert {name: value.hex() for name, value in hasher.items()} == reference["hasher"]


def sizes() -> Iterator[int]:
    return iter(range(1, len(LEAVES) + 1))


def test_every_leaf_of_every_tree_is_proven() -> None:
    for size in sizes():
        root, node_at = root_of(LEAVES[:size]), nodes_of(LEAVES[:size])
        for index in range(size):
            proof = prove_inclusion(index, size, node_at)
            assert check_inclusion(index, size, LEAVES[index], proof, root)
            assert not check_inclusion(index, size, LEAVES[index - 1], proof, root) or size == 1
            assert not check_inclusion((index + 1) % size, size, LEAVES[index], proof, root) or size == 1


def test_every_tree_is_proven_to_begin_every_larger_one() -> None:
    for second in sizes():
        root, node_at = root_of(LEAVES[:second]), nodes_of(LEAVES[:second])
        for first in range(1, second + 1):
            proof = prove_consistency(first, second, node_at)
            assert check_consistency(first, second, root_of(LEAVES[:first]), root, proof)
            forked = root_of([*LEAVES[: first - 1], LEAVES[0] if first > 1 else LEAVES[1]])
            assert not check_consistency(first, second, forked, root, proof)
