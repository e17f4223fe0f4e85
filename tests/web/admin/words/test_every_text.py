"""No text of a gateway reaches a page in English only.

Every text that `scripts/texts.py` finds is translated into itself between two marks. Whatever a page then
shows outside of marks has no place in a catalogue, or is not looked up there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cache
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from babel import Locale
from babel.messages.catalog import Catalog
from babel.messages.pofile import write_po
from flask import Flask

from app.gateways.registry import load_registry
from app.services import Services
from app.transport import AddressRefused, HttpAnswer, NoAnswer, NotSent
from app.web.admin.words import language
from app.web.admin.words.adapters import text_of
from app.web.admin.words.codes import meaning
from app.words import catalogues
from app.words.catalogues import ADAPTERS
from scripts import texts
from tests.worlds.gateways import ADAPTERS as GATEWAYS
from tests.worlds.gateways import sample
from tests.worlds.visitor import Visitor

_MARKED = re.compile(r"⟦[^⟦⟧]*⟧")
_WORD = re.compile(r"[A-Za-z]{3,}")
_DATE = re.compile(r"[0-9]+\. [A-Z][a-zä]+\.?,? ")
# Elements whose text is data: addresses, codes, words of a gateway, what a person typed.
_DATA = {"bdi", "pre", "code", "textarea", "script", "style", "title"}


@cache
def _marked() -> dict[str, bytes]:
    """A catalogue for each domain that says of every text that it was looked up."""
    found = {}
    for domain in texts.SOURCES:
        catalogue = Catalog("de", fuzzy=False)
        for message in texts.texts_of_the_code(domain):
            if isinstance(message.id, tuple):
                catalogue.add(message.id, tuple(f"⟦{text}⟧" for text in message.id))
            elif message.id:
                catalogue.add(message.id, f"⟦{message.id}⟧")
        out = BytesIO()
        write_po(out, catalogue)
        found[domain] = out.getvalue()
    return found


@pytest.fixture
def marked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One language has those catalogues."""
    folder = tmp_path / "de" / "LC_MESSAGES"
    folder.mkdir(parents=True)
    for domain, content in _marked().items():
        (folder / f"{domain}.po").write_bytes(content)
    caches: list[Any] = [catalogues.catalogue, catalogues.locales, language.translated]
    monkeypatch.setattr(catalogues, "FOLDER", tmp_path)
    for cached in caches:
        cached.cache_clear()
    yield
    monkeypatch.undo()
    for cached in caches:
        cached.cache_clear()


