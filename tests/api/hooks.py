"""What schemathesis must know to fuzz the API: media types of our own, and content that has the digest it
is put under. The service that is fuzzed is started by `tests/api/fuzz`, which says what is there."""

import hashlib
import json
import os
import zlib

import schemathesis

KNOWN = json.loads(os.environ["YOI_FUZZ_KNOWN"])


@schemathesis.serializer(
    "application/vnd.yoi.config-bundle.v1+json",
    "application/vnd.dsse.envelope.v1+json",
    "application/wasm",
    "application/octet-stream",
)
def as_it_is(ctx, value):
    if isinstance(value, bytes):
        return value
    return json.dumps(value).encode()


def sometimes(case, salt):
    """Yes or no, the same for the same case."""
    said = repr((salt, case.method, case.path, case.path_parameters, case.query, case.body))
    return zlib.crc32(said.encode("utf-8", "surrogatepass")) % 4 != 0


@schemathesis.hook
def before_call(ctx, case, kwargs):
    """Most requests name what is there, so that they get further than not finding it."""
    named = case.path_parameters or {}
    known = dict(KNOWN)
    known["digest"] = known["bundle"] if "config-bundles" in case.path else known["blob"]
    if "resolvers" in case.path:
        known["digest"] = known["resolver"]
    if case.method.upper() == "PUT" and isinstance(case.body, bytes):
        known["digest"] = "sha256:" + hashlib.sha256(case.body).hexdigest()
    for name in named:
        # What is stopped or revoked is of no use to the other requests.
        if name in known and sometimes(case, name) and not ("revoke" in case.path or case.method == "DELETE"):
            named[name] = known[name]
    if case.query and "workspace" in case.query and sometimes(case, "workspace"):
        case.query["workspace"] = "acme"
    if isinstance(case.body, dict) and "profile" in case.body and sometimes(case, "body"):
        case.body.update({"profile": known["profile"], "bundle": known["bundle"]})
        case.body.pop("resolver", None)
