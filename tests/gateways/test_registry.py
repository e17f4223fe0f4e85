"""The scan of the folder, and what it refuses to start with."""

from __future__ import annotations

import re
from importlib.metadata import EntryPoint, EntryPoints

import pytest

from app.gateways import registry
from app.gateways.base import Field, Gateway, SettingsInvalid
from app.gateways.registry import AdapterInvalid, build_registry, load_registry
from app.gateways.settings import validate_settings


class _Acme(Gateway):
    slug = "acme"
    title = "Acme"
    fields = (
        Field("token", "Token", "secret", required=True),
        Field("host", "Host", pattern=r"[a-z.]+", example="api.acme.example"),
        Field("speed", "Speed", "int", default="5"),
        Field("flash", "Flash", "bool"),
        Field("words", "Words", "json"),
    )


class _SameName(Gateway):
    slug = "acme"
    title = "Another"


def test_all_adapters_are_found_in_order() -> None:
    registry = load_registry()

    assert list(registry.adapters) == sorted(registry.adapters)
    assert {"demo", "http", "twilio"} <= set(registry.adapters)
    assert registry.get("nobody") is None


def test_name_taken_twice_stops_the_start() -> None:
    with pytest.raises(AdapterInvalid, match="acme"):
        build_registry([_Acme, _SameName])


class Guest(Gateway):
    """What another package would bring."""

    slug = "guest"
    title = "Guest"
    interface_version = 1


class Stale(Gateway):
    slug = "stale"
    title = "Written for another interface"
    interface_version = 0


class Usurper(Gateway):
    slug = "twilio"
    title = "Not the one of this build"
    interface_version = 1


@pytest.fixture
def packages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other packages are installed, and bring adapters."""
    names = {"guest": "Guest", "stale": "Stale", "twilio": "Usurper", "broken": "Nobody", "odd": "Guest"}
    found = EntryPoints(
        EntryPoint(slug, f"{__name__}:{name}", registry.ENTRY_POINTS) for slug, name in names.items()
    )
    monkeypatch.setattr(registry, "entry_points", found.select)


@pytest.mark.usefixtures("packages")
def test_installed_package_brings_nothing_until_its_adapter_is_allowed() -> None:
    assert load_registry().get("guest") is None
    assert load_registry(["guest"]).get("guest") is Guest


@pytest.mark.usefixtures("packages")
@pytest.mark.parametrize("slug", ["stale", "broken", "odd", "missing", "twilio"])
def test_allowed_adapter_that_cannot_be_used_disables_itself_alone(slug: str) -> None:
    found = load_registry([slug, "guest"])

    assert found.adapters == load_registry(["guest"]).adapters


@pytest.mark.parametrize(
    "fields",
    [
        (Field("a", "A"), Field("a", "B")),
        (Field("A b", "A"),),
        (Field("a", "A", "choice"),),
        (Field("a", "A", choices=(("x", "X"),)),),
        (Field("a", "A", "choice", choices=(("x", "X"),), default="y"),),
        (Field("a", "A", "secret", default="x"),),
        (Field("a", "A", pattern="("),),
    ],
)
def test_contradicting_declarations_stop_the_start(fields: tuple[Field, ...]) -> None:
    with pytest.raises(AdapterInvalid):
        build_registry([type("Odd", (Gateway,), {"slug": "odd", "title": "Odd", "fields": fields})])


@pytest.mark.parametrize("slug", ["", "Acme", "a-b", "1a", "a" * 40])
def test_odd_slugs_stop_the_start(slug: str) -> None:
    with pytest.raises(AdapterInvalid):
        build_registry([type("Odd", (Gateway,), {"slug": slug, "title": "Odd"})])


def test_defaults_are_filled_in_and_values_trimmed() -> None:
    settings = validate_settings(_Acme, {"token": " t ", "flash": "on"})

    assert settings == {"token": "t", "host": "", "speed": "5", "flash": "true", "words": ""}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("token", ""),
        ("token", "a\x00b"),
        ("token", "a\nb"),
        ("host", "API!"),
        ("speed", "fast"),
        ("flash", "maybe"),
        ("words", "[1]"),
        ("words", "{'a': 1}"),
        ("words", "[" * 10_000),
        ("host", "a" * 600),
        ("nobody", "x"),
    ],
)
def test_each_wrong_setting_gets_its_sentence(name: str, value: str) -> None:
    with pytest.raises(SettingsInvalid) as caught:
        validate_settings(_Acme, {"token": "t", name: value})

    assert list(caught.value.errors) == [name]
    assert caught.value.errors[name][0] in "“TW"  # a label, There, Write
    assert "Example: api.acme.example" in caught.value.errors[name] or value != "API!"


def test_secret_is_kept_when_the_form_leaves_it_empty() -> None:
    assert validate_settings(_Acme, {"token": ""}, stored={"token": "old"})["token"] == "old"
    assert validate_settings(_Acme, {"token": "new"}, stored={"token": "old"})["token"] == "new"
    assert validate_settings(_Acme, {"token": "t"}, stored={"host": "old"})["host"] == ""


@pytest.mark.parametrize("slug", sorted(load_registry().adapters))
def test_a_setting_that_says_where_calls_go_is_known_as_one(slug: str) -> None:
    """Else a stored secret would follow a changed address to anybody's server."""
    fields = load_registry().adapters[slug].fields
    name = re.compile(r"(.*_)?(url|host|hostname|port|server|endpoint|domain|tls|ssl)")

    unmarked = [f.name for f in fields if name.fullmatch(f.name) and f.kind != "url" and not f.is_place]

    assert unmarked == []
