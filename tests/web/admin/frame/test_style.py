"""The style sheet as a text: a conflict that was resolved badly shows as a rule that stands there twice."""

from __future__ import annotations

from collections import Counter

from sandbox.processes import PROJECT


def test_no_rule_stands_in_the_sheet_twice() -> None:
    sheet = (PROJECT / "app/web/static/ui/app.css").read_text(encoding="utf-8")
    rules = Counter(
        line.strip() for line in sheet.splitlines() if "{" in line and line.rstrip().endswith("}")
    )

    assert [rule for rule, count in rules.items() if count > 1] == []
    assert sheet.count("{") == sheet.count("}")
