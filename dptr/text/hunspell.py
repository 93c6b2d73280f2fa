"""Words of hunspell's dictionaries for spell checking, of which Debian has some eighty (``hunspell-th``).

A dictionary is two files (hunspell(5)): ``xx.dic``, with a stem a line and the letters of the rules that bend it, and
``xx.aff``, which names the encoding and holds the rules. Only stems are read; what the rules would make of them is not.
"""

from __future__ import annotations

import re
from pathlib import Path

from dptr.utils.errors import UserError
from dptr.utils.reading import read_file

FOLDERS = (Path("/usr/share/hunspell"), Path("/usr/share/myspell/dicts"))
_ENCODING = re.compile(rb"^SET\s+(\S+)", re.MULTILINE)
_NAMES = {"microsoft-cp1251": "cp1251", "tis620-2533": "tis-620"}  # hunspell's names that Python does not know
_FLAGS = re.compile(r"(?<!\\)/")
_FIELDS = re.compile(r"\t|[ \t]+\S\S:")  # of morphology, such as "po:noun"; a tab alone in old dictionaries


def find_dictionary(language: str, folders: tuple[Path, ...] = FOLDERS) -> Path:
    """The dictionary of a language among the installed ones, that without a country first.

    Raises:
        UserError: there is none.
    """
    found = [path for folder in folders for path in sorted(folder.glob(f"{language}*.dic"))]
    named = [path for path in found if re.split("[_-]", path.stem)[0] == language]
    if not named:
        raise UserError(
            f"corpus source hunspell: no dictionary {language}*.dic in {' or '.join(map(str, folders))}; install it "
            f"(Debian: hunspell-{language}), or name a file in path"
        )
    return min(named, key=lambda path: len(path.stem))


def read_dictionary(path: Path) -> list[str]:
    """The stems of a ``.dic`` file, in its order, each once, in the encoding that the ``.aff`` beside it names.

    Raises:
        UserError: a file is missing or unreadable, or not in that encoding.
    """
    rules = path.with_suffix(".aff")
    try:
        found = _ENCODING.search(read_file(rules)) if rules.is_file() else None
        encoding = found[1].decode("ascii", "replace").lower() if found else "utf-8"
        text = read_file(path).decode(_NAMES.get(encoding, encoding))
    except OSError as error:
        raise UserError(f"dictionary {path}: {error.strerror}; check the path and its permissions") from error
    except (UnicodeDecodeError, LookupError) as error:
        raise UserError(f"dictionary {path}: not in the encoding '{encoding}' that {rules.name} names") from error
    lines = text.removeprefix("\ufeff").split("\n")
    if lines and lines[0].strip().isdigit():
        del lines[0]  # how many entries there are, about
    entries = (_FIELDS.split(line, maxsplit=1)[0] for line in lines)
    stems = (_FLAGS.split(entry, maxsplit=1)[0].replace("\\/", "/").strip() for entry in entries)
    return list(dict.fromkeys(stem for stem in stems if stem and not stem.startswith("#")))
