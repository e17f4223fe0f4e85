"""The `batch` method: up to 50 commands, each with its own result or error, shaped as PHP shapes them."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

from sandbox.portal.calls import Call, rest_method
from sandbox.portal.errors import RestError
from sandbox.portal.timing import time_block
from sandbox.portal.wire import as_map, decode_form, is_filled, php_array, scalar

MAX_COMMANDS = 50

_REFERENCE = re.compile(r"\$result((?:\[[^\[\]]+\])+)")
_FORBIDDEN = ("batch",)

RunCommand = Callable[[Call, str, dict[str, Any]], Any]


@rest_method("batch")
def _placeholder(call: Call, params: dict[str, Any]) -> Any:
    # The entrance runs `run_batch`, which needs its dispatcher; this entry makes the name known.
    raise RestError("ERROR_BATCH_METHOD_NOT_ALLOWED")


def run_batch(call: Call, params: dict[str, Any], run_command: RunCommand) -> dict[str, Any]:
    """Run the commands in order. `halt` stops at the first error; surplus commands become errors."""
    commands = as_map(params.get("cmd"))
    halt = is_filled(params.get("halt"))
    results: dict[str, Any] = {}
    errors: dict[str, Any] = {}
    times: dict[str, Any] = {}
    for index, (key, command) in enumerate(commands.items()):
        started = time.time()
        try:
            if index >= MAX_COMMANDS:
                raise RestError("ERROR_BATCH_LENGTH_EXCEEDED")
            results[key] = _run_one(call, _substitute(scalar(command), results), run_command)
        except RestError as error:
            errors[key] = error.body()
            if halt:
                break
            continue
        times[key] = time_block(call.world, call.portal, _method_of(command), started)
    return {
        "result": php_array(results),
        "result_error": php_array(errors),
        "result_total": [],
        "result_next": [],
        "result_time": php_array(times),
    }


def _run_one(call: Call, command: str, run_command: RunCommand) -> Any:
    method, query = _method_of(command), command.partition("?")[2]
    if method in _FORBIDDEN:
        raise RestError("ERROR_BATCH_METHOD_NOT_ALLOWED")
    params = decode_form(query)
    params.pop("auth", None)
    return run_command(call, method, params)


def _method_of(command: Any) -> str:
    return scalar(command).partition("?")[0].strip().lower().removesuffix(".json")


def _substitute(command: str, results: dict[str, Any]) -> str:
    """Put earlier results in the place of `$result[key][sub]`."""

    def replacement(match: re.Match[str]) -> str:
        here: Any = results
        for key in re.findall(r"\[([^\[\]]+)\]", match[1]):
            here = as_map(here).get(key)
        return scalar(here)

    return _REFERENCE.sub(replacement, command) if "$result[" in command else command
