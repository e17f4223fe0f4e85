"""What a new gateway takes: a data file, or a class; everything else finds it by itself."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from app.gateways.kit import Case, Contract
from app.gateways.registry import load_registry
from app.services import services
from app.web.admin.parts.gateway_cards import cards
from app.web.admin.parts.gateway_form import inputs_of
from scripts.gateway_pages import page_of_preset, readme_table
from tests.worlds.gateways import SAMPLES
from tests.worlds.product import ENVIRONMENT, product

PROJECT = Path(__file__).resolve().parents[2]
PRESETS = PROJECT / "app/gateways/presets"


def _described(folder: Path, **changes: Any) -> Path:
    """A preset that nobody has heard of: that of a vendor with another name."""
    data = json.loads((PRESETS / "elks.json").read_text(encoding="utf-8"))
    file = folder / f"{changes.get('slug', 'acme')}.json"
    file.write_text(json.dumps({**data, "slug": "acme", "title": "Acme SMS", **changes}), encoding="utf-8")
    return file


def test_a_new_preset_is_a_data_file_and_its_samples_and_nothing_else(tmp_path: Path) -> None:
    presets = tmp_path / "presets"
    presets.mkdir()
    _described(presets)
    samples = tmp_path / "acme.json"
    samples.write_text((SAMPLES / "elks.json").read_text(encoding="utf-8"), encoding="utf-8")

    with product(tmp_path, PRESETS_DIR=str(presets)) as app:
        listed = json.loads(app.test_cli_runner().invoke(args=["gateways", "list", "--json"]).output)
        acme = services().gateways.adapters["acme"]
        with app.test_request_context():
            shown = [card.title for card in cards(services().gateways.adapters, "acme")]
            form = [entry.label for entry in inputs_of(acme, None, None, {})]

    (entry,) = (one for one in listed if one["slug"] == "acme")
    assert (entry["title"], entry["kind"], entry["capabilities"]["balance"]) == ("Acme SMS", "preset", True)
    assert shown == ["Acme SMS"]
    assert form == ["API user name", "API password", "Originator"]
    page = page_of_preset(acme)
    assert "| `api_password` | required, secret |" in page
    assert "[Acme SMS](docs/gateways/acme.md) | `acme` |" in readme_table([acme], {"acme": page})
    contract = [name for name in dir(Contract) if name.startswith("test_")]
    for name in contract:
        getattr(Contract(), name)(Case(acme, samples))
    assert len(contract) > 30


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "JSON"),
        ("[]", "Error"),
        ('{"slug": "acme"}', "fields"),
        ("named", "called 'twilio' already"),
        ("odd", "no placeholder {nobody}"),
    ],
)
def test_a_preset_that_cannot_be_used_is_left_out_and_the_others_work(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str, why: str
) -> None:
    _described(tmp_path, slug="good")
    if text == "named":
        _described(tmp_path, slug="twilio")
    elif text == "odd":
        plan = {"url": "https://sms.example.com/{nobody}"}
        _described(tmp_path, plan=plan)
    else:
        (tmp_path / "acme.json").write_text(text, encoding="utf-8")

    found = load_registry(presets=tmp_path)

    assert found.adapters.keys() - load_registry().adapters.keys() == {"good"}
    (record,) = (record for record in caplog.records if record.message == "preset is not loaded")
    assert why in record.__dict__["why"]


# --- an adapter in a package of its own, as CONTRIBUTING says


_TEST = """
from pathlib import Path

from acme import Acme
from app.gateways.kit import Contract


class TestAcme(Contract):
    gateway = Acme
    samples = Path(__file__).with_name("acme.json")
"""
_SAMPLES = {
    "source": "an invented vendor",
    "settings": {"token": "canary-acme", "originator": "ACME"},
    "accepted": {"status": "200 OK", "body": '{"id": "A1"}'},
    "accepted_ids": ["A1"],
    "report": {
        "method": "POST",
        "url": "https://sms.example.org/reports/acme/K7/r1",
        "headers": {"content-type": "application/json"},
        "body": '{"id": "A1", "status": "DELIVRD"}',
        "reference": "r1",
    },
    "report_status": "delivered",
    "report_id": "A1",
    "report_reference": "r1",
    "unknown_report": {
        "method": "POST",
        "url": "https://sms.example.org/reports/acme/K7/r1",
        "headers": {"content-type": "application/json"},
        "body": '{"id": "A1", "status": "TELEPORTED"}',
        "reference": "r1",
    },
}


def _wheel(folder: Path) -> Path:
    """A package with the adapter that CONTRIBUTING shows, word for word, and its entry point."""
    guide = (PROJECT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(\"\"\"Acme.*?)```", guide, re.DOTALL)
    code = code.replace('    slug = "acme"\n', '    slug = "acme"\n    interface_version = 1\n')
    files = {
        "acme.py": code,
        "acme-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n",
        "acme-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "acme-1.0.dist-info/entry_points.txt": "[b24sms.gateways]\nacme = acme:Acme\n",
    }
    record = "acme-1.0.dist-info/RECORD"
    files[record] = "".join(f"{name},,\n" for name in (*files, record))
    wheel = folder / "acme-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return wheel


@pytest.mark.slow
def test_an_installed_package_brings_its_gateway_where_the_operator_lets_it_in(tmp_path: Path) -> None:
    installed = tmp_path / "installed"
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps"]
    into = ["--target", str(installed), str(_wheel(tmp_path))]
    subprocess.run([*install, *into], check=True, capture_output=True, timeout=60)
    (tmp_path / "test_acme.py").write_text(_TEST)
    (tmp_path / "acme.json").write_text(json.dumps(_SAMPLES))
    paths = {"PYTHONPATH": f"{installed}{os.pathsep}{PROJECT}", "PATH": os.environ["PATH"]}

    def slugs(**more: str) -> set[str]:
        command = [sys.executable, "-m", "flask", "--app", "app", "gateways", "list", "--json"]
        database = {"DATABASE_URL": f"sqlite:///{tmp_path}/app.db"}
        found = subprocess.run(
            command,
            cwd=PROJECT,
            env={**ENVIRONMENT, **database, **paths, **more},
            check=True,
            capture_output=True,
            timeout=60,
        )
        return {gateway["slug"] for gateway in json.loads(found.stdout)}

    assert slugs(GATEWAYS_ALLOW="acme") - slugs() == {"acme"}
    kit = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path)]
    tried = subprocess.run(
        [*kit, str(tmp_path / "test_acme.py")],
        cwd=tmp_path,
        env=paths,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert tried.returncode == 0, tried.stdout
    assert re.search(r"\n3\d passed", tried.stdout), tried.stdout
