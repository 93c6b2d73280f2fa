"""Download free fonts for signs, logos, and posters: npm's Fontsource packages, which contain most of Google Fonts.

    python scripts/web_fonts.py --out runs/web-fonts
    dptr synth --set 'render.fonts=["/usr/share/fonts", "runs/web-fonts"]' ...

They complement the fonts of Debian. The script needs ``npm``, 226 MB, and a quarter of an hour. A package
``@fontsource/FAMILY`` contains one family with a free license (SIL OFL, Apache, UFL), as a WOFF file for each script
and weight. The script converts those with Latin letters and a style in ``STYLES`` to TrueType, and copies the license.
Existing families are skipped, so the same command continues after an interruption. A line of the list may name other
scripts instead of Latin, as in ``scripts/web-fonts-world.txt``.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path

from fontTools.ttLib import TTFont, TTLibError

LIST = Path(__file__).with_name("web-fonts.txt")
STYLES = ("200-normal", "400-normal", "700-normal", "900-normal", "400-italic", "700-italic")
BATCH = 20  # packages in one call of npm


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="a folder, with a subfolder for each family")
    parser.add_argument(
        "--list", type=Path, default=LIST, help="a file with a line for each family and its scripts: 'jua korean'"
    )
    options = parser.parse_args()
    if shutil.which("npm") is None:
        sys.exit("web_fonts: no npm here; install Node.js, or use the fonts of scripts/fonts.sh alone")
    families = read_list(options.list)
    missing = [family for family in families if not (options.out / family).exists()]
    failed: list[str] = []
    for first in range(0, len(missing), BATCH):
        failed += fetch({family: families[family] for family in missing[first : first + BATCH]}, options.out)
        print(f"\r{min(first + BATCH, len(missing))} of {len(missing)} families", end="", file=sys.stderr, flush=True)
    files = len(list(options.out.glob("*/*.ttf")))
    print(f"\n{options.out}: {files} fonts of {len(families) - len(failed)} families", file=sys.stderr)
    if failed:
        sys.exit(f"web_fonts: without a package or the letters: {', '.join(failed)}; the same command tries again")


def read_list(path: Path) -> dict[str, list[str]]:
    """The scripts to use from each family."""
    lines = map(str.split, path.read_text(encoding="utf-8").splitlines())
    return {words[0]: words[1:] or ["latin"] for words in lines if words}


def fetch(families: Mapping[str, Sequence[str]], out: Path) -> list[str]:
    """Download families, and unpack the given scripts into folders of ``out``. Returns the families that failed."""
    with tempfile.TemporaryDirectory() as scratch:
        archives = download([*families], Path(scratch))
        return [
            family
            for family, scripts in families.items()
            if family not in archives or not unpack(family, scripts, archives[family], out)
        ]


def download(families: Sequence[str], folder: Path) -> dict[str, Path]:
    """Download npm's archives, by family.

    One unknown name makes the common call fail; each family is then requested separately.
    """
    names = [f"@fontsource/{family}" for family in families]
    call = ["npm", "pack", "--json", "--silent", "--pack-destination", str(folder), *names]
    done = subprocess.run(call, capture_output=True, text=True)
    if done.returncode == 0:
        return {
            entry["name"].removeprefix("@fontsource/"): folder / entry["filename"] for entry in json.loads(done.stdout)
        }
    if len(families) == 1:
        return {}
    return {family: path for each in families for family, path in download([each], folder).items()}


def unpack(family: str, scripts: Sequence[str], archive: Path, out: Path) -> bool:
    """Convert an archive's fonts of ``scripts`` to TrueType in ``out / family``. Returns whether there are any.

    The folder appears when it is complete.
    """
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out, prefix=".partial-") as scratch, tarfile.open(archive) as packed:
        packed.extractall(scratch, filter="data")
        package, made = Path(scratch) / "package", Path(scratch) / "made"
        made.mkdir()
        for script, style in product(scripts, STYLES):
            woff = package / "files" / f"{family}-{script}-{style}.woff"
            if woff.exists():
                named = style if script == "latin" else f"{script}-{style}"
                convert(woff, made / f"{family}-{named}.ttf")
        if not any(made.iterdir()):
            return False
        for license in package.glob("LICENSE*"):
            shutil.copy(license, made)
        os.replace(made, out / family)
    return True


def convert(woff: Path, ttf: Path) -> None:
    """Convert a WOFF file to TrueType. A broken file is reported and left out."""
    try:
        with TTFont(woff) as font:
            font.flavor = None
            font.save(ttf)
    except TTLibError as error:
        print(f"\nweb_fonts: {woff.name}: {error}; left out", file=sys.stderr)


if __name__ == "__main__":
    main()
