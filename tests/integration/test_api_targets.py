"""Targets and declared schemas over HTTP: administrators set them, readers see them, nobody sees a secret."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from ledger.connectors.registry import Target
from ledger.embedded import DatabaseUrls
from tests.integration.conftest import web as web
from tests.web import Web, problem

VARIABLE = "LEDGER_TARGET__DEFAULT__SHOP"
SHOP = {
    "name": "shop", "kind": "postgres", "dsn": f"env:{VARIABLE}", "tables": {"customer": "customers"},
    "system_fields": ["seen"],
}  # fmt: skip
SHOWN = SHOP | {"run_id_column": None}
PERSON = {"references": {"firm": "firm"}, "unique": [["mail"]], "required": ["name"], "field_types": {"at": "datetime"}}


@pytest.fixture
def shop(database: DatabaseUrls, monkeypatch: pytest.MonkeyPatch) -> DatabaseUrls:
    """A database with a table of customers, whose connection string is in the account's variable."""
    with psycopg.connect(database.owner_url) as connection:
        connection.execute("CREATE TABLE customers (id int PRIMARY KEY, name text, seen timestamptz)")
        connection.execute("INSERT INTO customers VALUES (1, 'Ann')")
    monkeypatch.setenv(VARIABLE, database.owner_url)
    return database


def test_a_target_is_added_listed_used_and_removed(web: Web, shop: DatabaseUrls) -> None:
    added = web.post("/v1/targets", SHOP, role="admin")
    assert (added.status_code, added.get_json(), added.headers["Location"]) == (201, SHOWN, "/v1/targets/shop")
    assert web.get("/v1/targets").get_json() == {"targets": [SHOWN]}
    assert web.get("/v1/targets/shop").get_json() == SHOWN
    assert problem(web.post("/v1/targets", SHOP, role="admin"))["status"] == 409
    change = {"record_id": "1", "action": "update", "before": {"name": "ann"}, "after": {"name": "Ann"}}
    run_id = web.record([change], object_type="customer", target="shop")
    web.app.testing = True
    undone = web.post("/v1/undos", {"runs": [run_id]}, role="operator")
    assert undone.get_json()["status"] == "completed", undone.text
    with psycopg.connect(shop.owner_url) as connection:
        assert connection.execute("SELECT name FROM customers").fetchall() == [("ann",)]
    assert web.client.delete("/v1/targets/shop", headers=web.headers("admin", {})).get_json() == SHOWN
    assert web.get("/v1/targets").get_json() == {"targets": []}
    assert problem(web.client.delete("/v1/targets/shop", headers=web.headers("admin", {})))["status"] == 404


@pytest.mark.parametrize(
    "change",
    [
        {"dsn": "host=localhost password=geheim"}, {"dsn": "env:LEDGER_OWNER_URL"}, {"dsn": "env:PATH"},
        {"dsn": "env:LEDGER_TARGET__OTHER__SHOP"}, {"dsn": "env:LEDGER_TARGET__DEFAULT__X__SHOP"},
        {"dsn": "env:LEDGER_TARGET__DEFAULT__NOT_SET"}, {"dsn": "env:LEDGER_TARGET__DEFAULT__BAD"}, {"kind": "crm"},
        {"name": "Shop!"}, {"name": "ledger"}, {"tables": {}}, {"tables": ["customers"]}, {"more": 1},
    ],
    ids=str,
)  # fmt: skip
def test_a_bad_target_is_refused_without_telling_secrets(
    web: Web, shop: DatabaseUrls, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any]
) -> None:
    monkeypatch.setenv("LEDGER_TARGET__OTHER__SHOP", shop.owner_url)
    monkeypatch.setenv("LEDGER_TARGET__DEFAULT__BAD", "geheim und mehr")
    refused = web.post("/v1/targets", SHOP | change, role="admin")
    assert problem(refused)["status"] == 422
    assert "geheim" not in refused.text
    assert web.get("/v1/targets").get_json() == {"targets": []}


