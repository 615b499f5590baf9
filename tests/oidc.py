"""A sign-in service of its own kind: enough of OpenID Connect that a real client signs somebody in. For tests."""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

CLIENT, SECRET = "hozi", "a secret between the two"


@dataclass
class Service:
    """The running service; ``claims`` is whom it names next."""

    url: str
    claims: dict[str, Any] = field(default_factory=dict)
    codes: dict[str, str] = field(default_factory=dict)


@contextmanager
def running() -> Iterator[Service]:
    """The service on a free port of loopback."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = {**json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key())), "kid": "1", "alg": "RS256"}

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            """Quiet."""

        def do_GET(self) -> None:
            path, query = urlsplit(self.path).path, parse_qs(urlsplit(self.path).query)
            if path == "/.well-known/openid-configuration":
                self._json(
                    {
                        "issuer": service.url,
                        "authorization_endpoint": f"{service.url}/authorize",
                        "token_endpoint": f"{service.url}/token",
                        "userinfo_endpoint": f"{service.url}/userinfo",
                        "jwks_uri": f"{service.url}/keys",
                        "token_endpoint_auth_methods_supported": ["client_secret_post"],
                    }
                )
            elif path == "/keys":
                self._json({"keys": [public]})
            elif path == "/authorize":
                code = secrets.token_hex(8)
                service.codes[code] = query["client_id"][0]
                target = f"{query['redirect_uri'][0]}?{urlencode({'code': code, 'state': query['state'][0]})}"
                self.send_response(302)
                self.send_header("Location", target)
                self.end_headers()
            elif path == "/userinfo" and self.headers.get("Authorization") == "Bearer access":
                self._json(service.claims)
            else:
                self.send_error(404)

        def do_POST(self) -> None:
            form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            client = service.codes.pop(form.get("code", [""])[0], None)
            if client != CLIENT or form.get("client_secret") != [SECRET] or "code_verifier" not in form:
                self.send_error(400)
                return
            now = int(time.time())
            claims = {**service.claims, "iss": service.url, "aud": CLIENT, "iat": now, "exp": now + 60}
            token = jwt.encode(claims, key, algorithm="RS256", headers={"kid": "1"})
            self._json({"access_token": "access", "token_type": "Bearer", "id_token": token})

        def _json(self, value: dict[str, Any]) -> None:
            body = json.dumps(value).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    service = Service(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield service
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