class _Shown(HTMLParser):
    """What a page says to a person."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self._inside: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("input", "br", "meta", "link", "img", "hr", "path", "circle"):
            self._inside.append("bdi" if "mono" in (dict(attrs).get("class") or "") else tag)
        self.texts += [v for n, v in attrs if n in ("aria-label", "title", "placeholder", "alt") and v]

    def handle_endtag(self, tag: str) -> None:
        if self._inside:
            self._inside.pop()

    def handle_data(self, data: str) -> None:
        if data.strip() and not _DATA & set(self._inside):
            self.texts.append(" ".join(data.split()))


def _unmarked(text: str) -> str:
    """What is left of a text without what was looked up, also one within another."""
    while (less := _MARKED.sub(" ", text)) != text:
        text = less
    return text


_NAMES = {
    word
    for names in (Locale("de").territories.values(), (gateway.title for gateway in GATEWAYS.values()))
    for name in names
    for word in _WORD.findall(name)
}


def _english(page: str, *, known: set[str]) -> list[str]:
    parser = _Shown()
    parser.feed(page)
    found = []
    for text in parser.texts:
        words = set(_WORD.findall(_DATE.sub(" ", _unmarked(text)))) - _NAMES - known
        found += [text] if words else []
    return found


def _known(slug: str) -> set[str]:
    """Values that stand on a page as they are: examples, choices that are names, addresses."""
    adapter = GATEWAYS[slug]
    data = [value for field in adapter.fields for value in (field.example, field.default, field.name)]
    data += [word for field in adapter.fields for choice in field.choices for word in choice if choice]
    data += [str(value) for value in sample(slug)["settings"].values()]
    return {word for value in data for word in _WORD.findall(value)} | {
        "UTC",
        "SMS",
        "Provider",
        "ValueError",
    }


def _typed(slug: str) -> dict[str, str]:
    return {f"set-{name}": str(value) for name, value in sample(slug)["settings"].items()}


def _raises(error: Exception) -> Callable[..., HttpAnswer]:
    def request(*_: Any, **__: Any) -> HttpAnswer:
        raise error

    return request


class _Vendor:
    def __init__(self, request: Callable[..., HttpAnswer]) -> None:
        self.request = request


_ENDS = {
    "refused connection": _raises(NotSent("the connection was refused")),
    "wrong address": _raises(AddressRefused("the address is not a URL")),
    "cut": _raises(NoAnswer("the answer could not be read (ValueError)")),
    "wrong key": lambda *_, **__: HttpAnswer(401, {}, b"{}"),
    "not JSON": lambda *_, **__: HttpAnswer(200, {}, b"<p>"),
}


@pytest.fixture
def german(admin: Visitor, marked: None) -> Visitor:
    admin.open(lang="de")
    return admin


@pytest.mark.parametrize("slug", sorted(load_registry().adapters))
def test_every_text_of_a_gateways_page_is_looked_up(
    german: Visitor, monkeypatch: pytest.MonkeyPatch, slug: str
) -> None:
    known = _known(slug)
    pages = {
        "cards": german.get("/ui/gateway/new"),
        "form": german.get(f"/ui/gateway?gateway={slug}"),
        "empty form": german.submit("/ui/gateway", gateway=slug),
        "no request": german.submit("/ui/gateway/request", gateway=slug),
        "request": german.submit("/ui/gateway/request", gateway=slug, **_typed(slug)),
        "no report": german.submit("/ui/gateway/sample", gateway=slug, sample="{}", **_typed(slug)),
    }
    if slug not in ("demo", "smpp"):
        for end, request in reversed(_ENDS.items()):  # the last one is what the overview has to tell
            monkeypatch.setattr(Services, "gateway_http", lambda *_, request=request: _Vendor(request))
            pages[end] = german.submit("/ui/gateway", gateway=slug, **_typed(slug))
        pages["saved"] = german.submit("/ui/gateway", gateway=slug, anyway="1", **_typed(slug))
        pages["overview"] = german.get("/ui/overview")

    found = {name: _english(page.text, known=known) for name, page in pages.items()}

    assert {name: english for name, english in found.items() if english} == {}


_WRONG = {
    "url": "https://api.example.com/{nobody}",
    "template": '{"x": "{nobody}"}',
    "headers": '{"Host": "x"}',
    "timeout_s": "99",
    "rate": "-1",
    "success_statuses": "all",
    "error_map": '{"1": "bad"}',
    "status_map": "[",
    "report_signed": "{nobody}",
    "report_addresses": "nowhere",
    "report_check": "hmac",
    "method": "FETCH",
    "check_url": "ftp://x",
    "poll_url": "https://user@x",
    "originator": "x" * 600,
}


def test_every_complaint_about_a_setting_is_looked_up(german: Visitor) -> None:
    fine = {f"set-{field.name}": field.default for field in GATEWAYS["http"].fields} | _typed("http")
    known = _known("http") | {"nobody", "config", "permanent", "temporary", "throttle", "Host", "PUT"}
    for name, bad in _WRONG.items():
        page = german.submit("/ui/gateway", **{**fine, "gateway": "http", f"set-{name}": bad})

        assert page.status_code == 422, name
        assert f'href="#set-{name}"' in page.text or 'class="err"' in page.text, name
        assert _english(page.text, known=known) == [], name


def test_every_explanation_of_a_code_is_looked_up(web: Flask, marked: None) -> None:
    with web.test_request_context():
        language.use("de")
        for slug, gateway in GATEWAYS.items():
            for code in gateway.explanations:
                assert _unmarked(meaning(gateway, code)).strip() == "", (slug, code)
        for status in range(300, 600):
            assert _unmarked(meaning(None, f"HTTP {status}")).strip() == "", status


@pytest.mark.parametrize("locale", sorted(catalogues.locales(ADAPTERS)))
def test_the_commonest_failures_are_said_in_every_language(locale: str) -> None:
    said = catalogues.catalogue(ADAPTERS, locale).gettext

    for text in (
        "The gateway did not accept the sign-in or the question.",
        "The gateway could not be reached.",
        "The gateway gave no complete answer.",
        "the connection was refused",
        "the host name does not exist",
        "the connection timed out",
        "the server's certificate is not valid for this host",
        "the address must begin with https://",
        "“%(label)s” is required.",
        "This cannot be called: %(why)s.",
    ):
        assert said(text) != text, text


@pytest.mark.parametrize(
    ("kept", "shown"),
    [
        (
            "The gateway could not be reached.\n(the connection was refused)",
            "⟦The gateway could not be reached.⟧ (⟦the connection was refused⟧)",
        ),
        ("not_sent: the connection was refused", "not_sent: ⟦the connection was refused⟧"),
        ("the answer could not be read (ValueError)", "⟦the answer could not be read⟧ (ValueError)"),
        ("20003: Authenticate", "20003: Authenticate"),
        ("(a gateway's own words)", "(a gateway's own words)"),
    ],
)
def test_what_a_row_keeps_is_said_sentence_by_sentence(
    web: Flask, marked: None, kept: str, shown: str
) -> None:
    with web.test_request_context():
        language.use("de")

        assert text_of(kept) == shown
