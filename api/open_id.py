"""The OpenID Connect provider as we use it: authorization code flow with PKCE, state and nonce (Core 1.0).

Authlib does the protocol; this file says what is asked for and what is believed.
"""

from __future__ import annotations

from typing import Any

import requests
from authlib.integrations.requests_client import OAuth2Session, OAuthError
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from ledger.addresses import check_address
from ledger.errors import InputError, NotSignedIn, Unavailable
from ledger.sessions import Flow, NewFlow, Person
from ledger.settings import Settings

TIMEOUT_S = 10.0
LEEWAY_S = 60
ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "Ed25519", "EdDSA"]
"""Signatures of ID tokens: never `none`, never with a key that others know."""
SCOPE = "openid email profile"
NAME_CHARACTERS_MAX = 255


class Provider:
    """One provider, from the settings."""

    def __init__(self, settings: Settings) -> None:
        assert settings.oidc_issuer is not None
        assert settings.oidc_client_id is not None
        self.issuer = settings.oidc_issuer
        self._client_id = settings.oidc_client_id
        self._client_secret = settings.oidc_client_secret
        self._trusts_any_email = settings.oidc_email == "any"
        self._redirect_uri = f"{settings.base_url}/sign-in/openid/callback"

    def address_for(self, new: NewFlow) -> str:
        """Where the browser is sent to sign in. Raises Unavailable when the provider does not answer."""
        metadata = self._metadata()
        with self._session() as session:
            url, _ = session.create_authorization_url(
                metadata["authorization_endpoint"],
                state=new.state,
                nonce=new.flow.nonce,
                code_verifier=new.flow.code_verifier,
            )
        return str(url)

    def redeem(self, code: str, flow: Flow) -> Person:
        """Whom the provider vouches for with this code. Raises NotSignedIn, Unavailable."""
        metadata = self._metadata()
        try:
            with self._session() as session:
                token = session.fetch_token(
                    metadata["token_endpoint"], code=code, code_verifier=flow.code_verifier, timeout=TIMEOUT_S
                )
                claims = self._check(metadata, token, flow.nonce)
                if "email" not in claims and "userinfo_endpoint" in metadata:
                    claims = claims | self._user_info(session, metadata["userinfo_endpoint"], claims["sub"])
        except OAuthError as error:
            raise NotSignedIn(f"The provider did not confirm the sign-in: {error.error}.") from error
        except requests.RequestException as error:
            raise _unavailable(error) from error
        return self._person(claims)

    def _session(self) -> Any:
        session = OAuth2Session(
            self._client_id,
            self._client_secret,
            scope=SCOPE,
            redirect_uri=self._redirect_uri,
            code_challenge_method="S256",
            token_endpoint_auth_method="client_secret_basic" if self._client_secret else "none",
            default_timeout=TIMEOUT_S,
        )
        session.trust_env = False  # neither proxies nor passwords of the process's surroundings
        return session

    def _metadata(self) -> dict[str, Any]:
        """The provider's own description (OpenID Connect Discovery 1.0), which must name the issuer that was set."""
        found = self._get(f"{self.issuer.rstrip('/')}/.well-known/openid-configuration")
        if str(found.get("issuer", "")).rstrip("/") != self.issuer.rstrip("/"):
            raise Unavailable(f"The OpenID provider calls itself {found.get('issuer')!r}, not {self.issuer}.")
        for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
            if not isinstance(found.get(name), str):
                raise Unavailable(f"The OpenID provider's description has no {name}.")
        return found | {"issuer": str(found["issuer"])}

    def _get(self, url: str) -> dict[str, Any]:
        try:
            with requests.Session() as session:
                session.trust_env = False
                answer = session.get(url, timeout=TIMEOUT_S, allow_redirects=False)
                answer.raise_for_status()
                document = answer.json()
        except requests.RequestException as error:  # JSON that is none too
            raise _unavailable(error) from error
        if not isinstance(document, dict):
            raise Unavailable("The OpenID provider does not answer as one.")
        return document

    def _check(self, metadata: dict[str, Any], token: dict[str, Any], nonce: str) -> dict[str, Any]:
        """The ID token's claims, its signature, issuer, audience, times and nonce checked (Core, section 3.1.3.7)."""
        try:
            keys = KeySet.import_key_set(self._get(metadata["jwks_uri"]))  # type: ignore[arg-type]
            decoded = jwt.decode(token["id_token"], keys, algorithms=ALGORITHMS)
            claims = CodeIDToken(
                decoded.claims,
                decoded.header,
                {"iss": {"essential": True, "value": metadata["issuer"]},
                 "aud": {"essential": True, "value": self._client_id}},
                {"nonce": nonce, "client_id": self._client_id, "access_token": token.get("access_token")},
            )  # fmt: skip
            claims.validate(leeway=LEEWAY_S)
        except (JoseError, KeyError, ValueError) as error:
            raise NotSignedIn(f"The provider's ID token is not valid: {type(error).__name__}.") from error
        return dict(claims)

    def _user_info(self, session: Any, url: str, subject: str) -> dict[str, Any]:
        """More claims, only if they are of the same subject (Core, section 5.3.2)."""
        answer = session.get(url, timeout=TIMEOUT_S)
        answer.raise_for_status()
        found = answer.json()
        if not isinstance(found, dict) or found.get("sub") != subject:
            raise NotSignedIn("The provider told of somebody else than who signed in.")
        return {name: found[name] for name in ("email", "email_verified", "name") if name in found}

    def _person(self, claims: dict[str, Any]) -> Person:
        email, subject = claims.get("email"), claims["sub"]
        if not isinstance(email, str) or not isinstance(subject, str):
            raise NotSignedIn("The provider tells no e-mail address. It must give the claim `email`.")
        if claims.get("email_verified") is not True and not self._trusts_any_email:
            raise NotSignedIn(
                "The provider does not say that the e-mail address is verified. An operator who trusts its addresses "
                "can set LEDGER_OIDC_EMAIL=any."
            )
        try:
            address = check_address(email).lower()
        except InputError as error:
            raise NotSignedIn("The provider's e-mail address is none that can be a user's.") from error
        name = claims.get("name")
        shown = name if isinstance(name, str) and name.strip() and name.isprintable() else address
        return Person(self.issuer, subject.replace("\0", "\ufffd"), address, shown[:NAME_CHARACTERS_MAX])


def _unavailable(error: Exception) -> Unavailable:
    return Unavailable(f"The OpenID provider does not answer: {type(error).__name__}. Try again.")
