"""A page as a PDF: read from the page itself, so that both say the same, and set by Typst without browser or network.

PDF/A-2a, tagged (PDF/UA-1). The same page and moment are the same bytes. https://typst.app/docs/reference/pdf/
"""

from __future__ import annotations

import json
from datetime import datetime
from html import escape
from html.parser import HTMLParser
from importlib.resources import files
from typing import Any, Literal
from unicodedata import category

from expunge.errors import ConfigurationError
from expunge.report.page import COLOURS as GROUP_COLOURS
from expunge.report.page import GRADE_COLOURS

COLOURS = {**GROUP_COLOURS, **GRADE_COLOURS}
STANDARDS: list[Literal["ua-1", "a-2a"]] = ["ua-1", "a-2a"]
VOID = frozenset({"meta", "br"})
SVG = "svg"
SVG_STYLE = (
    "<style>text { font: 12px 'Libertinus Serif'; fill: #1d2430 } .dim { fill: #5a6473 }</style>"  # as style.css has it
)
LETTERS = ((0x20, 0x7E), (0xA0, 0x17F), (0x370, 0x3FF), (0x400, 0x45F))
SIGNS = ((0x2003, 0x2003), (0x2010, 0x2026), (0x20AC, 0x20AC), (0x25A0, 0x25A0))
"""Characters that the font has: another would end the making of the page, and is written by its number."""

Block = dict[str, Any]
"""A part of the page: `kind`, and what belongs to it."""


def paper(html: str, moment: datetime) -> bytes:
    """The PDF of a page.

    Args:
        html: a page of this room.
        moment: when it is said to be made: of what it tells, or the same page would be other bytes tomorrow.

    Raises:
        ConfigurationError: Typst is not installed.
    """
    try:
        import typst  # noqa: PLC0415 - an extra
    except ImportError:
        raise ConfigurationError(
            "a PDF needs the extra `pdf`: pip install 'expunge[pdf]', or name a .html file"
        ) from None
    title, blocks = read(html)
    said = json.dumps({"title": title, "blocks": blocks})
    return typst.compile(
        files("expunge.report").joinpath("paper.typ").read_bytes(),
        format="pdf",
        sys_inputs={"page": said},
        pdf_standards=[*STANDARDS],
        ignore_system_fonts=True,
        timestamp=int(moment.timestamp()),
    )


def read(html: str) -> tuple[str, list[Block]]:
    """The title of a page, and its parts in order."""
    reader = _Reader()
    reader.feed(html)
    return reader.title.strip(), reader.blocks


class _Reader(HTMLParser):
    """Reads what our templates write: elements that are closed, in no great depth."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.blocks: list[Block] = []
        self.title = ""
        self._open: list[tuple[str, dict[str, str]]] = []
        self._runs: list[dict[str, str]] | None = None
        self._svg: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """See `HTMLParser`."""
        named = {name: value or "" for name, value in attrs}
        if tag == SVG or self._svg:
            self._draw(tag, named)
            return
        if tag in VOID:
            return
        self._open.append((tag, named))
        if tag in {"h1", "h2", "p", "pre"}:
            self._begin({"kind": tag, "class": named.get("class", ""), "colour": _colour(named.get("style", ""))})
        elif tag == "span" and "dot" in named.get("class", ""):
            apart = "\u2003" if self._runs else ""
            self._say(f"{apart}\u25a0 ", COLOURS[named["class"].split()[-1]])
        else:
            self._hold(tag, named)

    def _hold(self, tag: str, named: dict[str, str]) -> None:
        """A part that has others in it, or is in one."""
        is_figures = named.get("class") == "figures"
        if tag == "ul" or is_figures:
            self.blocks.append({"kind": "figures" if is_figures else "ul", "items": []})
        elif tag == "li" or (tag == "div" and self._is_in("figures")):
            self._runs = []
            self.blocks[-1]["items"].append({"runs": self._runs, "dim": named.get("class") == "dim"})
        elif tag == "table":
            self.blocks.append({"kind": "table", "rows": []})
        elif tag == "tr":
            self.blocks[-1]["rows"].append([])
        elif tag in {"th", "td"}:
            self._cell(tag, named)

    def handle_endtag(self, tag: str) -> None:
        """See `HTMLParser`."""
        if self._svg:
            self._svg.append(f"</{tag}>")
            if tag == SVG:
                self.blocks[-1]["svg"] = "".join(self._svg)
                self._svg = []
            return
        while self._open and self._open.pop()[0] != tag:
            pass
        if tag in {"h1", "h2", "p", "pre", "li", "td", "th", "div"}:
            self._runs = None

    def handle_data(self, data: str) -> None:
        """See `HTMLParser`."""
        if self._svg:
            self._svg.append(escape(shown(data)))
        elif self._is_in("title"):
            self.title += data
        else:
            self._say(data)

    def _begin(self, block: Block) -> None:
        self._runs = []
        self.blocks.append(block | {"runs": self._runs})

    def _cell(self, tag: str, named: dict[str, str]) -> None:
        self._runs = []
        columns, right = int(named.get("colspan", "1")), "n" in named.get("class", "").split()
        cell = {"runs": self._runs, "head": tag == "th", "right": right, "columns": columns}
        self.blocks[-1]["rows"][-1].append(cell)

    def _say(self, text: str, colour: str = "") -> None:
        if self._runs is None:
            return
        keeps = bool(colour) or self._is_in("pre")
        words = text if keeps else " ".join(text.split())
        if not keeps and words and text[0].isspace():
            words = " " + words
        if not keeps and words.strip() and text[-1].isspace():
            words += " "
        if not words:
            words = " " if self._runs else ""
        style = next((tag for tag, _ in reversed(self._open) if tag in {"code", "b"}), "")
        dim = any("dim" in named.get("class", "").split() for tag, named in self._open if tag == "span")
        shade = colour or next((_colour(each["style"]) for _, each in reversed(self._open) if "style" in each), "")
        if words:
            self._runs.append({"text": shown(words), "style": style, "colour": shade or ("dim" if dim else "")})

    def _draw(self, tag: str, named: dict[str, str]) -> None:
        """A figure, as it stands."""
        if tag == SVG:
            label = named.pop("aria-label", "")
            self.blocks.append({"kind": SVG, "label": shown(label)})
            named = {"xmlns": "http://www.w3.org/2000/svg", "viewBox": named["viewbox"]}
        said = "".join(f' {name}="{escape(shown(value))}"' for name, value in named.items())
        self._svg.append(f"<{tag}{said}>" + (SVG_STYLE if tag == SVG else ""))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """See `HTMLParser`."""
        self.handle_starttag(tag, attrs)
        if self._svg:
            self._svg.append(f"</{tag}>")

    def _is_in(self, name: str) -> bool:
        return any(tag == name or name in named.get("class", "").split() for tag, named in self._open)


def _colour(style: str) -> str:
    """The colour that a style names by its group; empty where it names none."""
    name = style.rpartition("var(--")[2].rstrip(") ;") if "var(--" in style else ""
    return COLOURS.get(name, "")


def shown(text: str) -> str:
    """The same, with characters that the font lacks by their numbers."""
    return "".join(each if each == "\n" or _is_shown(ord(each)) else f"\\u{ord(each):04x}" for each in text)


def _is_shown(code: int) -> bool:
    return category(chr(code)) != "Cn" and any(first <= code <= last for first, last in (*LETTERS, *SIGNS))
