"""Read from a query which objects of a resource a list or a watch is about."""

from ambimesh.local.apiserver.http.message import Request
from ambimesh.local.apiserver.selectors import Selection, parse_fields, parse_labels
from ambimesh.local.apiserver.status import bad_request
from ambimesh.local.apiserver.types.kinds import Kind


def read_selection(kind: Kind, namespace: str, request: Request) -> Selection:
    """Parse the selectors of a request.

    Errors: StatusError 400.
    """
    fields = parse_fields(request.query.get("fieldSelector", ""), kind.selectable_fields)
    return Selection(
        namespace=namespace or (fields.required("metadata.namespace") or ""),
        labels=parse_labels(request.query.get("labelSelector", "")),
        fields=fields,
    )


def read_number(request: Request, name: str) -> int:
    """Read a number that is not negative from the query; absent and empty are 0.

    Errors: StatusError 400.
    """
    text = request.query.get(name) or "0"
    if not (text.isascii() and text.isdigit()) or len(text) > 18:
        raise bad_request(f'invalid value for {name}: "{text}": must be a non-negative integer')
    return int(text)


def read_version(request: Request) -> int:
    """Read ``resourceVersion``.

    Errors: StatusError 400.
    """
    text = request.query.get("resourceVersion") or "0"
    if not (text.isascii() and text.isdigit()) or len(text) > 18:
        raise bad_request(f"Invalid value: {text!r}: must be a valid resource version")
    return int(text)
