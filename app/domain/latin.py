"""Texts in the letters of the GSM alphabet, in which a segment holds 160 characters and not 70."""

from __future__ import annotations

import unicodedata

from app.domain.texts import GSM_LETTERS

# Russian and its neighbours as passports and map makers write them, Greek, and marks of typography.
_LETTERS = {
    **dict(zip("абвгдезиклмнопрстуфы", "abvgdeziklmnoprstufy", strict=True)),
    "ё": "yo",
    "ж": "zh",
    "й": "y",
    "х": "kh",
    "ц": "ts",
    "ч": "ch",
    "ш": "sh",
    "щ": "shch",
    "э": "e",
    "ю": "yu",
    "я": "ya",
    "ъ": "",
    "ь": "",
    "і": "i",
    "ї": "yi",
    "є": "ye",
    "ґ": "g",
    "ў": "u",
    "ә": "a",
    "ғ": "gh",
    "қ": "q",
    "ң": "ng",
    "ө": "o",
    "ұ": "u",
    "ү": "u",
    "һ": "h",
    "ј": "j",
    "љ": "lj",
    "њ": "nj",
    "ћ": "c",
    "ђ": "dj",
    "џ": "dz",
    **dict(zip("αβγδεζηικλμνοπρσςτυω", "avgdeziiklmnoprsstyo", strict=True)),
    "θ": "th",
    "ξ": "x",
    "φ": "f",
    "χ": "ch",
    "ψ": "ps",
    "ł": "l",
    "đ": "d",
    "ı": "i",
    "ħ": "h",
    "œ": "oe",
    "þ": "th",
    "ð": "d",
    "ŋ": "n",
}
_MARKS = {
    **dict.fromkeys("‘’‚‛′`´ʼ", "'"),
    **dict.fromkeys("“”„‟″«»", '"'),
    **dict.fromkeys("‐‑‒–—―−", "-"),
    "…": "...",
    "№": "No",
    "•": "*",
    "·": "*",
    "×": "x",
    "₽": "RUB",
    "₴": "UAH",
    "₸": "KZT",
    "™": "TM",
    **dict.fromkeys("\u00a0\u2009\u202f\u2007", " "),
    **dict.fromkeys("\u00ad\u200b\ufeff", ""),
}


def in_latin(text: str) -> str:
    """The text with letters of the GSM alphabet wherever there is a usual spelling; the rest stays."""
    return "".join(_spelt(char) for char in text)


def _spelt(char: str) -> str:
    if char in GSM_LETTERS:
        return char
    if char in _MARKS:
        return _MARKS[char]
    lower = char.lower()
    if lower in _LETTERS:
        spelling = _LETTERS[lower]
        return spelling if char == lower else spelling.capitalize()
    plain = "".join(part for part in unicodedata.normalize("NFKD", char) if not unicodedata.combining(part))
    if plain != char and plain:
        spelling = "".join(_spelt(part) for part in plain)
        return spelling if all(part in GSM_LETTERS for part in spelling) else char
    return char
