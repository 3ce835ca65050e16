from __future__ import annotations

from itertools import combinations

import pytest

from ledger.errors import InputError
from ledger.integrity.note import COSIGNATURE_V1, Key, SigningKey, format_vkey
from ledger.integrity.policy import Group, Policy, Witness, parse_policy


def a_key(name: str, algorithm: int = COSIGNATURE_V1) -> Key:
    return SigningKey(f"{name}.example", name.encode().ljust(32, b"."), algorithm).key


def vkey(name: str, algorithm: int = COSIGNATURE_V1) -> str:
    return format_vkey(a_key(name, algorithm))


WITNESSES = "".join(f"witness {name} {vkey(name)}\n" for name in ("x1", "x2", "x3", "y1", "y2", "y3"))
EXAMPLE = f"""\
# as in the specification
log {vkey("log", 1)}

{WITNESSES}
  group X-witnesses 2 x1 x2 x3
group\tY-witnesses any y1 y2 y3

group X-and-Y all X-witnesses Y-witnesses
quorum X-and-Y
"""


def test_policy_of_the_specification_asks_for_two_of_one_group_and_one_of_the_other() -> None:
    policy = parse_policy(EXAMPLE.encode())
    assert policy.logs == [a_key("log", 1)]
    assert policy.groups["X-witnesses"] == Group(2, ("x1", "x2", "x3"))
    names = sorted(policy.witnesses)
    for number in range(7):
        for chosen in combinations(names, number):
            enough = sum(name[0] == "x" for name in chosen) >= 2 and any(name[0] == "y" for name in chosen)
            assert policy.is_met({a_key(name) for name in chosen}) == enough, chosen


def test_quorum_may_be_a_witness_or_none() -> None:
    text = f"witness Zürich {vkey('z')} https://z.example/prefix/\n"
    policy = parse_policy(f"{text}quorum Zürich\n".encode())
    assert list(policy.witnesses.values()) == [Witness("Zürich", a_key("z"), "https://z.example/prefix")]
    assert [policy.is_met(cosigned) for cosigned in (set(), {a_key("other")}, {a_key("z")})] == [False, False, True]
    assert parse_policy(f"{text}quorum none\n".encode()).is_met(set())
    assert parse_policy(b"quorum none") == Policy("none", {}, {}, [])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "has no quorum"),
        ("quorum a\n", "Line 1.*no witness or group 'a'"),
        ("quorum none\nquorum none\n", "Line 2.*once"),
        ("quorums none\n", "found 'quorums'"),
        (f"witness a {vkey('a')}\nwitness a {vkey('b')}\n", "Line 2.*'a' is taken"),
        (f"witness a {vkey('a')}\nwitness b {vkey('a')}\n", "stands in the policy already"),
        (f"witness none {vkey('a')}\n", "'none' is taken"),
        (f"witness a {vkey('a', 1)}\n", "kind 0x01, expected 0x04"),
        (f"log {vkey('a')}\n", "kind 0x04, expected 0x01"),
        (f"witness a {vkey('a').replace('a.example', 'b.example')}\n", "damaged"),
        (f"witness a {vkey('a')} ftp://a.example\n", "URL"),
        (f"witness a {vkey('a')} https://a.example/?x\n", "URL"),
        (f"witness a {vkey('a')} https://a.example and\n", "expected `witness"),
        (f"witness a\u00a0{vkey('a')}\n", "expected `witness"),
        ("quorum\x0bnone\n", "control characters"),
        ("quorum none\r\n", "control characters"),
        (f"{WITNESSES}group g 0 x1\n", "a number from 1 to 1"),
        (f"{WITNESSES}group g 3 x1 x2\n", "a number from 1 to 2"),
        (f"{WITNESSES}group g 02 x1 x2\n", "a number from 1 to 2"),
        (f"{WITNESSES}group g all\n", "expected `group"),
        (f"{WITNESSES}group g all g\n", "no witness or group 'g'|member"),
        (f"{WITNESSES}group g all none\n", "no witness or group 'none'"),
        (f"{WITNESSES}group g any x1 x1\n", "member of a group already"),
        (f"{WITNESSES}group g any x1\ngroup h any x1 x2\n", "Line 8.*member of a group already"),
        ("\n" * 1000, "1001 lines"),
    ],
)
def test_policy_that_is_none_is_refused_with_its_line(text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        parse_policy(text.encode())
