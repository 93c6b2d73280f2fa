"""Make the fonts in the repository: the embedded Latin fonts, and the fonts of other scripts for tests.

    python scripts/project_fonts.py --embedded dptr/synth/embedded --tests tests/fonts

Needs ``npm`` and ``apt-get``. The only change to each font is that fontTools subsets it to the characters below, keeps
the layout features that words need, and removes hinting. Licenses are beside the fonts, and FONTS.md lists sources and
versions. No font has a name that its license reserves.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import tarfile
import tempfile
from pathlib import Path

from fontTools import subset
from fontTools.ttLib import TTFont

from dptr.text.languages import LANGUAGES
from dptr.text.unicode import script

# By family: the npm package @expo-google-fonts/NAME of this version, and the file in it.
EMBEDDED = {
    "Anton": ("anton@0.4.2", "Anton_400Regular"),
    "Archivo Black": ("archivo-black@0.4.1", "ArchivoBlack_400Regular"),
    "Barlow Condensed": ("barlow-condensed@0.4.1", "BarlowCondensed_600SemiBold"),
    "Bodoni Moda": ("bodoni-moda@0.4.2", "BodoniModa_700Bold"),
    "Caveat": ("caveat@0.4.2", "Caveat_700Bold"),
    "Courier Prime": ("courier-prime@0.4.1", "CourierPrime_700Bold"),
    "Crimson Pro": ("crimson-pro@0.4.2", "CrimsonPro_500Medium_Italic"),
    "EB Garamond": ("eb-garamond@0.4.3", "EBGaramond_500Medium"),
    "Exo 2": ("exo-2@0.4.2", "Exo2_700Bold"),
    "Fira Sans": ("fira-sans@0.4.1", "FiraSans_500Medium"),
    "Fredoka": ("fredoka@0.4.1", "Fredoka_600SemiBold"),
    "JetBrains Mono": ("jetbrains-mono@0.4.1", "JetBrainsMono_700Bold"),
    "Libre Franklin": ("libre-franklin@0.4.2", "LibreFranklin_700Bold"),
    "Montserrat": ("montserrat@0.4.2", "Montserrat_800ExtraBold"),
    "Open Sans": ("open-sans@0.4.2", "OpenSans_400Regular"),
    "Oswald": ("oswald@0.4.2", "Oswald_500Medium"),
    "Pacifico": ("pacifico@0.4.1", "Pacifico_400Regular"),
    "Permanent Marker": ("permanent-marker@0.4.0", "PermanentMarker_400Regular"),
    "Roboto Slab": ("roboto-slab@0.4.2", "RobotoSlab_700Bold"),
    "Satisfy": ("satisfy@0.4.1", "Satisfy_400Regular"),
}
RULES = ["calt", "ccmp", "clig", "kern", "liga", "locl", "mark", "mkmk", "rlig"]  # for scripts that are not joined
UNSHAPED = {"latin", "cyrillic", "el", "zh", "ja", "ko", "hy", "ka", "am", "ti"}  # other scripts keep all features
LATIN = [*range(0x20, 0x7F), *range(0xA0, 0x180), *range(0x2013, 0x203B), 0x20AC, 0x2122]

# By family: the package, the file in it, and the languages whose characters the subset has.
TESTS = {
    "Noto Sans": ("noto-sans@0.4.2", "NotoSans_400Regular", "latin cyrillic el"),
    "Noto Sans Arabic": ("noto-sans-arabic@0.4.3", "NotoSansArabic_400Regular", "arabic"),
    "Noto Naskh Arabic": ("noto-naskh-arabic@0.4.5", "NotoNaskhArabic_400Regular", "arabic"),
    "Noto Sans Devanagari": ("noto-sans-devanagari@0.4.1", "NotoSansDevanagari_400Regular", "devanagari"),
    "Noto Sans SC": ("noto-sans-sc@0.4.3", "NotoSansSC_400Regular", "zh"),
    "Noto Sans JP": ("noto-sans-jp@0.4.3", "NotoSansJP_400Regular", "ja"),
    "Noto Sans KR": ("noto-sans-kr@0.4.3", "NotoSansKR_400Regular", "ko"),
    "Noto Sans Hebrew": ("fonts-noto-core", "NotoSansHebrew-Regular", "he"),
    "Noto Sans Bengali": ("fonts-noto-core", "NotoSansBengali-Regular", "bn as"),
    "Noto Serif Bengali": ("fonts-noto-core", "NotoSerifBengali-Regular", "bn as"),
    "Noto Serif Devanagari": ("fonts-noto-core", "NotoSerifDevanagari-Regular", "devanagari"),
    "Noto Sans Tamil": ("fonts-noto-core", "NotoSansTamil-Regular", "ta"),
    "Noto Sans Armenian": ("fonts-noto-core", "NotoSansArmenian-Regular", "hy"),
    "Noto Sans Georgian": ("fonts-noto-core", "NotoSansGeorgian-Regular", "ka"),
    "Noto Sans Ethiopic": ("fonts-noto-core", "NotoSansEthiopic-Regular", "am ti"),
    "Noto Sans Thai": ("fonts-noto-core", "NotoSansThai-Regular", "th"),
    "Noto Sans Khmer": ("fonts-noto-core", "NotoSansKhmer-Regular", "km"),
    "Noto Sans Lao": ("fonts-noto-core", "NotoSansLao-Regular", "lo"),
    "Noto Sans Myanmar": ("fonts-noto-core", "NotoSansMyanmar-Regular", "my"),
    "Noto Sans Sinhala": ("fonts-noto-core", "NotoSansSinhala-Regular", "si"),
    "Noto Sans Telugu": ("fonts-noto-core", "NotoSansTelugu-Regular", "te"),
    "Noto Sans Kannada": ("fonts-noto-core", "NotoSansKannada-Regular", "kn"),
    "Noto Sans Malayalam": ("fonts-noto-core", "NotoSansMalayalam-Regular", "ml"),
    "Noto Sans Gujarati": ("fonts-noto-core", "NotoSansGujarati-Regular", "gu"),
    "Noto Sans Gurmukhi": ("fonts-noto-core", "NotoSansGurmukhi-Regular", "pa"),
    "Noto Sans Oriya": ("fonts-noto-core", "NotoSansOriya-Regular", "or"),
    "Noto Serif Tibetan": ("fonts-noto-core", "NotoSerifTibetan-Regular", "bo dz"),
    "Noto Sans Cherokee": ("fonts-noto-core", "NotoSansCherokee-Regular", "chr"),
    "Noto Sans Adlam": ("fonts-noto-core", "NotoSansAdlam-Regular", "ff-adlm"),
    "Noto Sans NKo": ("fonts-noto-core", "NotoSansNKo-Regular", "nqo"),
    "Noto Sans Ol Chiki": ("fonts-noto-core", "NotoSansOlChiki-Regular", "sat"),
    "Noto Sans Tifinagh": ("fonts-noto-core", "NotoSansTifinagh-Regular", "zgh"),
    "Noto Sans Syriac": ("fonts-noto-core", "NotoSansSyriac-Regular", "syr"),
    "Noto Sans Vai": ("fonts-noto-core", "NotoSansVai-Regular", "vai"),
    "Noto Sans Chakma": ("fonts-noto-core", "NotoSansChakma-Regular", "ccp"),
    "Noto Sans Coptic": ("fonts-noto-core", "NotoSansCoptic-Regular", "cop"),
}
FREQUENT = 300  # the number of letters, the most frequent ones, for a language with thousands of letters
MARKS = [*range(0x20, 0x7F), 0xA0, 0x200C, 0x200D, 0x25CC]  # ASCII, joiners, and the dotted circle


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--embedded", type=Path, required=True, help="folder of the embedded fonts")
    parser.add_argument("--tests", type=Path, required=True, help="folder of the tests' fonts")
    options = parser.parse_args()
    latin = {family: (package, file, LATIN, RULES) for family, (package, file) in EMBEDDED.items()}
    write_fonts(latin, options.embedded, "the embedded fonts")
    scripts = {
        family: (package, file, characters_of(codes), RULES if UNSHAPED & set(codes.split()) else ["*"])
        for family, (package, file, codes) in TESTS.items()
    }
    write_fonts(scripts, options.tests, "fonts of the tests")


def characters_of(codes: str) -> list[int]:
    """The code points of the charsets of languages; for East Asian ones, only the most frequent letters."""
    characters = set(MARKS)
    for code in codes.split():
        letters = LANGUAGES[code].charset
        large = [letter for letter in letters if script(letter) == "EAST ASIAN" and ord(letter) >= 0x3400]
        characters |= set(map(ord, letters)) - set(map(ord, large))
        characters |= set(map(ord, frequent(code, set(large))))
    return sorted(characters)


def frequent(code: str, letters: set[str]) -> list[str]:
    """The first ``FREQUENT`` of ``letters`` in the words of a language, in order of word frequency."""
    if not letters:
        return []
    from wordfreq import top_n_list

    seen = dict.fromkeys(letter for word in top_n_list(code, 20_000) for letter in word if letter in letters)
    return list(seen)[:FREQUENT]


def write_fonts(fonts: dict[str, tuple[str, str, list[int], list[str]]], out: Path, title: str) -> None:
    """Write the subset fonts, their licenses, and FONTS.md."""
    out.mkdir(parents=True, exist_ok=True)
    lines = [f"# Sources of {title}", "", "Made by `scripts/project_fonts.py`: cut down to some characters, unhinted."]
    lines += ["", "| family | file | from | license |", "|---|---|---|---|"]
    for family, (package, file, characters, rules) in sorted(fonts.items()):
        with tempfile.TemporaryDirectory() as scratch:
            path, license, source = fetch(package, file, Path(scratch))
            name = family.replace(" ", "")
            cut(path, characters, rules, out / f"{name}.ttf")
            (out / f"{name}.LICENSE").write_text(license, encoding="utf-8")
        kind = "Apache-2.0" if "Apache License" in license else "OFL-1.1"
        lines.append(f"| {family} | `{name}.ttf` | {source}, `{path.name}` | {kind}, [text]({name}.LICENSE) |")
    (out / "FONTS.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def fetch(package: str, file: str, scratch: Path) -> tuple[Path, str, str]:
    """Download a font. Returns the file, the text of its license, and the source of both."""
    if package == "fonts-noto-core":
        subprocess.run(["apt-get", "download", "-qq", package], cwd=scratch, check=True, stderr=subprocess.DEVNULL)
        (archive,) = scratch.glob("*.deb")
        subprocess.run(["dpkg", "-x", str(archive), str(scratch)], check=True)
        version = archive.name.split("_")[1]
        notice = (scratch / f"usr/share/doc/{package}/copyright").read_text(encoding="utf-8")
        text = notice.partition("\nLicense: OFL-1.1\n PREAMBLE")[2].partition("\nLicense:")[0]
        head = "SIL OPEN FONT LICENSE Version 1.1\n\nPREAMBLE" + re.sub(r"(?m)^ \.?", "", text)
        (path,) = scratch.rglob(f"{file}.ttf")
        with TTFont(path) as font:
            owner = font["name"].getDebugName(0)
        return path, f"{owner}\n\n{head.rstrip()}\n", f"Debian's {package} {version}"
    name = f"@expo-google-fonts/{package}"
    call = ["npm", "pack", "--silent", "--pack-destination", str(scratch), name]
    subprocess.run(call, check=True, stdout=subprocess.DEVNULL)
    with tarfile.open(next(scratch.glob("*.tgz"))) as packed:
        packed.extractall(scratch, filter="data")
    (path,) = scratch.rglob(f"{file}.ttf")
    license = (scratch / "package/LICENSE_FONT").read_text(encoding="utf-8")
    return path, license, f"npm's {name}"


def cut(path: Path, characters: list[int], rules: list[str], out: Path) -> None:
    """Subset a font to ``characters``, the layout features ``rules``, and the glyphs that these features produce."""
    options = subset.Options(layout_features=rules, hinting=False, name_IDs=["*"], notdef_outline=True)
    options.drop_tables += ["FFTM", "DSIG"]
    with TTFont(path, recalcTimestamp=False) as font:
        tool = subset.Subsetter(options)
        tool.populate(unicodes=characters)
        tool.subset(font)
        font.save(out)


if __name__ == "__main__":
    main()
