"""Signing in with OpenID Connect, against a real local provider: who gets in, as what, and what is refused."""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest
import requests
from flask.testing import FlaskClient
from oidc_provider_mock import User as Claims
from oidc_provider_mock import run_server_in_thread
from werkzeug.test import TestResponse

from api.app import create_app
from ledger.domain.operation import User
from ledger.embedded import DatabaseUrls
from ledger.errors import InputError
from ledger.settings import read_settings
from tests.examples import a_change
from tests.web import Web, opened_web

pytestmark = pytest.mark.filterwarnings("ignore:get_jwt_config:DeprecationWarning")  # the provider's own
PEOPLE = [
    Claims(sub="ann", claims={"email": "Ann@example.com", "email_verified": True, "name": "Ann Example"}),
    Claims(sub="impostor", claims={"email": "ann@example.com", "email_verified": True, "name": "Not Ann"}),
    Claims(sub="unverified", claims={"email": "ann@example.com"}),
    Claims(sub="denied", claims={"email": "ann@example.com", "email_verified": False}),
    Claims(sub="nameless", claims={"name": "Nobody"}),
    Claims(sub="stranger", claims={"email": "stranger@example.com", "email_verified": True}),
]


@pytest.fixture(scope="module")
def issuer() -> Iterator[str]:
    with run_server_in_thread(user_claims=PEOPLE, require_nonce=True) as server:
        yield f"http://localhost:{server.server_port}"


@pytest.fixture
def web(database: DatabaseUrls, issuer: str) -> Iterator[Web]:
    """The pages of two accounts, with a provider."""
    with opened_web(database.service_url) as found:
        found.services.accounts().add("second")
        found.app = create_app(found.services, read_settings(environment=environment(issuer)))
        found.client = found.app.test_client()
        yield found


def environment(issuer: str) -> dict[str, str]:
    return {
        "LEDGER_OIDC_ISSUER": issuer,
        "LEDGER_OIDC_CLIENT_ID": "ledger",
        "LEDGER_OIDC_CLIENT_SECRET": "s3cret",
        "LEDGER_BASE_URL": "http://localhost",
    }


def user_of(web: Web, email: str, role: str, account: str = "default") -> None:
    web.services.users(web.services.accounts().find(account).account_id).add(email, role)


def begin(client: FlaskClient, target: str = "/") -> str:
    """Where the browser is sent."""
    answer = client.get("/sign-in/openid", query_string={"next": target})
    assert answer.status_code == 303, answer.text
    return str(answer.headers["Location"])


def confirm(location: str, subject: str) -> str:
    """The provider's page, confirmed; where it sends the browser back to."""
    answer = requests.post(location, data={"sub": subject}, allow_redirects=False, timeout=10)
    assert answer.status_code in (302, 303), answer.text
    back = urlsplit(answer.headers["Location"])
    assert (back.netloc, back.path) == ("localhost", "/sign-in/openid/callback")
    return f"{back.path}?{back.query}"


def sign_in(client: FlaskClient, subject: str, target: str = "/") -> TestResponse:
    return client.get(confirm(begin(client, target), subject))


def test_person_signs_in_and_is_sent_where_they_wanted_to_go(web: Web) -> None:
    user_of(web, "ann@example.com", "auditor")
    location = begin(web.client, "/?text=x")
    asked = {name: values[0] for name, values in parse_qs(urlsplit(location).query).items()}
    assert asked["code_challenge_method"] == "S256"
    assert len(asked["code_challenge"]) == 43
    assert len(asked["state"]) >= 43
    assert len(asked["nonce"]) >= 43
    answer = web.client.get(confirm(location, "ann"))
    assert (answer.status_code, answer.headers["Location"]) == (303, "/?text=x")
    cookie = next(each for each in answer.headers.getlist("Set-Cookie") if each.startswith("ledger_session="))
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    page = web.client.get("/")
    assert page.status_code == 200
    assert "Ann Example" in page.text


def test_sign_in_page_offers_it_only_where_a_provider_is_set(web: Web) -> None:
    assert "/sign-in/openid" in web.client.get("/sign-in").text
    without = create_app(web.services, read_settings(environment={})).test_client()
    assert "/sign-in/openid" not in without.get("/sign-in").text
    assert without.get("/sign-in/openid").status_code == 404


