"""The documentation agrees with the code: help texts, commands, links, settings, generated pages."""

from __future__ import annotations

import dataclasses
import importlib.util
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import pytest

from cryptometrics.alerts.kinds import KINDS
from cryptometrics.config import Settings
from cryptometrics.config.fields import variable_of
from cryptometrics.feeds.simulator.scenarios import SCENARIOS
from cryptometrics.local.maven import MIRROR_VARIABLE
from cryptometrics.market.tick_decoder import Reason
from cryptometrics.pipeline.worker_report import WorkerReport
from cryptometrics.store.roles import WRITER_RIGHTS
from cryptometrics.telemetry.ingest_metrics import IngestMetrics
from cryptometrics.telemetry.process_metrics import ProcessMetrics
from cryptometrics.telemetry.risk_metrics import RiskMetrics

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])
STALE = "run `make docs`"


def load(name: str) -> ModuleType:
    """Import a script of docs/, which is not a package."""
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


reference = load("cli_reference")
CONTEXTS: list[click.Context] = list(reference.commands())
each_command = pytest.mark.parametrize("context", CONTEXTS, ids=lambda context: context.command_path)
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())


# The commands


@each_command
def test_each_command_has_a_help_line(context: click.Context) -> None:
    line = (context.command.help or "").partition("\n")[0]
    assert line.endswith(".")
    assert len(line) <= 100


@each_command
def test_each_option_is_explained(context: click.Context) -> None:
    unexplained = [
        option.opts[0]
        for option in context.command.params
        if isinstance(option, click.Option) and not option.help
    ]
    assert not unexplained


@each_command
def test_each_command_has_an_example_of_itself_that_it_accepts(context: click.Context) -> None:
    examples = re.findall(r"\bExample:\n((?: *cryptometrics.*\n?)+)", context.command.help or "")
    assert examples, "no Example: in the help text"
    for line in examples[0].splitlines():
        assert f"{line.strip()} ".startswith(f"{context.command_path} ")
        accept(line.strip())


def accept(line: str) -> None:
    """Let the command line parse a command without running it; raise its error."""
    words = shlex.split(re.split(r" [>|] ", line)[0], comments=True)  # the rest is for the shell
    context: click.Context | None = None
    command: click.Command = CONTEXTS[0].command
    name, *words = words
    while True:
        context = command.make_context(name, list(words), parent=context)
        if not isinstance(command, click.Group):
            return
        names = [*context._protected_args, *context.args]
        if not names:
            return
        found = command.get_command(context, names[0])
        if found is None:
            raise click.UsageError(f"no command {names[0]}")
        command, name, words = found, names[0], names[1:]


def test_the_reference_is_current() -> None:
    assert (DOCS / "cli.md").read_text(encoding="utf-8") == reference.render(), STALE


# The pages


