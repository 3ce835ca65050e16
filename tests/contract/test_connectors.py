"""The contract of connectors (ledger.connectors.port): every connector that writes to a target passes it.

An author of a connector adds a function to MAKERS that gives one on a fresh target with the records of RECORDS.
"""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest

from ledger.connectors.double import DoubleTarget, Faults, stored
from ledger.connectors.port import Connector, Reference, TargetLost, TypeSchema, Write
from ledger.connectors.postgres.target import PostgresTarget
from ledger.embedded import DatabaseUrls

COMPANIES: dict[str, dict[str, object]] = {"1": {"name": "a"}, "2": {"name": "b"}}
CONTACTS: dict[str, dict[str, object]] = {
    "10": {"city": "paris", "size": 1, "company": "1"},
    "11": {"city": "rome", "size": None, "company": None},
}
SCHEMAS = {
    "company": TypeSchema(unique=(("name",),), required=frozenset(("name",))),
    "contact": TypeSchema(references=(Reference(("company",), "company"),)),
}
TABLES = """
    CREATE SCHEMA contract;
    CREATE TABLE contract.company (id text PRIMARY KEY, name text UNIQUE NOT NULL);
    CREATE TABLE contract.contact (
        id text PRIMARY KEY, city text, size numeric, company text REFERENCES contract.company
    );
    INSERT INTO contract.company VALUES ('1', 'a'), ('2', 'b');
    INSERT INTO contract.contact VALUES ('10', 'paris', 1, '1'), ('11', 'rome', NULL, NULL);
"""
Maker = Callable[[DatabaseUrls], Connector]


def make_double(_: DatabaseUrls) -> Connector:
    target = DoubleTarget(SCHEMAS)
    for kind, records in (("company", COMPANIES), ("contact", CONTACTS)):
        target.records.update({(kind, record_id): stored(fields) for record_id, fields in records.items()})
    return target


def make_postgres(urls: DatabaseUrls) -> Connector:
    with psycopg.connect(urls.owner_url) as connection:
        connection.execute(TABLES)
    return PostgresTarget(
        urls.owner_url, {"company": "contract.company", "contact": "contract.contact"}, system_fields=["id"]
    )


MAKERS: tuple[Maker, ...] = (make_double, make_postgres)


@pytest.fixture(params=MAKERS, ids=lambda maker: maker.__name__.removeprefix("make_"))
def target(request: pytest.FixtureRequest, database: DatabaseUrls) -> Connector:
    connector: Connector = request.param(database)
    return connector


def fields_of(target: Connector, object_type: str, record_id: str) -> dict[str, bytes] | None:
    """A record's fields as the target has them: nulls and the key left out; None: it is gone."""
    found = target.read(object_type, [record_id]).get(record_id)
    if found is None:
        return None
    return {name: text for name, text in found.fields.items() if name != "id" and text != b"null"}


def test_it_reads_what_is_there_and_nothing_else(target: Connector) -> None:
    found = target.read("contact", ["10", "11", "12", "", "x'y", '"'])
    assert sorted(found) == ["10", "11"]
    assert fields_of(target, "contact", "10") == {"city": b'"paris"', "size": b"1", "company": b'"1"'}


def test_it_describes_its_constraints(target: Connector) -> None:
    company, contact = target.describe("company"), target.describe("contact")
    assert set(target.object_types()) == {"company", "contact"}
    assert (company.unique, "name" in company.required, company.is_referenced) == ((("name",),), True, True)
    assert contact.references == (Reference(("company",), "company"),)


def test_it_writes_what_is_as_expected_and_touches_no_other_field(target: Connector) -> None:
    write = Write("update", "contact", "10", {"city": b'"Paris"'}, {"city": b'"paris"'})
    assert [outcome.status for outcome in target.write([write], "u-1")] == ["applied"]
    assert fields_of(target, "contact", "10") == {"city": b'"Paris"', "size": b"1", "company": b'"1"'}


def test_it_leaves_alone_what_is_not_as_expected_and_says_what_it_saw(target: Connector) -> None:
    write = Write("update", "contact", "10", {"city": b'"x"', "size": b"9"}, {"city": b'"paris"', "size": b"2"})
    (outcome,) = target.write([write], "u-1")
    assert outcome.status == "conflict"
    assert outcome.seen is not None
    assert outcome.seen["size"] == b"1"
    assert fields_of(target, "contact", "10") == {"city": b'"paris"', "size": b"1", "company": b'"1"'}


