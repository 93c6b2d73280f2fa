"""The report of ``dptr data check`` as one self-contained HTML page with pictures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path

from PIL import Image

from dptr.data.check.checks import Check, shown, sizes
from dptr.data.labeled import name_crop, open_labeled
from dptr.utils.errors import UserError
from dptr.utils.html import data_url, wrap

PICTURES = 24  # shown for each problem
SAMPLES = 48  # crops that are shown in any case
CHARACTERS = 120  # of the histogram
Fetch = Callable[[str], Image.Image]  # a picture by the name from ``name_crop``; raises UserError if there is none


def render_data_sets(check: Check, paths: Sequence[str | Path], against: Sequence[str | Path]) -> str:
    """The page for a check of ``paths`` against ``against``, which are opened again for their pictures.

    Raises:
        UserError: a data set cannot be opened any more.
    """
    sets = [open_labeled(path) for path in [*paths, *against]]
    places = {name_crop(dataset, index): (dataset, index) for dataset in sets for index in range(len(dataset))}

    def fetch(name: str) -> Image.Image:
        dataset, index = places[name]
        return dataset.image(index)

    own = [name for name, (dataset, _) in places.items() if dataset in sets[: len(paths)]]
    step = max(len(own) // SAMPLES, 1)
    samples = [(name, places[name][0].label(places[name][1])) for name in own[::step][:SAMPLES]]
    return render_check(check, samples, fetch)


def render_check(check: Check, samples: list[tuple[str, str]], fetch: Fetch) -> str:
    """The page: statistics, histograms, the first pictures of each problem, and some crops.

    Args:
        samples: (name, label) of crops to show in any case.
    """
    contents = check.contents
    facts = [("crops", f"{contents.count:,}"), ("different characters", str(len(contents.characters)))]
    facts += [(f"{name} width x height", value) for name, value in sizes(contents).items()]
    facts += [(reason, str(count)) for reason, count in check.problems.counts.items()]
    body = [_table(facts)]
    for reason, named in check.problems.examples.items():
        cards = "".join(_card(fetch, key, detail) for key, detail in named[:PICTURES])
        body.append(_section(f"{reason}: {check.problems.counts[reason]}", f'<div class="grid">{cards}</div>'))
    if check.twins:
        pairs = "".join(
            _card(fetch, twin.key, twin.label) + _card(fetch, twin.other_key, twin.other_label)
            for twin in check.twins[:PICTURES]
        )
        body.append(_section("Seen in both, in pairs", f'<div class="grid">{pairs}</div>'))
    if check.outside:
        body.append(_section("Characters outside the charset", _bars(check.outside, named=shown)))
    body.append(_section("Lengths of labels", _bars(Counter(contents.lengths), by_count=False, named=str)))
    body.append(_section("Characters", _bars(contents.characters, named=shown)))
    cards = "".join(_card(fetch, key, label) for key, label in samples)
    body.append(_section("Some crops", f'<div class="grid">{cards}</div>'))
    title = f"{contents.count:,} crops"
    return wrap(title, ", ".join(contents.paths), f"<main>{''.join(body)}</main>")


def _section(title: str, inside: str) -> str:
    return f"<section><h2>{escape(title)}</h2>\n{inside}</section>\n"


def _table(rows: list[tuple[str, str]]) -> str:
    cells = "".join(f"<tr><td>{escape(name)}</td><td>{escape(value)}</td></tr>" for name, value in rows)
    return f'<div class="scroll"><table><tbody>{cells}</tbody></table></div>'


def _bars(counts: Counter, named: Callable[..., str], by_count: bool = True) -> str:
    """A horizontal bar for each value."""
    if not counts:
        return "<p>none</p>"
    values = counts.most_common(CHARACTERS) if by_count else sorted(counts.items())
    most = max(counts.values())
    rows = "".join(
        f"<tr><td><bdi>{escape(named(value))}</bdi></td><td>{count:,}</td>"
        f'<td><meter max="{most}" value="{count}"></meter></td></tr>'
        for value, count in values
    )
    more = f"<p>and {len(counts) - len(values)} more</p>" if len(counts) > len(values) else ""
    return f'<div class="scroll"><table><tbody>{rows}</tbody></table></div>{more}'


def _card(fetch: Fetch, key: str, detail: str) -> str:
    try:
        picture = f'<img alt="" src="{data_url(fetch(key))}">'
    except UserError:
        picture = '<span class="nothing">no picture</span>'
    return (
        f'<article><div class="picture">{picture}</div><dl><dt></dt><dd><bdi>{escape(detail)}</bdi></dd></dl>'
        f"<p>{escape(key)}</p></article>\n"
    )
