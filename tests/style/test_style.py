"""STYLE.md, executed: each test is one rule about code."""

import ast
import re
from collections import defaultdict
from itertools import combinations
from pathlib import Path

from tests.style.project import CORE, ROOT, name, place, sources, tree

SHIPPED = sources("functions", "layers", "infra")
ALL = sources()
HANDLERS = tuple(path for path in sources("functions") if path.name == "handler.py")
CORE_PACKAGES = ("model", "ports", "analysis", "strategies", "decision", "books", "learning", "reports", "app")

BANNED_STEMS = {"utils", "util", "helpers", "helper", "common", "misc", "base", "core", "manager"}
BANNED_SUFFIXES = ("Manager", "Helper", "Util", "Utils", "Processor", "Impl", "Base")
UNITS = {"usd", "shares", "frac", "bps", "sessions", "days", "s", "ms", "count", "ratio", "score", "annual"}
QUALIFIERS = {"min", "max"}
NUMBERS = {"int", "float", "Decimal", "Fraction"}
BRANCHES = (ast.If, ast.For, ast.While, ast.Try, ast.Match, ast.IfExp, ast.comprehension, ast.Lambda, ast.BinOp)
MODE_FLAGS = {"backtest", "is_backtest", "live", "is_live", "paper", "is_paper", "dry_run", "mode"}
BANNED_CALLS = {
    "datetime.now", "datetime.utcnow", "datetime.today", "date.today", "time.time", "time.time_ns", "time.monotonic",
    "time.perf_counter", "time.sleep", "os.environ", "os.getenv", "uuid.uuid1", "uuid.uuid4", "uuid4", "uuid1",
}
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def classes(paths: tuple[Path, ...]) -> list[tuple[Path, ast.ClassDef]]:
    return [(path, node) for path in paths for node in ast.walk(tree(path)) if isinstance(node, ast.ClassDef)]


def functions(paths: tuple[Path, ...]) -> list[tuple[Path, ast.FunctionDef | ast.AsyncFunctionDef]]:
    return [(path, node) for path in paths for node in ast.walk(tree(path)) if isinstance(node, FUNCTIONS)]


def core(*packages: str) -> tuple[Path, ...]:
    return sources(*(name(CORE / package) for package in packages or CORE_PACKAGES))


def names(path: Path) -> list[tuple[int, str]]:
    """Every variable, parameter, field and function of a file, with its line."""
    named = []
    for node in ast.walk(tree(path)):
        match node:
            case ast.Name(id=text) | ast.arg(arg=text) | ast.FunctionDef(name=text):
                named.append((node.lineno, text))
    return named


def fields(node: ast.ClassDef) -> dict[str, ast.expr]:
    annotated = [part for part in node.body if isinstance(part, ast.AnnAssign)]
    return {part.target.id: part.annotation for part in annotated if isinstance(part.target, ast.Name)}


def is_number(annotation: ast.expr) -> bool:
    match annotation:
        case ast.Name(id=text):
            return text in NUMBERS
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return is_number(left) or is_number(right)
        case ast.Subscript(value=ast.Name(id="Annotated"), slice=ast.Tuple(elts=[first, *_])):
            return is_number(first)
    return False


def has_unit(field: str) -> bool:
    words = field.split("_")
    while words and words[-1] in QUALIFIERS:
        words.pop()
    return len(words) > 1 and words[-1] in UNITS


def test_no_file_is_named_after_nothing() -> None:
    assert not [name(path) for path in ALL if path.stem in BANNED_STEMS]


def test_no_class_is_named_after_nothing() -> None:
    assert not [place(path, node.lineno, node.name) for path, node in classes(ALL) if node.name.endswith(BANNED_SUFFIXES)]


def test_every_class_is_defined_once() -> None:
    places = defaultdict(list)
    for path, node in classes(ALL):
        places[node.name].append(place(path, node.lineno, node.name))
    assert not {text: found for text, found in places.items() if len(found) > 1}


def test_no_two_classes_have_the_same_shape() -> None:
    shapes = [(node.name, fields(node).keys()) for _, node in classes(SHIPPED)]
    big = [(text, shape) for text, shape in shapes if len(shape) >= 3]
    assert not [(a, b) for (a, x), (b, y) in combinations(big, 2) if len(x & y) / len(x | y) >= 0.7]


def test_numbers_carry_their_unit() -> None:
    assert not [
        place(path, node.lineno, f"{node.name}.{field}")
        for path, node in classes(core("model")) for field, annotation in fields(node).items()
        if is_number(annotation) and not has_unit(field) and "unit" not in fields(node)
    ]


def test_no_name_is_in_percent() -> None:
    assert not [place(path, line, text) for path in SHIPPED for line, text in names(path) if text.endswith(("_pct", "_percent"))]


def test_functions_fit_a_screen() -> None:
    assert not [
        place(path, node.lineno, f"{node.name}: {node.end_lineno - node.lineno + 1} lines")
        for path, node in functions(ALL) if node.end_lineno is not None and node.end_lineno - node.lineno >= 60
    ]


