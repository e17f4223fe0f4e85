"""What the catalogues lack of the texts of the code and the templates.

texts.py list      counts and lists it for every language
texts.py check     the same, and fails if there is anything: before a release
texts.py update    adds the texts that lack (still to be translated) and takes out those that nobody uses
texts.py start it  begins the catalogues of a new language
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

from babel.messages.catalog import Catalog, Message  # noqa: E402
from babel.messages.extract import DEFAULT_KEYWORDS, extract_from_dir  # noqa: E402
from babel.messages.pofile import read_po, write_po  # noqa: E402

from app.gateways import explanations  # noqa: E402
from app.gateways.base import Gateway  # noqa: E402
from app.gateways.registry import load_registry  # noqa: E402
from app.words.catalogues import ADAPTERS, PAGES, PORTAL, file_of, locales  # noqa: E402

# Where texts stand in the code, by catalogue; those of the adapters also in what they declare.
SOURCES = {
    PAGES: [("app/web", [("**.py", "python"), ("**/templates/**.html", "jinja2")])],
    PORTAL: [("app/words", [("**.py", "python")])],
    ADAPTERS: [("app/gateways", [("**.py", "python")]), ("app/transport", [("**.py", "python")])],
}
# What is said with these reaches a person; the number is the place of the sentence among the arguments.
SPOKEN: dict[str, tuple[int, ...] | None] = {
    **dict.fromkeys(("Sentence", "NotUnderstood", "Unknown", "NotSent", "NoAnswer", "AddressRefused")),
    "CheckResult": (2,),
    "Refused": (3,),
}


@dataclass(frozen=True)
class Standing:
    """How one catalogue stands beside the code."""

    domain: str
    locale: str
    count: int  # of the texts of the code
    missing: tuple[str, ...]
    unsure: tuple[str, ...]  # marked as fuzzy: shown in English
    unused: tuple[str, ...]

    @property
    def is_complete(self) -> bool:
        return not (self.missing or self.unsure or self.unused)


def texts_of_the_code(domain: str) -> Catalog:
    """Every text as it stands in the sources."""
    found = Catalog(fuzzy=False)
    keywords = DEFAULT_KEYWORDS | (SPOKEN if domain == ADAPTERS else {})
    for folder, methods in SOURCES[domain]:
        place = str(PROJECT / folder)
        for _, _, message, _, context in extract_from_dir(place, method_map=methods, keywords=keywords):
            found.add(message, context=context)
    if domain == ADAPTERS:
        for text in declared_texts(load_registry().adapters.values()):
            found.add(text)
    return found


def declared_texts(gateways: Iterable[type[Gateway]]) -> Iterator[str]:
    """What gateways declare for people: needs, labels, hints, choices, and what their codes mean."""
    yield from (text for name, text in vars(explanations).items() if name.isupper())
    for gateway in gateways:
        yield from filter(None, (gateway.needs, *gateway.explanations.values()))
        for field in gateway.fields:
            yield from filter(None, (field.label, field.help))
            yield from (label for value, label in field.choices if is_words(label) and label != value)


def is_words(text: str) -> bool:
    """Names of formats and methods (JSON, MD5 HMAC, +491512345678) need no translation."""
    return bool(re.search(r"[a-z]{2}", text))


def catalogue_of(domain: str, locale: str) -> Catalog:
    with file_of(domain, locale).open("rb") as file:
        return read_po(file, locale=locale)


def standing(domain: str, locale: str, wanted: Catalog) -> Standing:
    there = catalogue_of(domain, locale)
    texts = [message for message in wanted if message.id]
    return Standing(
        domain=domain,
        locale=locale,
        count=len(texts),
        missing=tuple(_name(text) for text in texts if not _is_translated(there.get(text.id))),
        unsure=tuple(_name(message) for message in there if message.id and message.fuzzy),
        unused=tuple(_name(message) for message in there if message.id and message.id not in wanted),
    )


def _is_translated(message: Message | None) -> bool:
    if message is None:
        return False
    return all(message.string) if isinstance(message.string, tuple) else bool(message.string)


def _name(message: Message) -> str:
    return message.id if isinstance(message.id, str) else message.id[0]


def all_standings() -> Iterator[Standing]:
    for domain in SOURCES:
        wanted = texts_of_the_code(domain)
        for locale in sorted(locales(domain)):
            yield standing(domain, locale, wanted)


def update() -> None:
    for domain in SOURCES:
        wanted = texts_of_the_code(domain)
        for locale in sorted(locales(domain)):
            catalogue = catalogue_of(domain, locale)
            made = catalogue.creation_date
            catalogue.update(wanted, no_fuzzy_matching=True)
            catalogue.obsolete.clear()
            catalogue.creation_date = made  # a date that changes would be a conflict in every branch
            _write(domain, locale, catalogue)


def start(locale: str) -> None:
    for domain in SOURCES:
        if file_of(domain, locale).exists():
            continue
        made = datetime(2026, 1, 1, tzinfo=UTC)
        catalogue = Catalog(
            locale,
            header_comment="",
            project="SMS Provider",
            version="1",
            msgid_bugs_address="",
            creation_date=made,
            revision_date=made,
            language_team=locale,
            fuzzy=False,
        )
        catalogue.last_translator = ""  # given above, it would become FULL NAME
        catalogue.update(texts_of_the_code(domain), no_fuzzy_matching=True)
        file_of(domain, locale).parent.mkdir(parents=True, exist_ok=True)
        _write(domain, locale, catalogue)
    locales.cache_clear()


def _write(domain: str, locale: str, catalogue: Catalog) -> None:
    with file_of(domain, locale).open("wb") as file:
        write_po(file, catalogue, width=100, sort_output=True, no_location=True, ignore_obsolete=True)


def report() -> bool:
    """Print how all catalogues stand; whether nothing lacks."""
    complete = True
    for each in all_standings():
        done = each.count - len(each.missing)
        print(f"{each.locale:<6} {each.domain:<9} {done:>4} of {each.count} texts translated")
        for kind in ("missing", "unsure", "unused"):
            for text in getattr(each, kind):
                print(f"         {kind}: {text}")
        complete &= each.is_complete
    return complete


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("deed", choices=("list", "check", "update", "start"), default="list", nargs="?")
    parser.add_argument("locale", nargs="?", help="of a new language, as Babel calls it: it, zh_Hans")
    given = parser.parse_args(arguments)
    match given.deed:
        case "update":
            update()
        case "start":
            start(given.locale or parser.error("which language?"))
    complete = report()
    if given.deed == "check" and not complete:
        sys.exit("not ready for a release: translate what is missing (`make texts TEXTS=update` adds it)")


if __name__ == "__main__":
    main()
