"""A gallery of reading errors: one HTML page with embedded pictures, without scripts and external resources."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from html import escape

from PIL import Image

MAX_SIZE = (480, 128)  # width and height in pixels; larger pictures are shrunk before they are embedded


@dataclass(frozen=True)
class Card:
    """A crop that was read wrongly.

    Attributes:
        image: the crop.
        truth, prediction: the words in pieces that are marked as a whole, such as grapheme clusters.
        confidence: 0 to 1.
        notes: shown in small print below.
    """

    image: Image.Image
    truth: Sequence[str]
    prediction: Sequence[str]
    confidence: float
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Section:
    """One data set under one protocol."""

    facts: dict[str, str]  # name -> value; the first two are the data set and the protocol
    cards: Iterable[Card]  # the errors to show
    errors: int  # number of all errors


def render_page(
    title: str, introduction: str, sections: Sequence[Section], totals: Sequence[Sequence[str]] = ()
) -> str:
    """The page as HTML: a table of the facts of all sections, then the cards of each section in the given order.

    All sections must have facts of the same names. ``totals`` are further rows of the table, with as many cells. All
    text is escaped.
    """
    body = "\n".join(_section(number, section) for number, section in enumerate(sections, 1))
    return wrap(title, introduction, f"{_table(sections, totals)}\n<main>\n{body}\n</main>")


def wrap(title: str, introduction: str, body: str) -> str:
    """A complete page around ``body``, which is HTML; title and introduction are text, which is escaped."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
        "style-src 'unsafe-inline'\">\n"
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        f"<header><h1>{escape(title)}</h1>\n<p>{escape(introduction)}</p></header>\n"
        f"{body}\n</body>\n</html>\n"
    )


def _table(sections: Sequence[Section], totals: Sequence[Sequence[str]]) -> str:
    if not sections:
        return ""
    head = "".join(f"<th>{escape(name)}</th>" for name in sections[0].facts)
    rows = []
    for number, section in enumerate(sections, 1):
        first, *rest = section.facts.values()
        cells = f'<td><a href="#s{number}">{escape(first)}</a></td>' + "".join(f"<td>{escape(v)}</td>" for v in rest)
        rows.append(f"<tr>{cells}</tr>")
    rows += ["<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in totals]
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'


def _section(number: int, section: Section) -> str:
    cards = [_card(card) for card in section.cards]
    data, protocol = list(section.facts.values())[:2]
    if not section.errors:
        count = "no errors"
    elif len(cards) < section.errors:
        count = f"the {len(cards)} most confident of {section.errors} errors"
    else:
        count = f"{section.errors} error{'s' if section.errors > 1 else ''}"
    return (
        f'<section id="s{number}"><h2>{escape(data)} <small>protocol {escape(protocol)} · {count}</small></h2>\n'
        f'<div class="grid">\n{"".join(cards)}</div></section>'
    )


def _card(card: Card) -> str:
    truth, prediction = _mark_differences(card.truth, card.prediction)
    percent = f"{100 * card.confidence:.1f}"
    label = escape("".join(card.truth))
    notes = "".join(f"<p>{escape(note)}</p>" for note in card.notes)
    return (
        f'<article><div class="picture"><img alt="crop of {label}" src="{data_url(card.image)}"></div>\n'
        f"<dl><dt>truth</dt><dd>{truth}</dd><dt>read</dt><dd>{prediction}</dd>"
        '<dt>conf.</dt><dd class="conf">'
        f'<meter max="100" high="50" optimum="0" value="{percent}"></meter> {percent} %</dd></dl>\n'
        f"{notes}</article>\n"
    )


def _mark_differences(truth: Sequence[str], prediction: Sequence[str]) -> tuple[str, str]:
    """Both words as HTML, with <mark> around pieces that differ."""
    left, right = "", ""
    for kind, a, b, c, d in SequenceMatcher(None, truth, prediction, autojunk=False).get_opcodes():
        start, end = ("", "") if kind == "equal" else ("<mark>", "</mark>")
        left += f"{start}{escape(''.join(truth[a:b]))}{end}" if b > a else ""
        right += f"{start}{escape(''.join(prediction[c:d]))}{end}" if d > c else ""
    nothing = '<span class="nothing">(nothing)</span>'
    return f"<bdi>{left}</bdi>" if truth else nothing, f"<bdi>{right}</bdi>" if prediction else nothing


def data_url(image: Image.Image) -> str:
    """The picture as the data URL of a JPEG, shrunk to ``MAX_SIZE`` if it is larger."""
    small = image.convert("RGB")
    small.thumbnail(MAX_SIZE)
    file = io.BytesIO()
    small.save(file, "JPEG", quality=88)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode("ascii")


_STYLE = """
:root{color-scheme:light dark;--page:#f5f5f2;--card:#fff;--ink:#1c1d1f;--soft:#5d6168;--line:#dcdcd6;--mark:#ffd9d2;
--wrong:#a3200d;--well:#e9e9e4;--link:#0b57a8}
@media(prefers-color-scheme:dark){:root{--page:#16171a;--card:#202226;--ink:#e9eaec;--soft:#a3a8b0;--line:#34373d;
--mark:#5c211a;--wrong:#ffb4a6;--well:#2b2e33;--link:#8ec2ff}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:90rem;padding:1.25rem clamp(.75rem,3vw,2.5rem) 3rem;
background:var(--page);color:var(--ink);
font:1rem/1.45 system-ui,sans-serif}
h1{font-size:1.5rem;margin:0 0 .25rem;overflow-wrap:anywhere}
header p{margin:0 0 1rem;color:var(--soft);max-width:44rem}
h2{font-size:1.15rem;margin:2rem 0 .75rem;overflow-wrap:anywhere}
h2 small{font-weight:400;color:var(--soft);font-size:.9rem}
a{color:var(--link)}
.scroll{overflow-x:auto}
table{border-collapse:collapse;font-size:.9rem;font-variant-numeric:tabular-nums;background:var(--card)}
th,td{padding:.4rem .75rem;border:1px solid var(--line);text-align:right;white-space:nowrap}
th:first-child,td:first-child{text-align:left}
th{font-weight:600;color:var(--soft)}
.grid{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,14.5rem),1fr));gap:.75rem}
article{background:var(--card);border:1px solid var(--line);border-radius:.5rem;overflow:hidden;min-width:0}
.picture{background:var(--well);height:5.5rem;padding:.5rem;display:flex;align-items:center;justify-content:center}
.picture img{width:100%;height:100%;object-fit:contain}
dl{display:grid;grid-template-columns:auto 1fr;gap:.1rem .75rem;margin:0;padding:.6rem .75rem;align-items:baseline}
dt{color:var(--soft);font-size:.8rem}
dd{margin:0;font:600 1.05rem/1.4 ui-monospace,Menlo,Consolas,monospace;overflow-wrap:anywhere}
dd.conf{font:400 .85rem/1.4 system-ui,sans-serif;font-variant-numeric:tabular-nums;color:var(--soft)}
meter{width:4.5rem;vertical-align:middle}
mark{background:var(--mark);color:var(--wrong);border-radius:.15rem;padding:0 .08em;text-decoration:underline}
.nothing{color:var(--wrong);font-style:italic;font-weight:400}
article p{margin:0;padding:0 .75rem .5rem;font-size:.75rem;color:var(--soft);overflow-wrap:anywhere}
@media(max-width:30rem){.grid{grid-template-columns:1fr 1fr;gap:.5rem}dl{padding:.5rem;column-gap:.5rem}
article p{padding:0 .5rem .5rem}
dd{font-size:.95rem}.picture{height:4.5rem}meter{display:none}}
"""
