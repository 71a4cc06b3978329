"""A small OpenID Connect provider for tests: discovery, authorize, token, userinfo and keys; it signs with RS256."""

import contextlib
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import jwt
import uvicorn
from cryptography.hazmat.primitives.asymmetric import rsa
from servers import free_port, wait_for_port
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

CLIENT, SECRET = "forewarn-dashboard", "a secret of the client"
Claims = dict[str, Any]


def new_key() -> rsa.RSAPrivateKey:
    """A key pair to sign with."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@dataclass
class OidcProvider:
    """Signs in `user` without asking. change: what becomes of the claims of an ID token. refuse: of the token door.

    key: what tokens are signed with; `published` is what /jwks shows. requests: what came to each door.
    """

    port: int = field(default_factory=free_port)
    user: Claims = field(default_factory=lambda: {"sub": "1", "email": "mia@example.org", "email_verified": True})
    redirects: tuple[str, ...] = ()
    change: Callable[[Claims], Claims] = lambda claims: claims
    refuse: Response | None = None
    deny: dict[str, str] | None = None
    key: rsa.RSAPrivateKey = field(default_factory=new_key)
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.published, self._codes = self.key, dict[str, dict[str, str]]()

    @property
    def issuer(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @contextlib.contextmanager
    def running(self) -> Iterator["OidcProvider"]:
        """It answers while the block lasts; again on the same port after it was away."""
        doors = {
            "/.well-known/openid-configuration": self._discovery, "/authorize": self._authorize,
            "/userinfo": self._userinfo, "/jwks": self._jwks,
        }  # fmt: skip
        routes = [Route(path, door) for path, door in doors.items()]
        app = Starlette(routes=[*routes, Route("/token", self._token, methods=["POST"])])
        server = uvicorn.Server(uvicorn.Config(app, port=self.port, log_level="error", timeout_graceful_shutdown=1))
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        try:
            wait_for_port(self.port)
            yield self
        finally:
            server.should_exit = True
            thread.join(10)

    def id_token(self, nonce: str | None) -> str:
        """Signed with RS256."""
        now = int(time.time())
        claims = {"iss": self.issuer, "aud": CLIENT, "iat": now, "exp": now + 300, "nonce": nonce, **self.user}
        return jwt.encode(self.change(claims), self.key, "RS256", headers={"kid": "one"})

    def _discovery(self, request: Request) -> Response:
        doors = {f"{n}_endpoint": f"{self.issuer}/{p}" for n, p in
                 (("authorization", "authorize"), ("token", "token"), ("userinfo", "userinfo"))}  # fmt: skip
        more = {"response_types_supported": ["code"], "id_token_signing_alg_values_supported": ["RS256"]}
        return JSONResponse({"issuer": self.issuer, "jwks_uri": f"{self.issuer}/jwks", **doors, **more})

    def _jwks(self, request: Request) -> Response:
        public = jwt.algorithms.RSAAlgorithm.to_jwk(self.published.public_key(), as_dict=True)
        return JSONResponse({"keys": [{**public, "kid": "one", "use": "sig", "alg": "RS256"}]})

    def _authorize(self, request: Request) -> Response:
        asked = dict(request.query_params)
        self.requests.append(("authorize", asked))
        known = asked.get("client_id") == CLIENT and asked.get("redirect_uri") in self.redirects
        if not known or asked.get("response_type") != "code" or "openid" not in asked.get("scope", "").split():
            return PlainTextResponse("this client, address or scope is not known here", 400)
        code = secrets.token_urlsafe(8)
        self._codes[code] = asked
        answer = self.deny or {"code": code}
        return RedirectResponse(f"{asked['redirect_uri']}?{urlencode({**answer, 'state': asked['state']})}", 302)

    async def _token(self, request: Request) -> Response:
        form = {name: str(value) for name, value in (await request.form()).items()}
        self.requests.append(("token", form))
        if self.refuse is not None:
            return self.refuse
        asked = self._codes.pop(form.get("code", ""), None)
        if form.get("client_id") != CLIENT or form.get("client_secret") != SECRET:
            return JSONResponse({"error": "invalid_client", "error_description": "the secret is wrong"}, 401)
        if asked is None or asked["redirect_uri"] != form.get("redirect_uri"):
            return JSONResponse({"error": "invalid_grant", "error_description": "the code is not known"}, 400)
        tokens = {"access_token": secrets.token_urlsafe(8), "token_type": "Bearer", "expires_in": 300}
        return JSONResponse({**tokens, "id_token": self.id_token(asked.get("nonce"))})

    def _userinfo(self, request: Request) -> Response:
        self.requests.append(("userinfo", {}))
        return JSONResponse(self.user)
