"""The world `tool` in Python: one function that summarises a table in CSV.

A fresh instance answers each call, so nothing is kept between calls.
"""

import csv
import io
import json
import math

from componentize_py_types import Err
from wit_world import exports
from wit_world.imports import log
from wit_world.imports.yoi_plugin_types import Invocation, ToolFailure, ToolFailureKind


class Tools(exports.Tools):
    """The exported interface `tools`."""

    def call(self, invocation: Invocation) -> str:
        try:
            return json.dumps(TOOLS[invocation.tool](json.loads(invocation.input)))
        except Err:
            raise
        except Exception as error:
            # Any other exception would end the call as a trap without a message.
            log.write(log.Level.ERROR, f"{type(error).__name__}: {error}")
            raise failure(ToolFailureKind.FAILED, "unexpected", "The tool failed unexpectedly.") from error


def failure(kind: ToolFailureKind, code: str, message: str) -> Err:
    return Err(ToolFailure(kind, code, message))


def summary(given: dict) -> dict:
    try:
        rows = list(csv.reader(io.StringIO(given["csv"], newline=""), delimiter=given.get("delimiter", ","), strict=True))
    except (csv.Error, TypeError, ValueError) as error:
        raise failure(ToolFailureKind.INVALID_INPUT, "invalid_csv", f"The text is not CSV: {error}.") from error
    rows = [row for row in rows if row]
    if not rows:
        raise failure(ToolFailureKind.INVALID_INPUT, "no_header", "The table has no row with the names of its columns.")
    names, *rows = rows
    columns = [column(name, [row[index] for row in rows if index < len(row)]) for index, name in enumerate(names)]
    return {"rows": len(rows), "columns": columns}


def column(name: str, cells: list[str]) -> dict:
    filled = [cell for cell in cells if cell.strip()]
    described = {"name": name, "filled": len(filled)}
    numbers = [number for number in map(parse, filled) if number is not None]
    # A column with other cells is not a column of numbers.
    if numbers and len(numbers) == len(filled):
        described |= {"min": min(numbers), "max": max(numbers), "mean": math.fsum(numbers) / len(numbers)}
    return described


def parse(cell: str) -> float | None:
    try:
        number = float(cell)
    except ValueError:
        return None
    # JSON has no infinity and no NaN.
    return number if math.isfinite(number) else None


TOOLS = {"csv.summary": summary}
