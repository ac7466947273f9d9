"""The scalar words of the type language: which JSON values each takes, and how to say so."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_DNS_LABEL = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
_DNS_NAME = rf"{_DNS_LABEL}(\.{_DNS_LABEL})*"
_SIX_BITS = r"[A-Za-z0-9+/]\s*"  # a character of base64, which may be broken into lines
_SECONDS = r"([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|ms|s|m|h)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """What one scalar word stands for."""

    expected: str  # as messages name the type: "integer"
    python: tuple[type, ...] = (str,)
    pattern: re.Pattern[str] | None = None
    example: str = ""  # what the pattern wants, for a message: "must be a duration, such as 1m30s"
    limits: tuple[int, int] | None = None  # of what the number is stored in
    openapi: Mapping[str, Any] = field(default_factory=dict)

    def is_type_of(self, value: object) -> bool:
        """Whether the value has this JSON type; true and false are no numbers."""
        if isinstance(value, bool):
            return bool in self.python
        if isinstance(value, float) and int in self.python and value.is_integer():
            return True  # 1.0 is 1 in JSON, and Go reads it so
        return isinstance(value, self.python)


def _string(pattern: str, example: str, openapi_format: str = "") -> Format:
    return Format(
        expected="string",
        pattern=re.compile(pattern),
        example=example,
        openapi={"type": "string"} | ({"format": openapi_format} if openapi_format else {}),
    )


FORMATS: Mapping[str, Format] = {
    "string": Format(expected="string", openapi={"type": "string"}),
    "boolean": Format(expected="boolean", python=(bool,), openapi={"type": "boolean"}),
    "integer": Format(
        expected="integer",
        python=(int,),
        limits=(-(2**31), 2**31 - 1),
        openapi={"type": "integer", "format": "int32"},
    ),
    "long": Format(
        expected="integer",
        python=(int,),
        limits=(-(2**63), 2**63 - 1),
        openapi={"type": "integer", "format": "int64"},
    ),
    "number": Format(
        expected="number", python=(int, float), openapi={"type": "number", "format": "double"}
    ),
    "int-or-string": Format(
        expected="integer or string",
        python=(int, str),
        openapi={"x-kubernetes-int-or-string": True},
    ),
    "quantity": Format(
        expected="quantity (integer or string)",
        python=(int, float, str),
        pattern=re.compile(
            r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]+)?"
        ),
        example="a quantity, such as 500m or 1Gi",
        openapi={"x-kubernetes-int-or-string": True},
    ),
    "time": _string(
        r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)",
        "a time, such as 2026-01-31T23:59:59Z",
        "date-time",
    ),
    "bytes": _string(
        rf"\s*(({_SIX_BITS}){{4}})*(({_SIX_BITS}){{2}}=\s*=\s*|({_SIX_BITS}){{3}}=\s*)?",
        "base64, such as aGVsbG8K",
        "byte",
    ),
    "duration": _string(rf"[+-]?(0|({_SECONDS})+)", "a duration, such as 1m30s or 500ms"),
    "gateway-duration": _string(
        r"([0-9]{1,5}(h|m|s|ms)){1,4}", "a duration of whole numbers, such as 1m30s or 500ms"
    ),
    "dns-label": _string(_DNS_LABEL, "a DNS label, such as my-name"),
    "dns-name": _string(_DNS_NAME, "a DNS name in lower case, such as example.com"),
    "hostname": _string(
        rf"(\*\.)?{_DNS_NAME}", "a host name in lower case, such as example.com or *.example.com"
    ),
    "api-group": _string(
        rf"|{_DNS_NAME}", "an API group, such as apps, or empty for the core group"
    ),
    "kind-name": _string(r"[a-zA-Z]([-a-zA-Z0-9]*[a-zA-Z0-9])?", "a kind, such as Service"),
    "controller-name": _string(
        rf"{_DNS_NAME}/[A-Za-z0-9/\-._~%!$&'()*+,;=:]+",
        "a domain and a path, such as istio.io/gateway-controller",
    ),
    "header-name": _string(
        r"[A-Za-z0-9!#$%&'*+\-.^_`|~]+", "the name of a header or parameter, such as x-user"
    ),
    "port-name": _string(
        r"(?=.*[a-z])(?!.*--)(?=.{1,15}$)[a-z0-9]([-a-z0-9]*[a-z0-9])?",
        "a port name: at most 15 of a-z, 0-9 and '-', with a letter in it, such as http-web",
    ),
}