def test_a_table_that_is_not_there_or_a_database_that_is_away_adds_nothing(
    web: Web, shop: DatabaseUrls, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert problem(web.post("/v1/targets", SHOP | {"tables": {"x": "nowhere"}}, role="admin"))["status"] in (404, 422)
    monkeypatch.setenv(VARIABLE, "host=127.0.0.1 port=1 password=geheim connect_timeout=1")
    away = web.post("/v1/targets", SHOP, role="admin")
    assert problem(away)["code"] == "target_lost"
    assert "geheim" not in away.text
    assert web.get("/v1/targets").get_json() == {"targets": []}


def test_an_undo_for_a_target_that_is_unknown_or_away_is_not_begun(web: Web) -> None:
    run_id = web.record([{"record_id": "1", "action": "create", "after": {"n": 1}}])
    settings = {"dsn": "host=127.0.0.1 port=1 connect_timeout=1", "tables": {"contact": "contacts"}}
    web.services.targets(web.account_id).add(Target("away", "postgres", settings))
    for target, code, status in (("nowhere", "not_found", 404), ("away", "target_lost", 503)):
        for path in ("/v1/undo-plans", "/v1/undos"):
            refused = problem(web.post(path, {"runs": [run_id], "target": target}, role="operator"))
            assert (refused["code"], refused["status"]) == (code, status)
    assert web.get(f"/v1/runs/{run_id}").get_json()["undo_state"] == "none"
    assert web.get("/v1/runs").get_json()["total"] == 1


def test_a_password_that_the_command_line_took_is_never_shown(web: Web) -> None:
    for name, dsn in (
        ("a", "host=h dbname=d user=u password=geheim sslpassword=geheim2"),
        ("b", "postgresql://u:geheim@h/d"),
    ):
        web.services.targets(web.account_id).add(Target(name, "postgres", {"dsn": dsn, "tables": {"t": "t"}}))
    listed = web.get("/v1/targets")
    assert [target["dsn"] for target in listed.get_json()["targets"]] == ["host=h dbname=d user=u"] * 2
    assert "geheim" not in listed.text


def test_schemas_are_declared_read_and_removed(web: Web) -> None:
    headers = web.headers("admin", {})
    assert web.client.put("/v1/schemas/person", json=PERSON, headers=headers).get_json() == PERSON
    assert web.get("/v1/schemas").get_json() == {"schemas": {"person": PERSON}}
    assert web.get("/v1/schemas/person").get_json() == PERSON
    changed = {"required": ["name"]}
    assert web.client.put("/v1/schemas/person", json=changed, headers=headers).get_json() == changed
    assert web.client.delete("/v1/schemas/person", headers=headers).get_json() == changed
    assert web.get("/v1/schemas/person").status_code == 404
    assert web.client.delete("/v1/schemas/person", headers=headers).status_code == 404
    bad: tuple[Any, ...] = (
        {"required": "name"},
        {"unique": ["mail"]},
        {"field_types": {"at": "date"}},
        {"checks": []},
        [],
    )
    for body in bad:
        assert problem(web.client.put("/v1/schemas/person", json=body, headers=headers))["status"] == 422
    assert web.get("/v1/schemas").get_json() == {"schemas": {}}


@pytest.mark.parametrize("role", ["producer", "operator", "auditor"])
def test_only_administrators_change_targets_and_schemas(web: Web, shop: DatabaseUrls, role: str) -> None:
    headers = web.headers(role, {})
    assert web.post("/v1/targets", SHOP, role=role).status_code == 403
    assert web.client.delete("/v1/targets/shop", headers=headers).status_code == 403
    assert web.client.put("/v1/schemas/person", json=PERSON, headers=headers).status_code == 403
    assert web.client.delete("/v1/schemas/person", headers=headers).status_code == 403
    assert web.get("/v1/targets", role=role).status_code == (403 if role == "producer" else 200)


def test_targets_of_another_account_are_not_there(web: Web, shop: DatabaseUrls) -> None:
    web.post("/v1/targets", SHOP, role="admin")
    other = web.services.accounts().add("other").account_id
    token = web.services.tokens(other).make("admin", "other")[0]
    headers = {"Authorization": f"Bearer {token}"}
    assert web.client.get("/v1/targets", headers=headers).get_json() == {"targets": []}
    assert web.client.get("/v1/targets/shop", headers=headers).status_code == 404
    assert web.client.post("/v1/targets", json=SHOP, headers=headers).status_code == 422
