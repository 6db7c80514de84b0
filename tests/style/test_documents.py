"""STYLE.md, executed: the documents say what is so."""

import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from closebell.configuration import allowed_values, read_parameters
from closebell.model.parameters import EntryTerms, ExitTerms, ParameterSet, RiskLimits
from closebell.settings import DeskSettings
from closebell.strategies import STRATEGIES
from tests.style.project import ROOT, commands, files, name, sources

STYLE = (ROOT / "STYLE.md").read_text(encoding="utf-8")
CONFIGURATION = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
DOCUMENTS = tuple(path for path in files() if path.suffix == ".md")
TABLES: dict[str, type[BaseModel]] = {"": ParameterSet, "limits.": RiskLimits, "exits.": ExitTerms, "entries.": EntryTerms}


def rows(text: str, first: str) -> list[list[str]]:
    """The cells of the table whose first heading is `first`, without its two head lines."""
    lines = text[text.index(f"| {first} |"):].split("\n\n")[0].splitlines()
    return [[cell.strip().strip("`") for cell in line.strip()[1:-1].split("|")] for line in lines[2:]]


def test_every_rule_names_its_test() -> None:
    contents = {path.name: path.read_text(encoding="utf-8") for path in sources("tests/style")}
    tests_of = {file: re.findall(r"^def (test_\w+)", text, re.MULTILINE) for file, text in contents.items()}
    named = set(re.findall(r"`(test_\w+)`", STYLE))
    named.update(test for file in re.findall(r"`(test_\w+\.py)`", STYLE) for test in tests_of[file])
    assert named == {test for tests in tests_of.values() for test in tests}


def written(value: object) -> str:
    """A default as TOML."""
    match value:
        case bool():
            return str(value).lower()
        case str():
            return f'"{value}"'
        case tuple():
            return "[" + ", ".join(written(item) for item in value) + "]"
    return str(value)


def test_every_setting_is_documented() -> None:
    documented = {key: [default, takes] for key, default, takes, _ in rows(CONFIGURATION, "key")}
    settings = {
        f"{table}{key}": [written(field.default), allowed_values(field)]
        for table, model in TABLES.items() for key, field in model.model_fields.items()
        if key not in {"schema_version", "limits", "exits", "entries"}
    }
    settings["universe"] = ["", "a table"]
    assert documented == settings


def test_every_environment_variable_is_documented() -> None:
    template = (ROOT / "template.yaml").read_text(encoding="utf-8")
    blocks = re.findall(r"Variables:\n((?: +[A-Z_]+: .*\n)+)", template)
    deployed = {variable for block in blocks for variable in re.findall(r"^ +([A-Z_]+):", block, re.MULTILINE)}
    read = {variable.upper() for variable in DeskSettings.model_fields}
    assert {variable for variable, _ in rows(CONFIGURATION, "variable")} == deployed | read


@pytest.mark.parametrize("desk", ["examples/desk.toml", "layers/core/closebell/simulation/real_desk.toml"])
def test_the_desks_can_be_read(desk: str) -> None:
    assert read_parameters((ROOT / desk).read_text(encoding="utf-8"), STRATEGIES).universe


def test_the_documented_universe_can_be_read() -> None:
    example = re.search(r"```toml\n(.*?)```", CONFIGURATION, re.DOTALL)
    assert example
    assert read_parameters(example[1], STRATEGIES).universe


def test_every_command_is_documented() -> None:
    documented = {word for path in DOCUMENTS for word in re.findall(r"closebell ([a-z][\w-]*)", path.read_text(encoding="utf-8"))}
    assert commands() <= documented


def test_decisions_are_numbered_pages() -> None:
    pages = sorted((ROOT / "docs" / "adr").glob("*.md"))
    assert [page.name[:5] for page in pages] == [f"{number:04d}-" for number in range(1, len(pages) + 1)]
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert text.startswith(f"# {page.name[:4]}: "), name(page)
        assert re.findall(r"^## (\w+)", text, re.MULTILINE) == ["Context", "Decision", "Consequences"], name(page)
        assert len(text.splitlines()) <= 60, name(page)


def test_links_lead_somewhere() -> None:
    broken = []
    for path in DOCUMENTS:
        for target in re.findall(r"\]\(([^)#\s]+)", path.read_text(encoding="utf-8")):
            if "://" not in target and not (path.parent / Path(target)).exists():
                broken.append(f"{name(path)}: {target}")
    assert not broken
