"""Words of hunspell's spelling dictionaries. Debian packages some eighty of them, such as ``hunspell-th``.

A dictionary consists of two files (hunspell(5)). ``xx.dic`` has a stem a line, with the letters of the rules that
inflect it. ``xx.aff`` names the encoding and defines the rules. This module reads the stems only and does not apply the
rules.
"""

from __future__ import annotations

import re
from pathlib import Path

from dptr.utils.errors import UserError
from dptr.utils.reading import read_file

FOLDERS = (Path("/usr/share/hunspell"), Path("/usr/share/myspell/dicts"))
_ENCODING = re.compile(rb"^SET\s+(\S+)", re.MULTILINE)
# Python's names of encodings that it does not know by hunspell's name.
_PYTHON_ENCODINGS = {"microsoft-cp1251": "cp1251", "tis620-2533": "tis-620"}
_FLAGS = re.compile(r"(?<!\\)/")
# The beginning of morphological fields, such as "po:noun"; in old dictionaries, a tab alone.
_FIELDS = re.compile(r"\t|[ \t]+\S\S:")


def find_dictionary(language: str, folders: tuple[Path, ...] = FOLDERS) -> Path:
    """The installed dictionary of a language; one without a country, such as ``de.dic``, is preferred.

    Args:
        language: language code; the file's name begins with it.
        folders: where dictionaries are installed.

    Raises:
        UserError: no dictionary of this language is installed.
    """
    candidates = [path for folder in folders for path in sorted(folder.glob(f"{language}*.dic"))]
    dictionaries = [path for path in candidates if re.split("[_-]", path.stem)[0] == language]
    if not dictionaries:
        raise UserError(
            f"corpus source hunspell: no dictionary {language}*.dic in {' or '.join(map(str, folders))}; install it "
            f"(Debian: hunspell-{language}), or name a file in path"
        )
    return min(dictionaries, key=lambda path: len(path.stem))


def read_dictionary(path: Path) -> list[str]:
    """The distinct stems of a ``.dic`` file, in its order.

    The ``.aff`` file beside it names the encoding; without one, or if it names none, the encoding is UTF-8.

    Raises:
        UserError: a file is missing or unreadable, the encoding is unknown, or the dictionary is not in it.
    """
    rules = path.with_suffix(".aff")
    try:
        encoding_line = _ENCODING.search(read_file(rules)) if rules.is_file() else None
        encoding = encoding_line[1].decode("ascii", "replace").lower() if encoding_line else "utf-8"
        text = read_file(path).decode(_PYTHON_ENCODINGS.get(encoding, encoding))
    except OSError as error:
        raise UserError(f"dictionary {path}: {error.strerror}; check the path and its permissions") from error
    except (UnicodeDecodeError, LookupError) as error:
        raise UserError(f"dictionary {path}: not in the encoding '{encoding}' that {rules.name} names") from error
    lines = text.removeprefix("\ufeff").split("\n")
    if lines and lines[0].strip().isdigit():
        del lines[0]  # the approximate number of entries
    entries = (_FIELDS.split(line, maxsplit=1)[0] for line in lines)
    stems = (_FLAGS.split(entry, maxsplit=1)[0].replace("\\/", "/").strip() for entry in entries)
    return list(dict.fromkeys(stem for stem in stems if stem and not stem.startswith("#")))
