"""Every line that the product writes into its log, read from the code: its event, level and fields."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
LEVELS = ("debug", "info", "warning", "error", "exception")
ANY = "..."  # fields that are put together elsewhere


@dataclass(frozen=True)
class LogCall:
    event: str  # empty: the text is another's, such as a warning of the configuration
    level: str
    fields: frozenset[str]
    place: str


def log_calls() -> list[LogCall]:
    return [call for path in sorted((PROJECT / "app").rglob("*.py")) for call in _calls_of(path)]


def _calls_of(path: Path) -> Iterator[LogCall]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions = {node.name: node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    for function in [tree, *functions.values()]:
        for node in ast.walk(function):
            if _is_log_call(node) and isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                first = node.args[0]
                event = first.value if isinstance(first, ast.Constant) else ""
                extra = next((each.value for each in node.keywords if each.arg == "extra"), None)
                fields = frozenset(_keys(extra, function, functions)) if extra is not None else frozenset()
                place = f"{path.relative_to(PROJECT)}:{node.lineno}"
                if function is not tree or not _stands_in(node, functions):
                    yield LogCall(str(event), node.func.attr, fields, place)


def _stands_in(node: ast.AST, functions: dict[str, ast.FunctionDef]) -> bool:
    return any(node in ast.walk(function) for function in functions.values())


def _is_log_call(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in LEVELS
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == "log"
        and bool(node.args)
    )


def _keys(value: ast.AST, function: ast.AST, functions: dict[str, ast.FunctionDef]) -> Iterator[str]:
    """The names of a mapping: written there, assigned to a name in the function, or a function's answer."""
    match value:
        case ast.Dict(keys=keys, values=values):
            for key, inner in zip(keys, values, strict=True):
                if key is None:
                    yield from _keys(inner, function, functions)
                else:
                    yield key.value if isinstance(key, ast.Constant) else ANY
        case ast.Name(id=name):
            assigned = [
                node.value
                for node in ast.walk(function)
                if isinstance(node, ast.Assign)
                and any(isinstance(target, ast.Name) and target.id == name for target in node.targets)
            ]
            yield from _keys(assigned[-1], function, functions) if assigned else [ANY]
        case ast.Call(func=ast.Name(id=name)) if name in functions:
            answers = [node.value for node in ast.walk(functions[name]) if isinstance(node, ast.Return)]
            for answer in answers:
                if answer is not None:
                    yield from _keys(answer, functions[name], functions)
        case ast.BinOp(left=left, right=right):
            yield from _keys(left, function, functions)
            yield from _keys(right, function, functions)
        case _:
            yield ANY