def commands_of(page: Path) -> Iterator[str]:
    """Yield the commands of a page: after `$ ` in a block, or in `code` within a sentence."""
    text = page.read_text(encoding="utf-8")
    for block in re.findall(r"^ *```console\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL):
        yield from re.findall(r"^ *\$ (cryptometrics\b.*)$", block, re.MULTILINE)
    prose = re.sub(r"^ *```.*?^ *```$", "", text, flags=re.MULTILINE | re.DOTALL)
    yield from re.findall(r"(?<!`)`(cryptometrics [^`]+)`", prose)


def blanks_filled(line: str) -> str:
    """Replace the placeholder N, as in `--workers N`, by a number."""
    return re.sub(r"(?<= )N(?= |$)", "2", line)


@each_page
def test_each_command_in_a_page_is_valid(page: Path) -> None:
    for line in commands_of(page):
        try:
            accept(blanks_filled(line))
        except click.ClickException as error:
            pytest.fail(f"{line}: {error.format_message()}")


def test_commands_are_found_in_the_pages() -> None:
    commands = set(commands_of(ROOT / "README.md"))
    assert {"cryptometrics process --group g1", "cryptometrics plot --pair BTC-USD"} <= commands


@each_page
def test_each_target_of_make_in_a_page_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    used = re.findall(r"(?:`|\$ )make ((?:[a-z-]+ ?)+)", text)
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert {name for names in used for name in names.split()} <= targets


@each_page
def test_each_variable_of_make_in_a_page_is_read(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    used = set(re.findall(r"(?:`|\$ )make [a-z-]+ ([A-Z]+)=", text))
    assert used <= set(re.findall(r"\$\(([A-Z]+)\)", (ROOT / "Makefile").read_text(encoding="utf-8")))


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as links use them."""
    text = re.sub(r"^ *```.*?^ *```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@each_page
def test_each_link_has_a_target(page: Path) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8"))
    for link in links:
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_each_setting_is_documented_with_its_default_and_no_other_is() -> None:
    page = (DOCS / "configuration.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `([A-Z_<>]+)` \| (.*?) ?\| ", page, re.MULTILINE))
    for field in dataclasses.fields(Settings):
        variable = variable_of(field)
        row = rows.pop(variable, None)
        assert row is not None, f"{variable} is missing"
        if field.default not in (None, dataclasses.MISSING):
            default = f"{field.default:g}" if isinstance(field.default, float) else str(field.default)
            assert row == f"`{default}`", variable
    assert set(rows) == {"KAFKA_CONF_<NAME>", MIRROR_VARIABLE, "JAVA_HOME"}


def test_each_test_that_the_security_page_names_exists() -> None:
    page = (DOCS / "security.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (?!threat|---|role|`)(.+?) \| .+? \| (.+) \|$", page, re.MULTILINE)
    assert len(rows) > 15
    for threat, shown in rows:
        files = re.findall(r"\]\(\.\./(tests/\S+?)\)", shown)
        tests = "".join((ROOT / file).read_text(encoding="utf-8") for file in files)
        assert files or shown == "the same two", threat
        assert [name for name in re.findall(r"`(test_\w+)`", shown) if f"def {name}(" not in tests] == [], (
            threat
        )


def test_each_reason_to_reject_is_explained() -> None:
    text = (DOCS / "assumptions.md").read_text(encoding="utf-8")
    assert [reason for reason in Reason if f"`{reason}`" not in text] == []


def test_each_kind_and_key_of_a_rule_is_explained_with_its_keys() -> None:
    text = (DOCS / "alerts.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `([a-z_]+)` \|.*\| (.*) \|$", text, re.MULTILINE))
    for kind, shape in KINDS.items():
        assert set(re.findall(r"`([a-z_]+)`", rows[kind])) == set(shape.keys), kind
    assert {key for shape in KINDS.values() for key in shape.keys} <= rows.keys()


def test_each_scenario_is_explained_as_the_command_lists_it() -> None:
    text = (DOCS / "simulator.md").read_text(encoding="utf-8")
    table = text.partition("## Scenarios")[2]
    rows = [tuple(row.split(" | ")) for row in re.findall(r"^\| (`[a-z-]+` \| .*) \|$", table, re.MULTILINE)]
    assert rows == [(f"`{s.name}`", s.depth, s.duration, s.recovery) for s in SCENARIOS.values()]


def test_each_dependency_has_its_reason() -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    decisions = (DOCS / "design_decisions.md").read_text(encoding="utf-8")
    needed = re.search(r"^dependencies = \[\n(.*?)^\]", project, re.MULTILINE | re.DOTALL)
    local = re.search(r"^local = \[\n(.*?)^\]", project, re.MULTILINE | re.DOTALL)
    assert needed
    assert local
    names = re.findall(r'"([a-z0-9-]+)', needed[1] + local[1])
    assert len(names) > 10
    assert [name for name in names if not re.search(rf"\b{name}\b", decisions)] == []


# The architecture


def test_the_architecture_names_every_room_and_small_module() -> None:
    text = (DOCS / "architecture.md").read_text(encoding="utf-8")
    rooms = text.partition("## The rooms")[2].partition("###")[0]
    named = set(re.findall(r"^\| (`.+?`) \|", rooms, re.MULTILINE))
    package = ROOT / "cryptometrics"
    there = {f"{path.parent.name}/" for path in package.glob("*/__init__.py")}
    there |= {path.name for path in package.glob("[!_]*.py")}
    assert {name for row in named for name in re.findall(r"`([\w./]+)`", row)} == there


def test_the_architecture_names_every_table() -> None:
    text = (DOCS / "architecture.md").read_text(encoding="utf-8")
    tables = text.partition("## The tables")[2].partition("\n## ")[0]
    named = {
        name
        for row in re.findall(r"^\| (`.+?`) \|", tables, re.MULTILINE)
        for name in re.findall(r"`(\w+)`", row)
    }
    assert named == set(WRITER_RIGHTS)


# The operations page


def test_each_event_of_the_operations_page_is_logged() -> None:
    page = (DOCS / "operations.md").read_text(encoding="utf-8")
    code = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "cryptometrics").rglob("*.py"))
    table = page.partition("## Events to act on")[2].partition("## ")[0]
    listed = dict(re.findall(r"^\| `([a-z_]+)` \| (\w+) \|", table, re.MULTILINE))
    assert len(listed) > 8
    for event, level in listed.items():
        assert re.search(rf'\.{level}\(\s*"{event}"', code), event
    warned = set(re.findall(r'\.(?:warning|error)\(\s*"([a-z_]+)"', code))
    assert warned - {"machine_busy"} <= set(listed), "a warning or error that the page does not explain"
    informed = set(re.findall(r'\.info\(\s*"([a-z_]+)"', code))
    assert {event for event in informed if f"`{event}`" not in page} == set()


def test_each_metric_is_explained() -> None:
    page = (DOCS / "operations.md").read_text(encoding="utf-8")
    table = page.partition("## Metrics")[2].partition("## ")[0]
    explained = set(re.findall(r"^\| `(cryptometrics_[a-z_]+)` \|", table, re.MULTILINE))
    collected = {
        f"{metric.name}{'_total' if metric.type == 'counter' else '_info' if metric.type == 'info' else ''}"
        for metric in _metrics()
    }
    assert explained == collected


def _metrics() -> list[Any]:
    metrics = ProcessMetrics("g")
    metrics.update(WorkerReport())
    return [*metrics.collect(), *IngestMetrics().collect(), *RiskMetrics("g").collect()]


def test_each_alerting_rule_says_what_to_do() -> None:
    page = (DOCS / "operations.md").read_text(encoding="utf-8")
    rules = (ROOT / "cryptometrics/dashboards/prometheus/rules.yml").read_text(encoding="utf-8")
    names = re.findall(r"- alert: (\w+)", rules)
    assert names
    assert re.findall(r"^\| `(Cryptometrics\w+)` \|", page, re.MULTILINE) == names


def test_each_view_is_explained() -> None:
    page = (DOCS / "operations.md").read_text(encoding="utf-8")
    folder = ROOT / "cryptometrics/store/migrations"
    scripts = [
        (folder / f"{name}.sql").read_text(encoding="utf-8")
        for name in ("0007_views", "0011_completeness", "0014_latest_risk", "0016_portfolio_risk")
    ]
    explained = re.findall(r"^\| `(crypto_\w+)` \|", page, re.MULTILINE)
    assert sorted(explained) == sorted(re.findall(r"CREATE VIEW (\w+)", "".join(scripts)))
