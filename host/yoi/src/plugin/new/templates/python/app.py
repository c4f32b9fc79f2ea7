"""The world `tool` in Python. A fresh instance answers each call, so nothing is kept between calls."""

import json
from collections import Counter

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
    """Returns a failure of the contract. `raise` returns it as the error of the call."""
    return Err(ToolFailure(kind, code, message))


def count(given: dict) -> dict:
    return dict(Counter(given["text"].split()))


TOOLS = {"{name}.count": count}