def test_cookies_over_tls_are_secure_and_bound_to_the_host(web: Web, issuer: str) -> None:
    user_of(web, "ann@example.com", "auditor")
    settings = read_settings(environment=environment(issuer) | {"LEDGER_BASE_URL": "https://localhost"})
    client = create_app(web.services, settings).test_client()
    location = client.get("/sign-in/openid", base_url="https://localhost").headers["Location"]
    answer = client.get(confirm(location, "ann"), base_url="https://localhost")
    cookie = next(each for each in answer.headers.getlist("Set-Cookie") if "ledger_session=" in each)
    assert cookie.startswith("__Host-ledger_session=")
    assert "Secure" in cookie
    assert client.get("/", base_url="https://localhost").status_code == 200


def test_forged_state_is_refused(web: Web) -> None:
    user_of(web, "ann@example.com", "auditor")
    back = confirm(begin(web.client), "ann")
    parameters = parse_qs(urlsplit(back).query)
    for state in (["forged"], [""], []):
        query = urllib.parse.urlencode(parameters | {"state": state}, doseq=True)
        assert web.client.get(f"/sign-in/openid/callback?{query}").status_code == 400
    assert web.client.get("/").status_code == 303


def test_answer_of_another_browser_is_refused(web: Web) -> None:
    user_of(web, "ann@example.com", "auditor")
    back = confirm(begin(web.client), "ann")
    victim = web.app.test_client()
    begin(victim)  # has a sign-in of its own under way
    assert victim.get(back).status_code == 400
    assert victim.get("/").status_code == 303


def test_answer_is_taken_once_and_from_this_provider_only(web: Web) -> None:
    user_of(web, "ann@example.com", "auditor")
    back = confirm(begin(web.client), "ann")
    assert web.client.get(f"{back}&iss=https://evil.example").status_code == 400
    back = confirm(begin(web.client), "ann")
    assert web.client.get(back).status_code == 303
    assert web.client.get(back).status_code == 400


def test_code_of_another_sign_in_is_refused_by_its_nonce(web: Web) -> None:
    """The code of somebody else's sign-in, put behind one's own state: the ID token holds the other nonce."""
    user_of(web, "ann@example.com", "auditor")
    stolen = parse_qs(urlsplit(confirm(begin(web.app.test_client()), "ann")).query)["code"][0]
    own = parse_qs(urlsplit(confirm(begin(web.client), "stranger")).query)["state"][0]
    answer = web.client.get("/sign-in/openid/callback", query_string={"code": stolen, "state": own})
    assert answer.status_code == 401
    assert "not valid" in answer.text
    assert web.client.get("/").status_code == 303


