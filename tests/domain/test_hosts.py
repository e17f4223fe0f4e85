"""Host names are ASCII by IDNA 2008 before they reach a header, a URL or a look-up."""

from __future__ import annotations

import pytest

from app.domain.hosts import ascii_host, ascii_url


@pytest.mark.parametrize(
    ("host", "ascii_form"),
    [
        ("портал.рф", "xn--80awhdgm.xn--p1ai"),
        ("ПОРТАЛ.РФ", "xn--80awhdgm.xn--p1ai"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("faß.example", "xn--fa-hia.example"),  # by the older rules it was fass.example, somebody else's
        ("βόλος.example", "xn--nxasmm1c.example"),
        ("Portal.Example.COM", "portal.example.com"),
        ("my_box.local", "my_box.local"),
        ("例え。テスト", "xn--r8jz45g.xn--zckzah"),
    ],
)
def test_a_host_has_one_spelling(host: str, ascii_form: str) -> None:
    assert ascii_host(host) == ascii_form


@pytest.mark.parametrize(
    "host", ["ب\u200dد.example", "é" * 70 + ".example", "☃\ufffd.example", "a\u0300b\u202e.example"]
)
def test_what_nobody_can_own_is_no_host(host: str) -> None:
    with pytest.raises(ValueError, match="not a host name"):
        ascii_host(host)


@pytest.mark.parametrize(
    ("url", "ascii_form"),
    [
        ("http://портал.рф:8080/rest/", "http://xn--80awhdgm.xn--p1ai:8080/rest/"),
        ("https://portal.example.com/rest/", "https://portal.example.com/rest/"),
        ("http://[::1]:80/ж", "http://[::1]:80/ж"),
        ("http://[оops/", "http://[оops/"),
    ],
)
def test_an_address_gets_its_host_in_ascii(url: str, ascii_form: str) -> None:
    assert ascii_url(url) == ascii_form