def test_null_and_missing_are_expected_and_written_alike(target: Connector) -> None:
    writes = [
        Write("update", "contact", "11", {"size": b"3", "city": None}, {"size": None, "city": b'"rome"'}),
        Write("update", "contact", "10", {"company": b"null"}, {"company": b'"1"'}),
    ]
    assert [outcome.status for outcome in target.write(writes, "u-1")] == ["applied", "applied"]
    assert fields_of(target, "contact", "11") == {"size": b"3"}
    assert fields_of(target, "contact", "10") == {"city": b'"paris"', "size": b"1"}


def test_records_that_are_gone_are_missing(target: Connector) -> None:
    writes = [Write("update", "contact", "99", {"city": b'"x"'}, {"city": None}), Write("delete", "contact", "99")]
    assert [outcome.status for outcome in target.write(writes, "u-1")] == ["missing", "missing"]


def test_it_creates_under_the_old_id_and_never_over_a_record(target: Connector) -> None:
    writes = [Write("create", "contact", "12", {"city": b'"oslo"'}), Write("create", "contact", "10", {"city": b'"x"'})]
    assert [outcome.status for outcome in target.write(writes, "u-1")] == ["applied", "conflict"]
    assert fields_of(target, "contact", "12") == {"city": b'"oslo"'}
    assert target.find_created(writes[0], "u-1") == "12"


def test_it_deletes_only_what_is_as_expected(target: Connector) -> None:
    writes = [
        Write("delete", "contact", "10", {}, {"city": b'"rome"'}),
        Write("delete", "contact", "11", {}, {"city": b'"rome"', "size": None}),
    ]
    assert [outcome.status for outcome in target.write(writes, "u-1")] == ["conflict", "applied"]
    assert fields_of(target, "contact", "11") is None


def test_one_refused_record_does_not_take_the_others_with_it(target: Connector) -> None:
    writes = [
        Write("update", "company", "1", {"name": b'"c"'}, {"name": b'"a"'}),
        Write("update", "company", "2", {"name": b"null"}, {"name": b'"b"'}),
        Write("create", "company", "3", {"name": b'"b"'}),
        Write("create", "contact", "13", {"company": b'"nobody"'}),
        Write("create", "contact", "14", {"company": b'"2"'}),
        Write("delete", "company", "2", {}, {"name": b'"b"'}),
    ]
    outcomes = target.write(writes, "u-1")
    expected = ["applied", "rejected", "rejected", "rejected", "applied", "rejected"]
    assert [outcome.status for outcome in outcomes] == expected
    assert all(outcome.message for outcome in outcomes if outcome.status == "rejected")
    assert fields_of(target, "company", "2") == {"name": b'"b"'}


def test_it_finds_records_by_their_values(target: Connector) -> None:
    values = [(b'"1"',), (b'"2"',), (b'"no such"',), (b"7",)]
    assert [record_id for record_id, _ in target.find("contact", ("company",), values)] == ["10"]
    assert target.find("contact", ("company",), []) == []


def test_writes_come_one_after_the_other(target: Connector) -> None:
    writes = [
        Write("update", "company", "1", {"name": b'"c"'}, {"name": b'"a"'}),
        Write("update", "company", "2", {"name": b'"a"'}, {"name": b'"b"'}),
        Write("update", "company", "1", {"name": b'"b"'}, {"name": b'"c"'}),
    ]
    assert [outcome.status for outcome in target.write(writes, "u-1")] == ["applied"] * 3
    assert [fields_of(target, "company", record_id) for record_id in "12"] == [{"name": b'"b"'}, {"name": b'"a"'}]


def test_a_target_that_is_not_there_is_lost_and_not_guessed_at(database: DatabaseUrls) -> None:
    gone = PostgresTarget("host=/nonexistent dbname=nothing", {"contact": "contact"})
    with pytest.raises(TargetLost, match="does not answer"):
        gone.read("contact", ["1"])
    dying = make_double(database)
    assert isinstance(dying, DoubleTarget)
    dying.misbehave(Faults(crash_after=0))
    with pytest.raises(TargetLost, match="lost"):
        dying.write([Write("delete", "contact", "10")], "u-1")
