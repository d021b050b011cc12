"""Download Java libraries, from the company's mirror if there is one, else from Maven's public repository."""

from __future__ import annotations

import base64
import http.client
import os
import re
import ssl
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit
from xml.etree import ElementTree as ET

from cryptometrics.errors import ServiceUnavailableError, UserError
from cryptometrics.retry import retrying

MIRROR_VARIABLE = "CRYPTOMETRICS_MAVEN_URL"
TIMEOUT = 60.0
"""Seconds without a byte before a download is retried."""
RETRY_FOR = 30.0
"""Seconds in which downloads from a repository that does not answer are retried."""


@dataclass(frozen=True)
class Repository:
    """A Maven repository over HTTP, with its login."""

    url: str
    authorization: str | None = field(default=None, repr=False)

    def fetch(self, path: str) -> bytes:
        """Return a file; raise UserError if it is refused, ServiceUnavailableError without an answer."""
        request = urllib.request.Request(f"{self.url}/{path}", headers={"User-Agent": "cryptometrics"})  # noqa: S310
        if self.authorization:
            # Unredirected: the login must not follow a redirect to another host.
            request.add_unredirected_header("Authorization", self.authorization)
        context = _tls()

        def attempt() -> bytes:
            try:
                with urllib.request.urlopen(request, timeout=TIMEOUT, context=context) as reply:  # noqa: S310
                    return bytes(reply.read())
            except urllib.error.HTTPError as error:
                error.close()
                if 400 <= error.code < 500 and error.code != 429:
                    raise UserError(
                        f"{self.url} refuses {path} (HTTP {error.code}): check {MIRROR_VARIABLE}"
                    ) from None
                raise

        try:
            return retrying((OSError, http.client.HTTPException), timeout=RETRY_FOR)(attempt)
        except (OSError, http.client.HTTPException) as error:
            raise ServiceUnavailableError(
                f"cannot download {path} from {self.url} ({error}): behind a proxy set HTTPS_PROXY, "
                f"for a mirror of Maven's repository set {MIRROR_VARIABLE}"
            ) from None


def repository() -> Repository:
    """Return CRYPTOMETRICS_MAVEN_URL, else the mirror in ~/.m2/settings.xml, else the public repository."""
    if url := os.environ.get(MIRROR_VARIABLE):
        return _repository(url, MIRROR_VARIABLE)
    settings = Path.home() / ".m2" / "settings.xml"
    if settings.is_file() and (mirror := _mirror(settings)):
        return mirror
    from jgo.constants import MAVEN_CENTRAL_URL

    return Repository(MAVEN_CENTRAL_URL)


def _mirror(settings: Path) -> Repository | None:
    """Return the mirror that Maven itself would use by the user's settings."""
    try:
        text = settings.read_text(encoding="utf-8")
        root = ET.fromstring(re.sub(r'\sxmlns="[^"]+"', "", text, count=1))  # noqa: S314  (the user's own file)
    except (OSError, ValueError, ET.ParseError) as error:
        raise UserError(f"cannot read {settings}: {error}") from None
    servers = {_text(server, "id"): server for server in root.iterfind("servers/server")}
    for mirror in root.iterfind("mirrors/mirror"):
        mirrored = {name.strip() for name in _text(mirror, "mirrorOf").split(",")}
        if "!central" in mirrored or not mirrored & {"*", "central", "external:*"}:
            continue
        server = servers.get(_text(mirror, "id"))
        login = (_text(server, "username"), _text(server, "password")) if server is not None else ("", "")
        return _repository(_text(mirror, "url"), str(settings), *login)
    return None


def _text(element: ET.Element, name: str) -> str:
    """Return an element's text; Maven lets it name environment variables as ${env.NAME}."""
    text = (element.findtext(name) or "").strip()
    return re.sub(r"\$\{env\.(\w+)\}", lambda found: os.environ.get(found[1], ""), text)


def _repository(url: str, source: str, user: str = "", password: str = "") -> Repository:
    """Return a repository with the login removed from its URL, so that no message shows it."""
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises ValueError if it is not a number
        # A sign in the password that is not percent-encoded moves it to any part of the URL.
        valid = (
            parts.scheme in {"http", "https"} and parts.hostname and not parts.query and not parts.fragment
        )
    except ValueError:
        valid = False
    if not valid or "@" in parts.path:
        raise UserError(
            f"{source} must give a URL of the form https://user:password@host/path, "
            "where signs such as @ : / # % in the password are percent-encoded (@ is %40)"
        )
    if parts.username:
        user, password = unquote(parts.username), unquote(parts.password or "")
    place = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])).rstrip("/")
    if not user:
        return Repository(place)
    return Repository(place, "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode())


def _tls() -> ssl.SSLContext:
    """Return a context that trusts the system's authorities and those set for other Python tools."""
    context = ssl.create_default_context()
    for variable in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "PIP_CERT"):
        if (bundle := os.environ.get(variable)) and Path(bundle).is_file():
            context.load_verify_locations(bundle)
    return context
