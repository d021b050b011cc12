"""Parts of Grafana dashboards as dictionaries, in the shape that Grafana exports. Pure."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

POSTGRES: Json = {"type": "grafana-postgresql-datasource", "uid": "cryptometrics-postgres"}
PROMETHEUS: Json = {"type": "prometheus", "uid": "cryptometrics-prometheus"}
SCHEMA_VERSION = 41
COLUMNS = 24
"""Width of Grafana's grid."""


def sql(query: str, form: str = "table", ref: str = "A") -> Json:
    """Return a query of PostgreSQL; form: table or time_series."""
    return {
        "refId": ref,
        "datasource": POSTGRES,
        "editorMode": "code",
        "format": form,
        "rawQuery": True,
        "rawSql": " ".join(query.split()),
    }


def promql(expression: str, legend: str, ref: str = "A") -> Json:
    """Return a query of Prometheus."""
    return {
        "refId": ref,
        "datasource": PROMETHEUS,
        "editorMode": "code",
        "expr": expression,
        "legendFormat": legend,
        "range": True,
    }


def panel(kind: str, title: str, targets: list[Json], size: tuple[int, int], about: str, **more: Any) -> Json:
    """Return a panel without position; size: width and height in grid units; about: the text behind its ⓘ."""
    return {
        "type": kind,
        "title": title,
        "description": about,
        "datasource": targets[0]["datasource"],
        "gridPos": {"w": size[0], "h": size[1]},
        "targets": targets,
        "fieldConfig": {"defaults": {}, "overrides": []},
        "options": {},
    } | more


def field(
    *,
    unit: str | None = None,
    decimals: int | None = None,
    overrides: list[Json] | None = None,
    **custom: Any,
) -> Json:
    """Return the field configuration of a panel."""
    defaults: Json = {"custom": custom} if custom else {}
    defaults |= {"unit": unit} if unit else {}
    defaults |= {"decimals": decimals} if decimals is not None else {}
    return {"defaults": defaults, "overrides": overrides or []}


def override(name: str, **properties: Any) -> Json:
    """Return an override for the field of this name; `custom_x` is the property custom.x."""
    return {
        "matcher": {"id": "byName", "options": name},
        "properties": [
            {"id": key.replace("custom_", "custom.", 1), "value": value} for key, value in properties.items()
        ],
    }


def query_variable(name: str, label: str, query: str, *, everything: bool = False) -> Json:
    """Return a variable with the values of a PostgreSQL query; everything: multi-value, by default all."""
    return {
        "type": "query",
        "name": name,
        "label": label,
        "datasource": POSTGRES,
        "query": " ".join(query.split()),
        "definition": " ".join(query.split()),
        "refresh": 2,
        "sort": 0,
        "multi": everything,
        "includeAll": everything,
        "current": {"text": ["All"], "value": ["$__all"]} if everything else {},
        "options": [],
    }


def fixed_variable(name: str, label: str, values: dict[str, str]) -> Json:
    """Return a variable with fixed values (text → value); the first is the default."""
    first, *_ = values
    return {
        "type": "custom",
        "name": name,
        "label": label,
        "query": ", ".join(f"{text} : {value}" for text, value in values.items()),
        "current": {"text": first, "value": values[first], "selected": True},
        "options": [
            {"text": text, "value": value, "selected": text == first} for text, value in values.items()
        ],
        "multi": False,
        "includeAll": False,
    }


def annotation(name: str, query: str, colour: str) -> Json:
    """Return annotations for all charts; the query returns time, timeend, text and tags."""
    return {
        "name": name,
        "datasource": POSTGRES,
        "enable": True,
        "iconColor": colour,
        "mappings": {},
        "target": sql(query) | {"refId": "Anno"},
    }


def dashboard(
    uid: str,
    title: str,
    *,
    rows: list[list[Json]],
    variables: list[Json],
    annotations: list[Json],
    refresh: str,
    since: str,
) -> Json:
    """Return a dashboard with its panels in rows, from left to right."""
    panels: list[Json] = []
    y = 0
    for row in rows:
        x = 0
        for one in row:
            size = one["gridPos"]
            panels.append(one | {"id": len(panels) + 1, "gridPos": {"x": x, "y": y, **size}})
            x += size["w"]
        assert x <= COLUMNS, f"a row of {title} is too wide"  # noqa: S101
        y += max(one["gridPos"]["h"] for one in row)
    return {
        "uid": uid,
        "title": title,
        "tags": ["cryptometrics"],
        "schemaVersion": SCHEMA_VERSION,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "timezone": "utc",
        "time": {"from": since, "to": "now"},
        "refresh": refresh,
        "templating": {"list": variables},
        "annotations": {"list": annotations},
        "links": [
            {
                "title": "cryptometrics",
                "type": "dashboards",
                "tags": ["cryptometrics"],
                "asDropdown": False,
                "includeVars": True,
                "keepTime": True,
            }
        ],
        "panels": panels,
    }