def test_files_have_one_subject() -> None:
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in ALL}
    assert not {name(path): length for path, length in lengths.items() if length > 450}


def test_what_is_public_is_documented() -> None:
    bare = []
    for path in sources("layers", "functions"):
        if tree(path).body and not ast.get_docstring(tree(path)):
            bare.append(name(path))
        bare += [
            place(path, node.lineno, node.name) for node in tree(path).body
            if isinstance(node, (ast.ClassDef, *FUNCTIONS)) and not node.name.startswith("_") and not ast.get_docstring(node)
        ]
    bare += [
        place(path, method.lineno, f"{port.name}.{method.name}") for path, port in classes(core("ports"))
        for method in port.body if isinstance(method, FUNCTIONS) and not ast.get_docstring(method)
    ]
    assert not bare


def test_the_error_tree_names_every_error() -> None:
    errors = CORE / "model" / "errors.py"
    drawn = ast.get_docstring(tree(errors)) or ""
    in_the_tree = re.findall(r"^[ │├└─]*([A-Z][a-z]\w+)(?: {2,}.*)?$", drawn, re.MULTILINE)
    assert [node.name for _, node in classes((errors,))] == in_the_tree


def test_handlers_do_not_branch() -> None:
    assert HANDLERS
    assert not [(name(path), node) for path in HANDLERS for node in ast.walk(tree(path)) if isinstance(node, BRANCHES)]
    assert not [name(path) for path in HANDLERS if len(path.read_text(encoding="utf-8").splitlines()) > 40]
    assert not [name(path) for path in HANDLERS if [node.name for _, node in functions((path,))] != ["handler"]]


def test_every_function_folder_is_deployed_and_nothing_else() -> None:
    template = (ROOT / "template.yaml").read_text(encoding="utf-8")
    assert set(re.findall(r"CodeUri: functions/(\w+)", template)) == {path.parent.name for path in HANDLERS}


def test_one_verb_phrase_names_five_places() -> None:
    template = (ROOT / "template.yaml").read_text(encoding="utf-8")
    wiring = sources(name(CORE / "wiring"), name(CORE / "research_wiring"))
    builders = {node.name for _, node in functions(wiring)}
    tests = " ".join(path.stem for path in sources("tests"))
    missing = {}
    for phrase in (path.parent.name for path in HANDLERS):
        block = "".join(word.capitalize() for word in phrase.split("_"))
        stands = {
            "app": (CORE / "app" / f"{phrase}.py").is_file(),
            "wiring": any(phrase in builder for builder in builders),
            "template": f"  {block}:" in template,
            "tests": f"test_{phrase}" in tests,
        }
        missing[phrase] = [where for where, there in stands.items() if not there]
    assert not {phrase: places for phrase, places in missing.items() if places}


def test_core_cannot_tell_backtest_from_live() -> None:
    assert not [place(path, line, text) for path in core() for line, text in names(path) if text in MODE_FLAGS]


def test_time_chance_and_environment_come_from_the_border() -> None:
    border = {CORE / "settings.py", *sources(name(CORE / "adapters"), "infra")}
    assert not [
        place(path, node.lineno, ast.unparse(node))
        for path in SHIPPED if path not in border
        for node in ast.walk(tree(path)) if isinstance(node, (ast.Attribute, ast.Name)) and ast.unparse(node) in BANNED_CALLS
    ]


def test_chance_is_seeded() -> None:
    drawn = {f"{name(path)} {ast.unparse(node)}" for path in ALL for node in ast.walk(tree(path)) if is_unseeded(node)}
    imported = {
        place(path, node.lineno, "random") for path in sources(name(CORE)) for node in ast.walk(tree(path))
        if isinstance(node, ast.Import) and "random" in {alias.name for alias in node.names}
    }
    assert not drawn | imported


def is_unseeded(node: ast.AST) -> bool:
    """A generator without a seed, or numpy's global one."""
    match node:
        case ast.Call(func=ast.Name(id="default_rng") | ast.Attribute(attr="default_rng"), args=[], keywords=[]):
            return True
        case ast.Attribute(value=ast.Attribute(value=ast.Name(id="np"), attr="random"), attr=function):
            return function not in {"default_rng", "Generator"}
    return False


def test_tests_neither_sleep_nor_give_up() -> None:
    forbidden = {"sleep", "skip", "skipif", "xfail", "importorskip"}
    uses = [
        place(path, node.lineno, ast.unparse(node)) for path in sources("tests") for node in ast.walk(tree(path))
        if isinstance(node, ast.Attribute) and node.attr in forbidden or isinstance(node, ast.Name) and node.id in forbidden
    ]
    assert not uses


def test_whoever_silences_a_check_says_why() -> None:
    silenced = re.compile(r"#\s*(?:noqa|type: ignore|pragma: no cover)(?P<codes>: [A-Z0-9, ]+\b|\[[\w, -]+\])?(?P<why>.*)")
    bare = []
    for path in set(ALL) - {Path(__file__)}:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            mark = silenced.search(line)
            if mark and (len(mark["why"].strip(" -#:")) < 5 or not mark["codes"]):
                bare.append(place(path, number, line.strip()))
    assert not bare
