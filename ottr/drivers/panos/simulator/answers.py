# SPDX-License-Identifier: Apache-2.0
"""The shapes of the XML API's answers; the README of this driver names the source of each."""

from __future__ import annotations

from collections.abc import Iterable
from xml.etree import ElementTree as ET  # parse_xml refuses what makes it dangerous
from xml.sax.saxutils import escape

from ottr.simulation.requests import Response

Element = ET.Element


class Refusal(Exception):
    """The device says no. ``lines`` are its words; ``code`` the XML code, None for none."""

    def __init__(self, code: int | None, *lines: str, status: int = 200, shape: str = "line") -> None:
        super().__init__(*lines)
        self.code, self.lines, self.status, self.shape = code, lines, status, shape


class MalformedXml(Exception):
    """Text that is no XML."""


def parse_xml(text: str) -> Element:
    """Read one element. Raises MalformedXml; document types and entities are not XML to this device."""
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise MalformedXml("document type")
    try:
        return ET.fromstring(text)  # noqa: S314 see above
    except ET.ParseError as error:
        raise MalformedXml(str(error)) from error


def write_xml(element: Element) -> str:
    """Write an element without a declaration."""
    return ET.tostring(element, encoding="unicode")


def success(inside: str = "", *, code: int | None = None) -> Response:
    """``<response status="success">`` with the given XML inside."""
    attribute = "" if code is None else f' code="{code}"'
    return Response(200, f'<response status="success"{attribute}>{inside}</response>'.encode())


def spaced_success(inside: str) -> Response:
    """The form with single quotes, which keygen answers in."""
    return Response(200, f"<response status = 'success'>{inside}</response>".encode())


def result(text: str) -> Response:
    """Plain text directly in ``result``, as imports answer."""
    return success(f"<result>{escape(text)}</result>")


def command_succeeded() -> Response:
    """What set, edit, delete and rename answer."""
    return success("<msg>command succeeded</msg>", code=20)


def refused(refusal: Refusal) -> Response:
    """An error: ``spaced`` as authentication and parameters answer, ``msg`` as text in ``msg``, else lines."""
    attribute = "" if refusal.code is None else f' code="{refusal.code}"'
    text = escape("\n".join(refusal.lines))
    match refusal.shape:
        case "spaced":
            body = f"<response status = 'error' code = '{refusal.code}'><result><msg>{text}</msg></result></response>"
        case "msg":
            body = f'<response status="error"{attribute}><msg>{text}</msg></response>'
        case _:
            body = f'<response status="error"{attribute}><msg>{lines(refusal.lines)}</msg></response>'
    return Response(refusal.status, body.encode())


def lines(texts: Iterable[str]) -> str:
    """``<line>`` elements in CDATA."""
    return "".join(f"<line><![CDATA[{text.replace(']]>', ']]]]><![CDATA[>')}]]></line>" for text in texts)


def attachment(content: bytes, file_name: str) -> Response:
    """A file, as exports answer."""
    headers = {"Content-Disposition": f"attachment; filename={file_name}"}
    return Response(200, content, "application/octet-stream", headers)
