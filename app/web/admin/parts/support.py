"""How an administrator reaches whoever helps: a mail with the report in it, or the support's own page."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

from app.services import services
from app.web.admin.words.language import gettext as _

# Mail programs cut longer addresses off, some without a word. The whole report is copied by the same click.
LONGEST_BODY = 1_500


@dataclass(frozen=True)
class Support:
    """`url` is empty where the operator named no contact."""

    contact: str
    url: str
    is_mail: bool


def reached(report: str, about: str) -> Support:
    """`about` is what the mail's subject names."""
    contact = services().config.support_contact
    if not contact or contact.startswith("https://"):
        return Support(contact, contact, is_mail=False)
    subject = quote(f"{services().config.app_name}: {about}")
    return Support(contact, f"mailto:{contact}?subject={subject}&body={quote(_body(report))}", is_mail=True)


def _body(report: str) -> str:
    """As many whole lines as fit."""
    begin = _("Please describe what happened here:") + "\n\n\n"
    if len(quote(begin + report)) <= LONGEST_BODY:
        return begin + report
    rest = "\n" + _("The whole report is on your clipboard: paste it here.")
    lines: list[str] = []
    for line in report.splitlines():
        if len(quote("\n".join([begin, *lines, line, rest]))) > LONGEST_BODY:
            break
        lines.append(line)
    return "\n".join([begin, *lines, rest])
