"""Names and descriptions of a sender as the portal wants them, in one language or in several.

Where they break in the portal without a word: languages of more than two letters are dropped; the first
one of a map is what everybody sees whose language is missing; and a map beside a plain text loses the
description.
Source: https://apidocs.bitrix24.com/api-reference/messageservice/messageservice-sender-update.html
"""

from __future__ import annotations

from collections.abc import Mapping

from app.domain.senders import DESCRIPTION_LIMIT, NAME_LIMIT, is_language

Localized = str | Mapping[str, str]


def localized(text: Localized, limit: int) -> str | dict[str, str]:
    """A plain text, or a map with `en` first; at most `limit` characters each.

    Raises:
        ValueError: a language that has not two letters, or no text at all.
    """
    if isinstance(text, str):
        if not text.strip():
            raise ValueError("the text is empty")
        return text[:limit]
    texts = {language.lower(): value for language, value in text.items()}
    if wrong := [language for language in texts if not is_language(language)]:
        raise ValueError(f"languages have two letters in Bitrix24: {', '.join(wrong)}")
    if not texts or not all(value.strip() for value in texts.values()):
        raise ValueError("a text is empty")
    order = sorted(texts, key=lambda language: language != "en")
    return {language: texts[language][:limit] for language in order}


def matched(name: Localized, description: Localized) -> tuple[str | dict[str, str], str | dict[str, str]]:
    """Both of one kind and in the same languages: a plain text beside a map counts for each of its languages.

    A description in a language without a name would be lost, so it takes the first name along.
    """
    names, descriptions = localized(name, NAME_LIMIT), localized(description, DESCRIPTION_LIMIT)
    if isinstance(names, str) and isinstance(descriptions, str):
        return names, descriptions
    languages = [
        *(names if isinstance(names, dict) else ()),
        *(descriptions if isinstance(descriptions, dict) else ()),
    ]
    return (
        localized(_in_all(names, languages), NAME_LIMIT),
        localized(_in_all(descriptions, languages), DESCRIPTION_LIMIT),
    )


def _in_all(texts: str | dict[str, str], languages: list[str]) -> dict[str, str]:
    if isinstance(texts, str):
        return dict.fromkeys(languages, texts)
    first = next(iter(texts.values()))
    return {language: texts.get(language, first) for language in languages}
