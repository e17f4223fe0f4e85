"""The adapters' own texts (labels, hints, complaints) in the person's language, where there is a translation.

An adapter is one file in English and needs no other; what is not translated stays as it is.
"""

from __future__ import annotations

from app.gateways.base import Field
from app.web.admin.words.language import adapters_text
from app.web.admin.words.language import gettext as _


def text_of(text: str) -> str:
    """A text of an adapter, translated if the catalogue of the gateways has it."""
    return adapters_text(text) if text else ""


def problem_text(problem: str, field: Field) -> str:
    """A complaint about a setting. Those of the common validation begin with the field's label."""
    if not problem.startswith(field.label):
        return text_of(problem)
    rest = problem.removeprefix(field.label)
    label = text_of(field.label)
    match rest:
        case " is required.":
            return _("“%(label)s” is required.", label=label)
        case " must be a whole number.":
            return _("“%(label)s” must be a whole number.", label=label)
        case " is not JSON.":
            return _("“%(label)s” is not JSON.", label=label)
        case " must be a JSON object, in braces.":
            return _("“%(label)s” must be a JSON object, in braces.", label=label)
        case " has a line break or a control character.":
            return _("“%(label)s” has a line break or a control character.", label=label)
        case " does not have the expected form.":
            return _("“%(label)s” does not have the expected form.", label=label)
        case " was saved for another address: enter it again.":
            return _("“%(label)s” was saved for another address: enter it again.", label=label)
    return problem
