"""Reads a text of metrics with Prometheus's own Python client, and tells as JSON what is in it.

Usage: exposition.py openmetrics|text < metrics
"""
import json
import sys

from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as text

parse = {"openmetrics": openmetrics, "text": text}[sys.argv[1]]
families = []
# Bytes: Python's text mode would change the line ends that are inside values.
for family in parse(sys.stdin.buffer.read().decode("utf-8")):
    samples = []
    for sample in family.samples:
        entry = {"name": sample.name, "labels": sample.labels, "value": str(sample.value)}
        if sample.exemplar is not None:
            entry["exemplar"] = {
                "labels": sample.exemplar.labels,
                "value": sample.exemplar.value,
                "timestamp": float(sample.exemplar.timestamp),
            }
        samples.append(entry)
    families.append(
        {
            "name": family.name,
            "type": family.type,
            "unit": family.unit,
            "help": family.documentation,
            "samples": samples,
        }
    )
json.dump(families, sys.stdout)
