"""Opening the application: the hidden form that the portal's page posts into the iframe, and its sessions."""

from __future__ import annotations

import json
import secrets
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import requests

from sandbox.portal.calls import granted_scope
from sandbox.portal.lifecycle import finish_install
from sandbox.portal.tokens import TokenPair
from sandbox.portal.world import Portal, User, World

FRAME_ALLOW = "geolocation *; microphone *; camera *; autoplay *;"
_POST_TIMEOUT_S = 30.0
_MOST_FRAMES = 5000

# What Chromium sends when a form on one site is posted into a frame of another.
_BROWSER_HEADERS = {
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/140.0 Safari/537.36",
    "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Sec-Fetch-Site": "cross-site",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Dest": "iframe",
    "Upgrade-Insecure-Requests": "1",
}


class FrameBlocked(Exception):
    """The portal shows a page of its own instead of the application."""


@dataclass(frozen=True)
class Opening:
    """One rendering of the frame: where the form goes, what is in it, what the frame is called."""

    sid: str
    portal: Portal
    user: User
    installer: bool  # the installer URL, not the application's
    url: str
    fields: dict[str, str]
    first_run: bool
    pair: TokenPair
    placement: str
    lang: str

    @property
    def name(self) -> str:
        return f"{self.portal.host}|0|{self.sid}"

    def view(self) -> dict[str, Any]:
        return {
            "sid": self.sid,
            "user": self.user.id,
            "phase": "install" if self.installer else "app",
            "url": self.url,
            "fields": self.fields,
            "name": self.name,
            "allow": FRAME_ALLOW,
        }


class Frames:
    """All renderings that may still talk to their page."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._open: dict[str, Opening] = {}

    def find(self, sid: str) -> Opening | None:
        return self._open.get(sid)

    def open(
        self,
        portal: Portal,
        user: User,
        *,
        lang: str | None = None,
        placement: str = "DEFAULT",
        options: dict[str, Any] | None = None,
    ) -> Opening:
        """Render the application for a user.

        Raises:
            FrameBlocked: the portal would not call the application now.
        """
        with self._world.lock:
            app, row = self._world.app, portal.live_installation()
            if app is None or row is None:
                raise FrameBlocked("The application is not installed in this portal.")
            if not row.payment_allow:
                raise FrameBlocked("The application's paid period is over.")
            if not portal.may_open(user):
                raise FrameBlocked("You have no access to this application.")
            if not row.installed and not user.is_admin:
                raise FrameBlocked("The application is not fully installed. Ask your administrator.")
            sid = secrets.token_hex(16)
            pair = self._world.tokens.mint(portal, user.id)
            language = lang or user.lang
            base = app.app_url if row.installed else app.install_url
            query = urlencode({"DOMAIN": portal.host, "PROTOCOL": "0", "LANG": language, "APP_SID": sid})
            opening = Opening(
                sid=sid,
                portal=portal,
                user=user,
                installer=not row.installed,
                url=f"{base}{'&' if '?' in base else '?'}{query}",
                fields=self._fields(portal, pair, placement, options),
                first_run=user.id not in row.first_runs,
                pair=pair,
                placement=placement,
                lang=language,
            )
            self._open[sid] = opening
            if len(self._open) > _MOST_FRAMES:
                del self._open[next(iter(self._open))]
            return opening

    def _fields(
        self, portal: Portal, pair: TokenPair, placement: str, options: dict[str, Any] | None
    ) -> dict[str, str]:
        row = portal.installation
        assert row is not None
        assert pair.refresh is not None
        fields = {
            "AUTH_ID": pair.access.value,
            "AUTH_EXPIRES": str(self._world.auth.access_lifetime_s),
            "REFRESH_ID": pair.refresh.value,
        }
        if not portal.is_old:
            fields["SERVER_ENDPOINT"] = self._world.server_endpoint
            fields["APPLICATION_TOKEN"] = row.application_token
            fields["APPLICATION_SCOPE"] = ",".join(granted_scope(self._world, portal))
            options = {"URI": f"{portal.prefix}/marketplace/app/1/", **(options or {})}
        fields |= {"member_id": portal.member_id, "status": row.status, "PLACEMENT": placement}
        if options:
            fields["PLACEMENT_OPTIONS"] = json.dumps(options)
        return fields

    def init_data(self, opening: Opening) -> dict[str, Any]:
        """The answer to `getInitData`. A first run stays one until the frame says `setInstall`."""
        with self._world.lock:
            row = opening.portal.installation
            assert row is not None
            assert opening.pair.refresh is not None
            return {
                "LANG": opening.lang,
                "DOMAIN": opening.portal.host,
                "PROTOCOL": "0",
                "PATH": f"{opening.portal.prefix}/rest",
                "AUTH_ID": opening.pair.access.value,
                "AUTH_EXPIRES": self._world.auth.access_lifetime_s,
                "REFRESH_ID": opening.pair.refresh.value,
                "MEMBER_ID": opening.portal.member_id,
                "FIRST_RUN": opening.first_run and not opening.installer,
                "IS_ADMIN": opening.user.is_admin,
                "INSTALL": opening.installer,
                "USER_OPTIONS": {},
                "APP_OPTIONS": row.options,
                "PLACEMENT": opening.placement,
                "PLACEMENT_OPTIONS": json.loads(opening.fields.get("PLACEMENT_OPTIONS", "{}")),
            }

    def refresh_auth(self, opening: Opening) -> dict[str, Any] | None:
        """A new pair for the user of a frame; None if the portal no longer gives this user one."""
        with self._world.lock:
            row = opening.portal.live_installation()
            if row is None or not opening.portal.may_open(opening.user):
                return None
            pair = self._world.tokens.mint(opening.portal, opening.user.id)
            assert pair.refresh is not None
            return {
                "AUTH_ID": pair.access.value,
                "REFRESH_ID": pair.refresh.value,
                "AUTH_EXPIRES": self._world.auth.access_lifetime_s,
            }

    def finish(self, opening: Opening) -> bool:
        """`set_installed`: only from an installer page, only by an admin; anything else changes nothing."""
        if not opening.installer or not opening.user.is_admin:
            return False
        return finish_install(self._world, opening.portal)

    def first_run_done(self, opening: Opening) -> None:
        with self._world.lock:
            if opening.portal.installation is not None:
                opening.portal.installation.first_runs.add(opening.user.id)

    def set_option(self, opening: Opening, name: str, value: Any) -> bool:
        with self._world.lock:
            if opening.portal.installation is None or not opening.user.is_admin:
                return False
            opening.portal.installation.options[name] = value
            return True


def post_opening(world: World, opening: Opening) -> dict[str, Any]:
    """Post the hidden form as a browser without a screen would; redirects are followed like there."""
    started = time.perf_counter()
    origin = f"http://{opening.portal.host}"
    try:
        response = requests.post(
            opening.url,
            data=opening.fields,
            headers={**_BROWSER_HEADERS, "Origin": origin, "Referer": f"{origin}/"},
            timeout=_POST_TIMEOUT_S,
        )
    except requests.RequestException as error:
        answer: dict[str, Any] = {"status": 0, "html": "", "headers": {}, "error": type(error).__name__}
    else:
        answer = {
            "status": response.status_code,
            "html": response.text,
            "headers": dict(response.headers),
            "redirects": [step.status_code for step in response.history],
        }
    answer["latency_ms"] = round((time.perf_counter() - started) * 1000, 2)
    world.ledger.record(
        "frame_post",
        opening.portal.number,
        answer["status"],
        url=opening.url,
        user=opening.user.id,
        installer=opening.installer,
        latency_ms=answer["latency_ms"],
    )
    return answer
