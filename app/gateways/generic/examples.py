"""An example from a gateway's documentation, a `curl` line or an address, as settings of `http`."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit, urlunsplit

LENGTH_LIMIT = 10_000

# What fields are called, in small letters and without _ and -.
_WORDS = {
    "to": "to phone phones phonenumber phonenumbers number numbers recipient recipients mobile mobiles "
    "msisdn msisdns dest destination destinations dst da receiver receivers tel mobilenumber",
    "text": "text message msg body content mes sms smstext messagetext contents smsbody",
    "from": "from sender senderid sendername source src sa fromname alphaname msgheader originator header",
    "reference": "reference ref clientref clientreference customid customstring externalid extid foreignid "
    "userref messageref usersmsid idx",
    "report_url": "callback callbackurl dlrurl notifyurl webhook webhookurl reporturl statuscallback "
    "statuscallbackurl deliveryreporturl deliveryurl whendelivered statusurl",
    "user": "user username login usr account userid usercode",
    "secret": "key apikey apitoken token accesstoken authtoken auth password psw pwd pass secret apisecret "
    "apiid authkey accesskey",
}
_NAMES = {what: frozenset(words.split()) for what, words in _WORDS.items()}
_PHONE = re.compile(r"\+?[0-9][0-9 ()-]{6,18}")
_FLAGS_WITH_VALUE = frozenset(
    {
        *("-X", "--request", "-H", "--header", "-d", "--data", "--data-raw", "--data-binary", "--data-ascii"),
        *("--data-urlencode", "-F", "--form", "-u", "--user", "--json", "--url", "-A", "--user-agent", "-o"),
        *("--output", "-m", "--max-time", "--connect-timeout", "-e", "--referer", "-b", "--cookie"),
    }
)


class NotUnderstood(Exception):
    """The text is neither an address nor a curl line; the sentence is for people."""


@dataclass
class Example:
    """What was found in an example: settings for the form, and what nobody could know from it."""

    settings: dict[str, str]
    understood: set[str] = field(default_factory=set)

    @property
    def missing(self) -> list[str]:
        """Placeholders that an example should have had, and secrets, which are not taken from one."""
        wanted = {"to": True, "text": True, "secret": self._needs_secret}
        return [name for name, is_wanted in wanted.items() if is_wanted and name not in self.understood]

    @property
    def _needs_secret(self) -> bool:
        has_place = any("{secret}" in value for value in self.settings.values())
        return has_place or self.settings.get("auth", "none") != "none"


def read_example(text: str) -> Example:
    """Settings of the generic gateway from a curl line or an address.

    Keys and passwords are recognised and replaced by placeholders; their values are not kept.

    Raises:
        NotUnderstood: there is no address in it.
    """
    call = _read(text.strip()[:LENGTH_LIMIT])
    found = Example({"url": "", "method": call.method})
    found.settings["url"] = _url(call.url, found)
    _headers(call, found)
    if call.user:
        found.settings |= {"auth": "basic", "user": call.user}
        found.understood.add("user")
    _body(call, found)
    return found


@dataclass
class _Call:
    url: str = ""
    method: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    data: list[str] = field(default_factory=list)
    form: list[tuple[str, str]] = field(default_factory=list)
    user: str = ""
    is_get: bool = False
    is_json: bool = False


def _read(text: str) -> _Call:
    if re.match(r"https?://\S+$", text):
        return _Call(url=text, method="GET")
    try:
        words = shlex.split(re.sub(r"[\\^`]\r?\n", " ", text))
    except ValueError:
        raise NotUnderstood("The quotation marks of this example do not fit together.") from None
    call, position = _Call(), 0
    while position < len(words):
        word = words[position]
        if word in _FLAGS_WITH_VALUE and position + 1 < len(words):
            _flag(call, word, words[position + 1])
            position += 1
        elif word in ("-G", "--get"):
            call.is_get = True
        elif re.match(r"https?://", word):
            call.url = call.url or word
        position += 1
    if not call.url:
        raise NotUnderstood("There is no address that begins with https:// in this example.")
    sends = call.data or call.form
    call.method = call.method or ("POST" if sends and not call.is_get else "GET")
    return call


def _flag(call: _Call, flag: str, value: str) -> None:
    match flag:
        case "-X" | "--request":
            call.method = value.upper()
        case "-H" | "--header":
            name, _, content = value.partition(":")
            call.headers[name.strip()] = content.strip()
        case "-u" | "--user":
            call.user = value.partition(":")[0]
        case "-F" | "--form" | "--data-urlencode":
            name, _, content = value.partition("=")
            call.form.append((name, content))
        case "--json":
            call.data.append(value)
            call.is_json = True
        case "--url":
            call.url = value
        case "-d" | "--data" | "--data-raw" | "--data-binary" | "--data-ascii":
            call.data.append(value)


def _url(url: str, found: Example) -> str:
    parts = urlsplit(url)
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    query = "&".join(f"{quote(name)}={_quoted(_placed(name, value, found))}" for name, value in pairs)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, unquote(parts.path), query, ""))


def _quoted(value: str) -> str:
    return value if re.fullmatch(r"\{[a-z_]+\}", value) else quote(value, safe="")


def _headers(call: _Call, found: Example) -> None:
    kept = {}
    for name, value in call.headers.items():
        lower = name.lower()
        kind, _, rest = value.partition(" ")
        if lower in ("content-type", "accept", "user-agent", "content-length", "host"):
            call.is_json |= lower == "content-type" and "json" in value.lower()
        elif lower == "authorization" and kind.lower() == "bearer":
            found.settings["auth"] = "bearer"
        elif lower == "authorization" and kind.lower() == "basic":
            found.settings["auth"] = "basic"
        elif lower == "authorization" and rest:
            kept[name] = f"{kind} {{secret}}"
        else:
            is_key = lower == "authorization" or re.search(r"key|token|secret|auth", lower)
            kept[name] = "{secret}" if is_key else value
    if kept:
        found.settings["headers"] = json.dumps(kept)


def _body(call: _Call, found: Example) -> None:
    raw = "&".join(call.data)
    if raw.lstrip()[:1] in ("{", "["):
        try:
            template = _filled("", json.loads(raw), found)
        except ValueError:
            raise NotUnderstood("The JSON of this example is not complete.") from None
        if isinstance(template, dict):
            found.settings |= {"body": "json", "template": json.dumps(template, ensure_ascii=False)}
            return
        raise NotUnderstood("The JSON of this example is a list; the form takes an object.")
    if raw.lstrip().startswith("<"):
        found.settings |= {"body": "xml", "body_text": raw}
        return
    pairs = parse_qsl(raw, keep_blank_values=True) + call.form
    if pairs:
        template = {name: _placed(name, value, found) for name, value in pairs}
        in_query = call.is_get or call.method == "GET"
        body = "query" if in_query else "form"
        found.settings |= {"body": body, "template": json.dumps(template, ensure_ascii=False)}
    else:
        found.settings |= {"body": "query", "template": "{}"}


def _filled(name: str, value: Any, found: Example) -> Any:
    if isinstance(value, Mapping):
        return {key: _filled(str(key), inner, found) for key, inner in value.items()}
    if isinstance(value, list):
        return [_filled(name, inner, found) for inner in value[:1]]
    return _placed(name, value, found) if isinstance(value, str) else value


def _placed(name: str, value: str, found: Example) -> str:
    """The placeholder for a field, by what it is called, else by how its value looks."""
    plain = re.sub(r"[^a-z]", "", name.lower())
    what = next((one for one, names in _NAMES.items() if plain in names and one not in found.understood), "")
    if not what and _PHONE.fullmatch(value) and "to" not in found.understood:
        what = "to"
    if not what:
        return value
    if what == "secret":
        return "{secret}"
    if what == "user":
        found.settings["user"] = value
        found.understood.add(what)
        return "{user}"
    found.understood.add(what)
    if what == "to":
        digits = re.sub(r"[ ()-]", "", value)
        shape = "e164" if value[:1] in "+ " or not digits[:1].isdigit() else "digits"
        found.settings["number_format"] = "00" if digits.startswith("00") else shape
    if what == "from":
        found.settings["originator"] = value[:60]
    return f"{{{what}}}"
