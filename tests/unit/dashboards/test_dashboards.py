"""The dashboards and what is provisioned: current, complete, and of one mind with the rest of the project."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from cryptometrics import __version__
from cryptometrics.dashboards import build
from cryptometrics.dashboards.parts import COLUMNS, POSTGRES, PROMETHEUS
from cryptometrics.local import jars

ROOT = Path(__file__).parents[3]
PACKAGE = ROOT / "cryptometrics" / "dashboards"
DASHBOARDS: dict[str, Any] = {path.stem: dashboard for path, dashboard in build.dashboards().items()}
each_dashboard = pytest.mark.parametrize("dashboard", DASHBOARDS.values(), ids=DASHBOARDS.keys())


def loaded(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


compose = loaded(ROOT / "compose.yaml")
SERVICES: dict[str, Any] = compose["services"]


def test_the_files_are_current() -> None:
    assert {path.stem for path in build.FOLDER.glob("*.json")} == set(DASHBOARDS)
    for path, dashboard in build.dashboards().items():
        assert path.read_text(encoding="utf-8") == build.as_text(dashboard), "run `make dashboards`"


@each_dashboard
def test_panels_are_explained_and_do_not_overlap(dashboard: Any) -> None:
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        assert panel["title"]
        assert panel["description"]
        assert place["x"] + place["w"] <= COLUMNS
        mine = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & mine
        cells |= mine


@each_dashboard
def test_each_variable_that_is_used_is_one(dashboard: Any) -> None:
    known = {variable["name"] for variable in dashboard["templating"]["list"]}
    text = json.dumps(dashboard)
    used = set(re.findall(r"\$\{(\w+)", text)) | set(re.findall(r"\$([a-z]\w*)", text))
    assert used <= known
    # A text that a person chooses never reaches SQL without its quotes; `window` is one of our own list, and
    # `venue:text` and `source:text` are for titles.
    assert set(re.findall(r"\$\{(\w+:\w+)\}", text)) <= {
        "group:sqlstring", "venue:sqlstring", "venue:text", "pair:sqlstring", "session:sqlstring",
        "range:sqlstring", "window:raw", "portfolio:sqlstring", "source:text",
    }  # fmt: skip
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            assert not re.search(
                r"\$(group|venue|pair|session|range|portfolio|source)", target.get("rawSql", "")
            )


def test_the_data_sources_are_those_that_the_dashboards_name() -> None:
    sources = loaded(PACKAGE / "grafana/provisioning/datasources/cryptometrics.yaml")["datasources"]
    assert {(source["type"], source["uid"]) for source in sources} == {
        (source["type"], source["uid"]) for source in (POSTGRES, PROMETHEUS)
    }
    text = (PACKAGE / "grafana/provisioning/datasources/cryptometrics.yaml").read_text(encoding="utf-8")
    grafana = SERVICES["grafana"]
    assert set(re.findall(r"\$\{(\w+)\}", text)) <= set(grafana["environment"])
    folder = loaded(PACKAGE / "grafana/provisioning/dashboards/cryptometrics.yaml")["providers"][0][
        "options"
    ]["path"]
    mounts = dict(volume.removesuffix(":ro").split(":") for volume in grafana["volumes"])
    assert folder in mounts.values()


def test_what_compose_mounts_is_there() -> None:
    for service in SERVICES.values():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("."):
                assert (ROOT / source).is_dir(), source
            else:
                assert source in compose["volumes"]
        for config in service.get("configs", []):
            assert config["source"] in compose["configs"]
        for needed in service.get("depends_on", {}):
            assert "healthcheck" in SERVICES[needed]


def test_compose_publishes_on_loopback_only() -> None:
    for name, service in SERVICES.items():
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:"), name


def test_versions_are_those_of_the_project() -> None:
    version = jars.folder(ROOT).name.removeprefix("kafka-jars-")
    assert SERVICES["kafka"]["image"] == f"apache/kafka:{version}"
    assert SERVICES["process"]["image"] == f"cryptometrics:{__version__}"
    for service in SERVICES.values():
        assert re.fullmatch(r"[a-z/]+:v?[0-9.]+", service["image"]), service["image"]


def test_the_image_is_built_from_files_that_are_there() -> None:
    dockerfile = SERVICES["process"]["build"]["dockerfile_inline"]
    copied = re.findall(r"^COPY (.+) \S+$", dockerfile, re.MULTILINE)
    assert copied
    for name in " ".join(copied).split():
        assert (ROOT / name).exists(), name


def test_prometheus_asks_where_process_listens() -> None:
    jobs = loaded(PACKAGE / "prometheus/prometheus.yml")["scrape_configs"]
    targets = dict(job["static_configs"][0]["targets"][0].split(":") for job in jobs)
    assert set(targets) == {"process", "risk", "ingest"}
    for host, port in targets.items():
        assert f"--metrics-port {port}" in " ".join(SERVICES[host]["command"])
    assert f":{targets['process']}/healthz" in SERVICES["process"]["healthcheck"]["test"][-1]
