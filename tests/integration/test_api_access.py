"""Who may do what over HTTP, and on the pages."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from ledger.access import ROLES, Tokens, authenticate, format_token, parse_token
from ledger.errors import NotSignedIn
from ledger.ids import account_id_of
from tests.examples import a_change
from tests.web import Web, problem

READS = [
    "/v1/runs",
    "/v1/changes",
    "/v1/records/contact/1",
    "/v1/states/contact",
    "/v1/activity?from=2026-01-01&to=2026-01-02",
]


@pytest.mark.parametrize("path", READS)
def test_reads_need_a_reading_role(web: Web, path: str) -> None:
    assert {role: web.get(path, role=role).status_code for role in ROLES} == {
        "producer": 403, "operator": 200, "auditor": 200, "admin": 200
    }  # fmt: skip
    nobody = web.get(path, role=None)
    assert problem(nobody)["status"] == 401
    assert nobody.headers["WWW-Authenticate"].startswith("Bearer")


def test_recording_needs_a_recording_role(web: Web) -> None:
    assert {role: web.post("/v1/runs", {}, role=role).status_code for role in ROLES} == {
        "producer": 201, "operator": 201, "auditor": 403, "admin": 201
    }  # fmt: skip


def test_producer_reads_back_how_far_its_run_is_and_no_more(web: Web) -> None:
    run_id = web.record([a_change(1)])
    found = web.get(f"/v1/runs/{run_id}", role="producer").get_json()
    assert set(found) == {"run_id", "status", "accepted", "tally"}
    assert web.get(f"/v1/runs/{run_id}/changes", role="producer").status_code == 403
    assert web.get(f"/v1/runs/{run_id}/report.csv", role="producer").status_code == 403


def test_refusal_names_the_role_needed(web: Web) -> None:
    document = problem(web.get("/v1/tokens", role="operator"))
    assert document["roles_needed"] == ["admin"]


def test_admin_makes_lists_and_revokes_tokens(web: Web) -> None:
    made = web.post("/v1/tokens", {"role": "auditor", "name": "Eve"}, role="admin").get_json()
    headers = {"Authorization": f"Bearer {made['token']}"}
    assert web.client.get("/v1/runs", headers=headers).status_code == 200
    listed = web.get("/v1/tokens", role="admin")
    assert made["token"] not in listed.text
    assert made["token_id"] in {token["token_id"] for token in listed.get_json()["tokens"]}
    path = f"/v1/tokens/{made['token_id']}"
    assert web.client.delete(path, headers=web.headers("admin", {})).get_json()["revoked_at"]
    assert problem(web.client.get("/v1/runs", headers=headers))["status"] == 401


def test_expired_token_is_refused_and_use_is_noted(web: Web) -> None:
    now = datetime.now(UTC)
    tokens = Tokens(web.services.database, web.account_id, clock=lambda: now)
    text, token = tokens.make("auditor", "short", now + timedelta(hours=1))
    assert authenticate(web.services.database, text, clock=lambda: now).token_id == token.token_id
    assert next(one for one in tokens.list() if one.token_id == token.token_id).last_used_at == now
    with pytest.raises(NotSignedIn, match="expired"):
        authenticate(web.services.database, text, clock=lambda: now + timedelta(hours=1))


def test_token_reads_its_own_account_only(web: Web) -> None:
    run_id = web.record([a_change(1)])
    other = web.services.accounts().add("other")
    text, _ = web.services.tokens(other.account_id).make("admin", "stranger")
    stranger = {"Authorization": f"Bearer {text}"}
    assert problem(web.client.get(f"/v1/runs/{run_id}", headers=stranger))["status"] == 404
    assert web.client.get("/v1/runs", headers=stranger).get_json()["runs"] == []


def test_token_text_is_checked_before_any_look_up() -> None:
    account_id = account_id_of("default")
    text = format_token(account_id, bytes(range(32)))
    assert parse_token(text) == account_id
    for wrong in (text[:-1], text + "0", text[:-1] + ("0" if text[-1] != "0" else "1"), "", "ldg_" + "z" * 70):
        with pytest.raises(NotSignedIn):
            parse_token(wrong)


def test_page_asks_to_sign_in_and_keeps_the_token_from_scripts(web: Web) -> None:
    first = web.client.get("/?text=x")
    assert first.status_code == 303
    assert "/sign-in" in first.headers["Location"]
    signed = web.client.post("/sign-in", data={"token": web.tokens["auditor"], "next": "/?text=x"})
    assert signed.headers["Location"] == "/?text=x"
    assert "HttpOnly" in signed.headers["Set-Cookie"]
    assert "SameSite=Strict" in signed.headers["Set-Cookie"]
    assert web.client.get("/").status_code == 200
    web.client.post("/sign-out")
    assert web.client.get("/").status_code == 303


@pytest.mark.parametrize("headers", [{"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}])
def test_sign_in_from_another_site_is_refused(web: Web, headers: dict[str, str]) -> None:
    answer = web.client.post("/sign-in", data={"token": web.tokens["auditor"]}, headers=headers)
    assert answer.status_code == 403
    assert "Set-Cookie" not in answer.headers


def test_many_failed_sign_ins_must_wait(web: Web) -> None:
    tries = [web.client.post("/sign-in", data={"token": "ldg_wrong"}).status_code for _ in range(11)]
    assert tries == [401] * 10 + [503]


def test_sign_in_leads_to_own_pages_only(web: Web) -> None:
    answer = web.client.post("/sign-in", data={"token": web.tokens["auditor"], "next": "//evil.example"})
    assert answer.headers["Location"] == "/"


def test_pages_show_hostile_values_as_text(web: Web) -> None:
    nasty = "<script>alert(1)</script>"
    run_id = web.record(
        [
            {
                "action": "create",
                "record_id": nasty,
                "label": nasty,
                "link": "javascript:alert(1)",
                "after": {nasty: nasty},
            }
        ],
        template={"name": nasty, "url": "javascript:alert(1)"},
    )
    web.client.set_cookie("ledger_token", web.tokens["auditor"])
    for path in ("/", f"/runs/{run_id}", "/records?object_type=contact&record_id=%3Cscript%3Ealert(1)%3C/script%3E"):
        answer = web.client.get(path)
        assert answer.status_code == 200
        assert "<script>" not in answer.text  # our own scripts have an address
        assert 'href="javascript' not in answer.text
        assert "&lt;script&gt;" in answer.text


def test_admin_adds_lists_and_removes_users(web: Web) -> None:
    added = web.post("/v1/users", {"email": "Ann@Example.com", "role": "auditor", "name": "Ann"}, role="admin")
    assert added.status_code == 201
    user = added.get_json()
    assert (user["email"], user["role"], user["name"], user["last_signed_in_at"]) == (
        "ann@example.com", "auditor", "Ann", None
    )  # fmt: skip
    again = {"email": "ann@example.com", "role": "admin"}
    assert problem(web.post("/v1/users", again, role="admin"))["status"] == 409
    assert web.get("/v1/users", role="admin").get_json() == {"users": [user]}
    path = "/v1/users/ann%40example.com"
    assert web.client.delete(path, headers=web.headers("admin", {})).get_json() == user
    assert problem(web.client.delete(path, headers=web.headers("admin", {})))["status"] == 404


def test_users_are_for_administrators_and_must_have_an_address(web: Web) -> None:
    for role in ("producer", "operator", "auditor"):
        assert problem(web.get("/v1/users", role=role))["status"] == 403
        assert problem(web.post("/v1/users", {"email": "a@b.example", "role": "admin"}, role=role))["status"] == 403
    for body in ({"email": "nobody", "role": "admin"}, {"email": "a@b.example", "role": "king"}, {"role": "admin"}):
        assert problem(web.post("/v1/users", body, role="admin"))["status"] == 422
