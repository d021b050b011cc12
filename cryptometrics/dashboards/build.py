"""Write the dashboards as JSON: `make dashboards`. A test checks that the files are current."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from cryptometrics.dashboards import market, pipeline, portfolio, risk

if TYPE_CHECKING:
    from cryptometrics.dashboards.parts import Json

FOLDER = Path(__file__).with_name("grafana") / "dashboards"


def dashboards() -> dict[Path, Json]:
    """Return the dashboards by file."""
    return {
        FOLDER / "market.json": market.build(),
        FOLDER / "pipeline.json": pipeline.build(),
        FOLDER / "portfolio.json": portfolio.build(),
        FOLDER / "risk.json": risk.build(),
    }


def as_text(dashboard: Json) -> str:
    """Return the text of a dashboard's file."""
    return json.dumps(dashboard, indent=2) + "\n"


def main() -> None:
    """Write the files."""
    for path, dashboard in dashboards().items():
        path.write_text(as_text(dashboard), encoding="utf-8")


if __name__ == "__main__":
    main()
