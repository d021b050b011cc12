"""Windowed aggregation as an Apache Beam pipeline, on whatever runs Beam (extra `beam`).

`reading` and `watermark` are pure; `source`, `postgres_source` and `sink` are where Beam meets the services.
Workers read the configuration where they run, so that no password travels with the pipeline.
"""
