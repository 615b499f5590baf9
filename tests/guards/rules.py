"""The rules of the house that a program can check. Each takes a module's text and returns what is wrong with it."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
MOST_LINES_IN_A_FILE = 600
MOST_LINES_IN_A_FUNCTION = 80
NAMES_THAT_SAY_NOTHING = {"utils", "util", "helpers", "helper", "common", "misc", "manager", "managers"}
SIGNAL_MODULES = ("django.dispatch", "django.db.models.signals", "django.core.signals", "django.db.backends.signals")

Rule = Callable[[Path, str], list[str]]
Function = ast.FunctionDef | ast.AsyncFunctionDef


def modules(*folders: str) -> list[Path]:
    """The Python files of these folders, relative to the project's; what Django generates (migrations) is left out."""
    return sorted(
        path.relative_to(ROOT)
        for folder in folders
        for path in (ROOT / folder).rglob("*.py")
        if "migrations" not in path.parts and "__pycache__" not in path.parts
    )


def broken(rule: Rule, *folders: str) -> list[str]:
    """What a rule finds in all modules of the folders, a line each: file, place, complaint."""
    return [
        f"{path}: {complaint}"
        for path in modules(*folders)
        for complaint in rule(path, (ROOT / path).read_text(encoding="utf-8"))
    ]


def short_files(path: Path, text: str) -> list[str]:
    """A file has at most 600 lines."""
    lines = text.count("\n")
    return [f"{lines} lines; at most {MOST_LINES_IN_A_FILE}"] if lines > MOST_LINES_IN_A_FILE else []


def short_functions(path: Path, text: str) -> list[str]:
    """A function has at most 80 lines."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, Function):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > MOST_LINES_IN_A_FUNCTION:
                found.append(f"line {node.lineno}: {node.name} has {lines} lines; at most {MOST_LINES_IN_A_FUNCTION}")
    return found


def telling_names(path: Path, text: str) -> list[str]:
    """A module or a folder is named by what it does; `utils` and its like say nothing."""
    parts = [*path.parts[:-1], path.stem]
    return [f"{part} says nothing" for part in parts if part.lower() in NAMES_THAT_SAY_NOTHING]


def documented(path: Path, text: str) -> list[str]:
    """Everything public has a docstring: modules, classes, functions, methods and properties.

    Also what a protocol only declares: there its promise is all there is. Empty modules, what stands inside a function
    or a private class, and nested classes (Django's Meta, choices) need none of their own.
    """
    tree = ast.parse(text)
    if not tree.body:
        return []
    found = [] if ast.get_docstring(tree) else ["the module has no docstring"]
    for node, name in _public(tree):
        if ast.get_docstring(node) is None:
            found.append(f"line {node.lineno}: {name} has no docstring")
    return found


def _public(tree: ast.Module) -> Iterator[tuple[Function | ast.ClassDef, str]]:
    for node in tree.body:
        if isinstance(node, (*Function.__args__, ast.ClassDef)) and not node.name.startswith("_"):
            yield node, node.name
            if isinstance(node, ast.ClassDef):
                for member in node.body:
                    if isinstance(member, Function) and _wants_a_docstring(member):
                        yield member, f"{node.name}.{member.name}"


def _wants_a_docstring(method: Function) -> bool:
    decorators = {node.attr for node in method.decorator_list if isinstance(node, ast.Attribute)}
    return not (method.name.startswith("_") or decorators & {"setter", "deleter"})


def no_signals(path: Path, text: str) -> list[str]:
    """No Django signals: news for another room is a row that a job consumes."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            if name.startswith(SIGNAL_MODULES):
                found.append(f"line {node.lineno}: {name} is a signal")
    return found


def narrow_excepts(path: Path, text: str) -> list[str]:
    """Everything is caught (`except Exception`) only in a door or in a loop, or where it is raised again.

    A loop must not die of one bad turn, a door must answer; everybody else lets what they did not expect pass.
    A function that a loop of the same module names, itself or through another one, is a part of that loop.
    """
    if path.parts[:2] == ("hozi", "doors"):
        return []
    tree = ast.parse(text)
    in_loops = _in_loops(tree)
    return [
        f"line {handler.lineno}: catches everything, outside of a door or a loop"
        for handler in ast.walk(tree)
        if isinstance(handler, ast.ExceptHandler)
        and _catches_everything(handler)
        and id(handler) not in in_loops
        and not any(isinstance(node, ast.Raise) for node in ast.walk(handler))
    ]


def _in_loops(tree: ast.Module) -> set[int]:
    """Ids of all nodes that stand in a loop, or in a function that is named in one, directly or by such a function."""
    functions = [node for node in ast.walk(tree) if isinstance(node, Function)]
    nodes = [
        node
        for loop in ast.walk(tree)
        if isinstance(loop, ast.For | ast.While | ast.AsyncFor)
        for node in ast.walk(loop)
    ]
    while True:
        named = {node.id for node in nodes if isinstance(node, ast.Name)}
        named |= {node.attr for node in nodes if isinstance(node, ast.Attribute)}
        reached = [function for function in functions if function.name in named]
        if not reached:
            return {id(node) for node in nodes}
        functions = [function for function in functions if function.name not in named]
        nodes.extend(node for function in reached for node in ast.walk(function))


def _catches_everything(handler: ast.ExceptHandler) -> bool:
    if handler.type is None:
        return True
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(isinstance(kind, ast.Name) and kind.id in ("Exception", "BaseException") for kind in kinds)