def test_verifier_is_sent_with_the_code(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    user_of(web, "ann@example.com", "auditor")
    sent = []
    real = requests.Session.send

    def note(session: requests.Session, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        sent.append((request.url, request.body))
        return real(session, request, **options)

    monkeypatch.setattr(requests.Session, "send", note)
    assert sign_in(web.client, "ann").status_code == 303
    body = next(str(body) for url, body in sent if str(url).endswith("/oauth2/token"))
    assert len(parse_qs(body)["code_verifier"][0]) >= 43


@pytest.mark.parametrize(
    ("subject", "status", "why"),
    [
        ("stranger", 403, "no user here"),
        ("unverified", 401, "verified"),
        ("denied", 401, "verified"),
        ("nameless", 401, "no e-mail address"),
    ],
)
def test_who_is_no_user_does_not_get_in(web: Web, subject: str, status: int, why: str) -> None:
    user_of(web, "ann@example.com", "auditor")
    answer = sign_in(web.client, subject)
    assert answer.status_code == status
    assert why in answer.text
    assert web.client.get("/").status_code == 303


def test_unverified_address_counts_where_the_operator_trusts_the_provider(web: Web, issuer: str) -> None:
    user_of(web, "ann@example.com", "auditor")
    settings = read_settings(environment=environment(issuer) | {"LEDGER_OIDC_EMAIL": "any"})
    assert sign_in(create_app(web.services, settings).test_client(), "unverified").status_code == 303


def test_address_belongs_to_who_signed_in_with_it_first(web: Web) -> None:
    user_of(web, "ann@example.com", "auditor")
    assert sign_in(web.client, "ann").status_code == 303
    assert sign_in(web.app.test_client(), "impostor").status_code == 403
    assert sign_in(web.app.test_client(), "ann").status_code == 303


def test_refusal_at_the_provider_is_told(web: Web) -> None:
    location = begin(web.client)
    state = parse_qs(urlsplit(location).query)["state"][0]
    answer = web.client.get("/sign-in/openid/callback", query_string={"error": "access_denied", "state": state})
    assert answer.status_code == 401
    assert "did not let you in" in answer.text


def test_provider_that_is_not_there_is_no_fault_of_ours(web: Web) -> None:
    settings = read_settings(environment=environment("http://localhost:1"))
    answer = create_app(web.services, settings).test_client().get("/sign-in/openid")
    assert answer.status_code == 503


def test_signing_in_gives_a_new_session_and_ends_the_one_before(web: Web) -> None:
    user_of(web, "ann@example.com", "auditor")
    sign_in(web.client, "ann")
    before = web.client.get_cookie("ledger_session")
    assert before is not None
    sign_in(web.client, "ann")
    after = web.client.get_cookie("ledger_session")
    assert after is not None
    assert after.value != before.value
    old = web.app.test_client()
    old.set_cookie("ledger_session", before.value)
    assert old.get("/").status_code == 303
    planted = web.app.test_client()
    planted.set_cookie("ledger_session", "chosen-by-somebody-else")
    sign_in(planted, "ann")
    kept = planted.get_cookie("ledger_session")
    assert kept is not None
    assert kept.value != "chosen-by-somebody-else"


def test_session_ends_by_signing_out_here_and_everywhere(web: Web) -> None:
    user_of(web, "ann@example.com", "auditor")
    one, two, three = (web.app.test_client() for _ in range(3))
    for client in (one, two, three):
        sign_in(client, "ann")
    kept = one.get_cookie("ledger_session")
    assert kept is not None
    one.post("/sign-out")
    thief = web.app.test_client()
    thief.set_cookie("ledger_session", kept.value)
    assert thief.get("/").status_code == 303
    assert two.get("/").status_code == 200
    assert two.post("/sign-out-everywhere").status_code == 303
    assert three.get("/").status_code == 303


def test_session_ends_by_time_and_nothing_of_it_is_in_the_table(web: Web, database: DatabaseUrls) -> None:
    user_of(web, "ann@example.com", "auditor")
    sign_in(web.client, "ann")
    kept = web.client.get_cookie("ledger_session")
    assert kept is not None
    with psycopg.connect(database.owner_url) as owner:
        rows = [str(row) for row in owner.execute("SELECT to_jsonb(s)::text FROM sessions s").fetchall()]
        assert len(rows) == 1
        assert kept.value not in rows[0]
        owner.execute("UPDATE sessions SET expires_at = clock_timestamp()")
    assert web.client.get("/").status_code == 303


def test_user_who_is_removed_is_out_at_once_and_a_role_holds_at_once(web: Web) -> None:
    user_of(web, "ann@example.com", "auditor")
    sign_in(web.client, "ann")
    users = web.services.users(web.account_id)
    users.remove("ann@example.com")
    assert web.client.get("/").status_code == 303
    users.add("ann@example.com", "producer")
    assert web.client.get("/").status_code == 303  # nobody has signed in as this user yet
    assert sign_in(web.client, "ann").status_code == 403  # a producer may not read


def test_person_with_two_accounts_changes_between_them(web: Web) -> None:
    user_of(web, "ann@example.com", "admin")
    user_of(web, "ann@example.com", "auditor", "second")
    web.services.accounts().add("third")
    user_of(web, "stranger@example.com", "admin", "third")
    run_id = web.record([a_change(1)])
    sign_in(web.client, "ann")
    assert web.client.get(f"/runs/{run_id}").status_code == 200
    page = web.client.get("/account").text
    assert "default (admin): now" in page
    assert "second (auditor)" in page
    assert "third" not in page
    assert web.client.post("/account", data={"account": "second"}).status_code == 303
    assert web.client.get(f"/runs/{run_id}").status_code == 404
    assert "second (auditor): now" in web.client.get("/account").text
    for account in ("third", "none", ""):
        assert web.client.post("/account", data={"account": account}).status_code == 404
    assert "second (auditor): now" in web.client.get("/account").text


def test_form_of_another_site_changes_nothing(web: Web) -> None:
    user_of(web, "ann@example.com", "auditor")
    user_of(web, "ann@example.com", "auditor", "second")
    sign_in(web.client, "ann")
    for path in ("/account", "/sign-out", "/sign-out-everywhere", "/sign-in"):
        for headers in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {"Origin": "null"}):
            answer = web.client.post(path, data={"account": "second"}, headers=headers)
            assert (answer.status_code, answer.headers.getlist("Set-Cookie")) == (403, []), (path, headers)
    assert "default (auditor): now" in web.client.get("/account").text


def test_undo_names_the_person_who_asked_for_it(web: Web) -> None:
    user_of(web, "ann@example.com", "operator")
    run_id = web.record([a_change(1)])
    sign_in(web.client, "ann")
    page = web.client.get(f"/runs/{run_id}/undo").text
    form = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', page))
    begun = web.client.post(f"/runs/{run_id}/undo", data=form)
    assert begun.status_code == 303, begun.text
    undo_id = begun.headers["Location"].rpartition("/")[2]
    web.services.project_once(web.account_id)
    user = web.services.tracker(web.account_id).get_run(undo_id).operation.user
    assert user == User(email="ann@example.com")


def test_token_signs_in_beside_it_and_replaces_the_session(web: Web) -> None:
    user_of(web, "ann@example.com", "auditor")
    sign_in(web.client, "ann")
    web.client.post("/sign-in", data={"token": web.tokens["admin"]})
    assert web.client.get_cookie("ledger_session") is None
    assert "test admin" in web.client.get("/").text
    assert "API token" in web.client.get("/account").text
    assert web.client.post("/account", data={"account": "second"}).status_code == 401


def test_many_failed_sign_ins_must_wait_in_every_process(web: Web) -> None:
    others = [create_app(web.services, read_settings(environment={})).test_client() for _ in range(2)]
    tries = [others[n % 2].post("/sign-in", data={"token": "ldg_wrong"}).status_code for n in range(11)]
    assert tries == [401] * 10 + [503]
    right = web.client.post("/sign-in", data={"token": web.tokens["admin"]})
    assert right.status_code == 503
    assert right.headers.get("Retry-After") or "Try again in" in right.text


@pytest.mark.parametrize(
    "variables",
    [
        {"LEDGER_OIDC_ISSUER": "https://a.example"},
        {"LEDGER_OIDC_ISSUER": "https://a.example", "LEDGER_OIDC_CLIENT_ID": "x"},
        {"LEDGER_OIDC_ISSUER": "http://a.example", "LEDGER_OIDC_CLIENT_ID": "x", "LEDGER_BASE_URL": "https://b"},
    ],
)
def test_settings_that_cannot_sign_anybody_in_are_refused(variables: dict[str, str]) -> None:
    with pytest.raises(InputError, match="LEDGER_OIDC_ISSUER"):
        read_settings(environment=variables)


def test_nobody_approves_their_own_undo_under_another_name(web: Web) -> None:
    """Display names come from the provider, where people may change them."""
    user_of(web, "ann@example.com", "admin")
    run_id = web.record([a_change(1)])
    sign_in(web.client, "ann")
    web.client.application.extensions["services"].undo(web.account_id).approvals.set_threshold(0)
    page = web.client.get(f"/runs/{run_id}/undo").text
    (digest,) = set(re.findall(r'name="digest" value="([^"]*)"', page))
    web.client.post("/undo-approvals", data={"digest": digest, "next": "/"})
    with psycopg.connect(web.services.database.conninfo) as connection:
        connection.execute("SET ROLE ledger_service")
        connection.execute("SELECT set_config('ledger.account_id', %s, true)", (str(web.account_id),))
        approved = connection.execute("SELECT approved_by FROM undo_approvals").fetchall()
        connection.execute("UPDATE users SET name = 'Somebody Else'")
    assert approved == [("ann@example.com",)]
    form = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', page))
    refused = web.client.post(f"/runs/{run_id}/undo", data=form)
    assert refused.status_code == 403
    assert "second person" in refused.text
