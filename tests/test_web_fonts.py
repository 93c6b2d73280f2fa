"""scripts/web_fonts.py with a stand-in for npm that packs a font as Fontsource does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from fontTools.ttLib import TTFont

from dptr.synth import find_fonts

SCRIPT = Path(__file__).parents[1] / "scripts" / "web_fonts.py"
# Knows the families anton (two Latin styles, one of them broken, a Greek one) and greek; fails if another is asked for.
NPM = """#!{python}
import io, json, os, sys, tarfile
names = [each.split("/")[1] for each in sys.argv[1:] if each.startswith("@fontsource/")]
if not set(names) <= {{"anton", "greek"}}:
    sys.exit("npm error 404")
folder, told = sys.argv[sys.argv.index("--pack-destination") + 1], []
woff = open({woff!r}, "rb").read()
files = {{
    "anton": {{"files/anton-latin-400-normal.woff": woff, "files/anton-latin-700-normal.woff": woff[:100],
               "files/anton-greek-900-normal.woff": woff, "LICENSE": b"OFL"}},
    "greek": {{"files/greek-greek-400-normal.woff": woff}},
}}
for name in names:
    with tarfile.open(os.path.join(folder, name + ".tgz"), "w:gz") as archive:
        for path, content in files[name].items():
            info = tarfile.TarInfo("package/" + path)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    told.append({{"name": "@fontsource/" + name, "filename": name + ".tgz"}})
print(json.dumps(told))
"""


@pytest.fixture
def path(tmp_path: Path, font_folder: Path) -> str:
    """PATH with the stand-in first."""
    woff, npm = tmp_path / "one.woff", tmp_path / "bin" / "npm"
    with TTFont(find_fonts([font_folder])[0].path, fontNumber=0) as font:
        font.flavor = "woff"
        font.save(woff)
    npm.parent.mkdir()
    npm.write_text(NPM.format(python=sys.executable, woff=str(woff)))
    npm.chmod(0o755)
    return f"{npm.parent}{os.pathsep}{os.environ['PATH']}"


def test_latin_styles_are_unpacked_and_what_is_missing_is_named(path: str, tmp_path: Path) -> None:
    listed, out = tmp_path / "list.txt", tmp_path / "fonts"
    listed.write_text("anton\nnone-such\ngreek\n")
    command = [sys.executable, str(SCRIPT), "--out", str(out), "--list", str(listed)]
    for _ in range(2):
        done = subprocess.run(command, env={**os.environ, "PATH": path}, capture_output=True, text=True)
        assert done.returncode == 1
        assert "1 fonts of 1 families" in done.stderr and "none-such, greek; the same command" in done.stderr
        found = sorted(str(each.relative_to(out)) for each in out.rglob("*") if each.is_file())
        assert found == ["anton/LICENSE", "anton/anton-400-normal.ttf"]
    (font,) = find_fonts([out])
    assert font.path.endswith("anton-400-normal.ttf") and "A" in font


def test_a_line_names_the_scripts_of_a_family(path: str, tmp_path: Path) -> None:
    listed, out = tmp_path / "list.txt", tmp_path / "fonts"
    listed.write_text("anton greek cyrillic\n")
    command = [sys.executable, str(SCRIPT), "--out", str(out), "--list", str(listed)]
    subprocess.run(command, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=True)
    assert [each.name for each in out.rglob("*.ttf")] == ["anton-greek-900-normal.ttf"]


def test_a_machine_without_npm_is_told(tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPT), "--out", str(tmp_path / "fonts")]
    done = subprocess.run(command, env={**os.environ, "PATH": str(tmp_path)}, capture_output=True, text=True)
    assert done.returncode == 1 and "no npm here" in done.stderr and not (tmp_path / "fonts").exists()
