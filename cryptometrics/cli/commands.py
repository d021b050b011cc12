"""The commands in sections, each with its module and its line in --help; loaded when they are used."""

from __future__ import annotations

import difflib
import importlib

import click

# In the order in which people meet them. The value: "module:function", and the line in --help.
SECTIONS = {
    "Start here": {
        "demo": ("demo:demo", "Run everything once on a simulated day, and draw charts"),
        "run": ("run:run", "Run a feed, its metrics and its risk live in one terminal"),
    },
    "Services": {
        "up": ("services:up", "Start Kafka and PostgreSQL on this machine, without Docker"),
        "down": ("services:down", "Stop them and keep their data"),
        "init-db": ("init_db:init_db", "Create the tables and the topic, or bring them up to date"),
        "status": ("status:status", "Show whether the services run, and where"),
        "doctor": ("doctor:doctor", "Find what is wrong with the machine or the services"),
    },
    "Quotes into Kafka": {
        "simulate": ("simulate:simulate", "Send a simulated market"),
        "ingest": ("ingest:ingest", "Send Coinbase's live market"),
        "record": ("ingest:record", "Save the live market in files"),
        "replay": ("replay:replay", "Send a recorded market"),
        "schema": ("schema:schema", "Print the format of the messages, as JSON Schema"),
    },
    "Metrics into PostgreSQL": {
        "process": ("process:process", "Calculate and store the metrics of every tick, exactly once"),
        "aggregate": ("aggregate:aggregate", "Aggregate ticks into windows of any size, with Apache Beam"),
        "import": ("import_minutes:import_minutes", "Load minutes from before the feed began"),
    },
    "Look at the market": {
        "watch": ("watch:watch", "Follow quotes, lag and alerts live in the terminal"),
        "web": ("web:web", "Follow the market, risk and alerts in the browser"),
        "session": ("session:session", "Print the session's extremes and the newest quotes"),
        "plot": ("plot:plot", "Draw prices, spread and extremes over time"),
        "export": ("export:export", "Write rows as CSV, JSON lines or Parquet"),
    },
    "Risk": {
        "risk": ("risk:risk", "Show volatility, value at risk, drawdown and correlation"),
        "positions": ("positions:positions", "Load and show the positions of portfolios"),
        "portfolio": ("portfolio:portfolio", "Value portfolios: profit, value at risk, limits, stress"),
        "alerts": ("alerts:alerts", "List, acknowledge and silence alerts; check their rules"),
    },
    "Keep it right": {
        "verify": ("verify:verify", "Prove that every offset and every stored number is right"),
        "gaps": ("gaps:gaps", "Show what the live feed missed"),
        "rejects": ("rejects:rejects", "Inspect rejected messages and send them again"),
        "groups": ("groups:groups", "List consumer groups, and delete one with all its rows"),
        "prune": ("prune:prune", "Drop old days of metrics and keep their counts"),
        "bench": ("bench:bench", "Measure throughput and latency on this machine"),
    },
}

COMMANDS = {name: entry for section in SECTIONS.values() for name, entry in section.items()}


class LazyGroup(click.Group):
    """A group that imports a command only when it is used, and lists the commands in sections."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Name every command."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import and return the command; None if there is no such command."""
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name][0].partition(":")
        command = getattr(importlib.import_module(f"cryptometrics.cli.{module}"), name)
        assert isinstance(command, click.Command)  # noqa: S101
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the sections, without importing any command."""
        width = max(map(len, COMMANDS))
        for title, section in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(name.ljust(width), line) for name, (_, line) in section.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; suggest one that is spelled alike, as Click does for commands it has loaded."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError:
            alike = difflib.get_close_matches(args[0], COMMANDS)
            if args[0].startswith("-") or not alike:
                raise
            guesses = " or ".join(f"'{name}'" for name in alike)
            raise click.UsageError(f"No such command '{args[0]}'. Did you mean {guesses}?", ctx) from None
