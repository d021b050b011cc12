"""Windowed aggregation as an Apache Beam pipeline, on whatever runs Beam (extra `beam`).

`folding` and `watermark` are pure; the sources and the sink connect Beam to the services.
Workers load the configuration where they run, so that no password travels with the pipeline.
"""
