"""The usual pipeline: Flask, Celery on Redis, SQLAlchemy's ORM with a row for each message.

As an experienced developer writes it in a day: the HANDLER stores a row and starts a task, the task calls
the gateway, a report finds its row and starts the task that tells the portal. No leases, no fences, no
batches, no secrets. It runs in an environment of its own; see requirements.txt here.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime

import requests
from celery import Celery
from flask import Flask, request
from flask_sqlalchemy import SQLAlchemy

PORTAL, GATEWAY, OURSELVES = (os.environ[name] for name in ("PORTAL_URL", "GATEWAY_URL", "OWN_URL"))
WORDS = {"ENROUTE": "sent", "DELIVRD": "delivered", "UNDELIV": "undelivered"}

app = Flask(__name__)
app.config["SQLALCHEMY_DATABASE_URI"] = os.environ["DATABASE_URL"]
app.config["SQLALCHEMY_ENGINE_OPTIONS"] = {"pool_size": 64}
db = SQLAlchemy(app)
celery = Celery("pipeline", broker=os.environ["REDIS_URL"])
celery.conf.update(task_ignore_result=True, task_acks_late=True, worker_prefetch_multiplier=1)


class Message(db.Model):  # type: ignore[name-defined, misc]
    id = db.Column(db.Integer, primary_key=True)
    message_id = db.Column(db.String(255), unique=True, nullable=False)
    sender = db.Column(db.String(50), nullable=False)
    recipient = db.Column(db.String(50), nullable=False)
    text = db.Column(db.Text, nullable=False)
    status = db.Column(db.String(20), nullable=False, default="queued")
    gateway_id = db.Column(db.String(100), index=True)
    created_at = db.Column(db.DateTime, nullable=False, default=lambda: datetime.now(UTC))
    updated_at = db.Column(db.DateTime, onupdate=lambda: datetime.now(UTC))


class Token(db.Model):  # type: ignore[name-defined, misc]
    id = db.Column(db.Integer, primary_key=True)
    access = db.Column(db.String(255), nullable=False)


@app.post("/install")
def install() -> str:
    db.create_all()
    token = db.session.get(Token, 1) or Token(id=1)
    token.access = request.form["AUTH_ID"]
    db.session.add(token)
    db.session.commit()
    sender = {"CODE": "sms", "TYPE": "SMS", "NAME": "Pipeline", "HANDLER": f"{OURSELVES}/sms"}
    _rest("messageservice.sender.add", sender, token.access)
    return "installed"


@app.post("/app")
def open_app() -> str:
    return "nothing to set"


@app.post("/sms")
def handler() -> str:
    form = request.form
    message = Message(
        message_id=form["message_id"],
        sender=form["code"],
        recipient=form["message_to"],
        text=form["message_body"],
    )
    db.session.add(message)
    db.session.commit()
    submit.delay(message.id)
    return "ok"


@app.post("/reports/<int:number>")
def report(number: int) -> str:
    message = db.session.get(Message, number)
    status = WORDS[request.json["status"]]
    message.status = status
    db.session.commit()
    if status != "sent":
        tell.delay(message.id, status)
    return "ok"


@celery.task
def submit(number: int) -> None:
    with app.app_context():
        message = db.session.get(Message, number)
        answer = requests.post(
            f"{GATEWAY}/v1/messages",
            json={
                "to": message.recipient,
                "text": message.text,
                "callback": f"{OURSELVES}/reports/{message.id}",
            },
            headers={"Authorization": "Bearer sandbox-key"},
            timeout=20,
        )
        answer.raise_for_status()
        message.gateway_id = answer.json()["id"]
        if message.status == "queued":
            message.status = "sent"
        db.session.commit()


@celery.task
def tell(number: int, status: str) -> None:
    with app.app_context():
        message = db.session.get(Message, number)
        data = {"CODE": message.sender, "MESSAGE_ID": message.message_id, "STATUS": status}
        _rest("messageservice.message.status.update", data, db.session.get(Token, 1).access)


def _rest(method: str, data: dict[str, str], token: str) -> None:
    answer = requests.post(f"{PORTAL}/rest/{method}", json={**data, "auth": token}, timeout=20)
    answer.raise_for_status()


@app.get("/healthz")
def healthz() -> str:
    return "ok"
