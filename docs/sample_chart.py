"""Draw the chart of the README; `make docs` runs it.

It runs the normal commands on a temporary Kafka and PostgreSQL. Seed and start are fixed, so the chart is
always the same.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from cryptometrics import config
from cryptometrics.local import jars
from cryptometrics.local.services import Services

CHART = Path(__file__).with_name("images") / "BTC-USD.png"
STAGES = (
    "init-db",
    "simulate --rate 0 --count 180000 --step 20ms --seed 3 --start 2026-01-05T14:30",
    "process --group g1 --until-caught-up",
    f"plot --pair BTC-USD --group g1 --out {CHART.name}",
)


def main() -> None:
    """Run the stages."""
    CHART.parent.mkdir(exist_ok=True)
    shared_jars = jars.folder(config.load().home)
    with tempfile.TemporaryDirectory(prefix="cryptometrics-docs-") as folder:
        Path(folder).chmod(0o711)  # as root, PostgreSQL's own user must reach its data
        with Services(Path(folder, "home"), shared_jars, kafka_port=0) as services:
            services.up()
            environment = os.environ | {
                "DATABASE_URL": services.postgres_uri,
                "KAFKA_BOOTSTRAP_SERVERS": services.bootstrap_servers,
                "KAFKA_TOPIC": "crypto_prices",
            }
            for stage in STAGES:
                command = [sys.executable, "-m", "cryptometrics", "--log-format", "human", *stage.split()]
                subprocess.run(command, cwd=CHART.parent, env=environment, check=True, timeout=300)


if __name__ == "__main__":
    main()
