"""Cuts the calls that we make out of Twilio's OpenAPI document: all of it is two megabytes.

In an empty folder:

    npm pack @twilio/cli-core@8.3.2 && tar xzf *.tgz
    python .../cut_twilio.py package/src/services/twilio-api/twilio_api_v2010.json > .../twilio_openapi.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

_ACCOUNT = "/2010-04-01/Accounts/{AccountSid}"
_CALLS = {
    f"{_ACCOUNT}/Messages.json": "post",
    f"{_ACCOUNT}/Messages/{{Sid}}.json": "get",
    f"{_ACCOUNT}/Balance.json": "get",
    f"{_ACCOUNT}/IncomingPhoneNumbers.json": "get",
}


def cut(document: dict[str, Any]) -> dict[str, Any]:
    """Parameters, form fields and ways to sign in of our calls; every reference in its place, no prose."""

    def resolved(value: Any) -> Any:
        if isinstance(value, list):
            return [resolved(item) for item in value]
        if not isinstance(value, dict):
            return value
        if "$ref" in value:
            target: Any = document
            for step in value["$ref"].removeprefix("#/").split("/"):
                target = target[step]
            return resolved(target)
        return {name: resolved(item) for name, item in value.items() if name != "description"}

    kept = ("parameters", "requestBody", "security")
    return {
        "openapi": document["openapi"],
        "info": {
            "title": document["info"]["title"],
            "license": document["info"]["license"],
            "source": "cut by cut_twilio.py from @twilio/cli-core 8.3.2",
        },
        "paths": {
            path: {method: resolved({k: document["paths"][path][method].get(k) for k in kept})}
            for path, method in _CALLS.items()
        },
    }


if __name__ == "__main__":
    print(json.dumps(cut(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))), indent=1))
