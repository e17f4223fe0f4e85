"""A provider as tutorials teach it: the HANDLER calls the gateway and answers when that has answered."""

from __future__ import annotations

import os

import requests
from flask import Flask, request

app = Flask(__name__)
GATEWAY = os.environ.get("GATEWAY_URL", "")


@app.post("/sms")
def handler() -> str:
    form = request.form
    requests.post(
        f"{GATEWAY}/v1/messages",
        json={"to": form["message_to"], "text": form["message_body"]},
        headers={"Authorization": "Bearer sandbox-key"},
        timeout=20,
    ).raise_for_status()
    return "ok"


@app.get("/healthz")
def healthz() -> str:
    return "ok"
