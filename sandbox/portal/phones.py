"""How the kernel normalises a phone number before the HANDLER sees it, false E.164 included."""

from __future__ import annotations

import re

_MIN_LENGTH = 10
_NOT_KEPT = re.compile(r"[^0-9#*,;]")


def normalize_phone(value: str) -> str:
    """`+` and digits where the kernel believes it understood, else the raw text.

    A national number loses its leading 0 and becomes somebody else's international one: `0171 1234567`
    arrives as `+1711234567`. That is how the real one behaves.
    """
    if len(value) < _MIN_LENGTH:
        return value
    number = f"00{value[1:]}" if value.startswith("+8") else value
    number = _NOT_KEPT.sub("", number)
    if len(number) < _MIN_LENGTH:
        return value
    if number[:2] in ("80", "81", "82"):
        pass
    elif number.startswith("00"):
        number = number[2:]
    elif number.startswith("011"):
        number = number[3:]
    elif number.startswith("8"):
        number = f"7{number[1:]}"
    elif number.startswith("0"):
        number = number[1:]
    return f"+{number}"
