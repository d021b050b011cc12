"""Grafana's dashboards, made by `make dashboards`, and what it and Prometheus are provisioned with."""
