"""Strict loading of settings and weights: errors name what is missing, unexpected, or of another shape."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError
from torch import Tensor, nn

from dptr.config.model import Config
from dptr.text.charset import Charset
from dptr.utils.errors import UserError
from dptr.utils.files import read_json
from dptr.utils.outputs import check_folder

C = TypeVar("C", bound=Config)


def check_model_folder(folder: str | Path) -> None:
    """Check that a checkpoint may be written to ``folder``, which must be new, empty, or hold a checkpoint.

    Raises:
        UserError: it is a file, or holds something else.
    """
    check_folder(folder, "model", "config.json", ("format", "kind", "charset"))


def read_config(folder: Path, what: str) -> dict[str, Any]:
    """Read ``config.json`` of a checkpoint folder; errors call the folder ``what``.

    Raises:
        UserError: missing, unreadable, or not a JSON object.
    """
    path = folder / "config.json"
    described = read_json(path, what)
    if not isinstance(described, dict):
        raise UserError(f"{what} {path}: a JSON {type(described).__name__}, not an object; it is damaged, copy it anew")
    return described


def parse_settings(described: dict[str, Any], section: str, schema: type[C], where: str) -> tuple[C, Charset]:
    """The settings and the charset of a checkpoint.

    Args:
        described: from ``read_config``.
        section: the key of the settings.
        where: the file, named in errors.

    Raises:
        UserError: a key is missing or unknown, or has an invalid value.
    """
    try:
        settings = schema.model_validate(described[section])
        characters = described["charset"]["characters"]
        return settings, Charset(str(described["charset"]["name"]), tuple(characters))
    except ValidationError as error:
        first = error.errors()[0]
        fault = f"{'.'.join(map(str, (section, *first['loc'])))}: {first['msg']}"
    except KeyError as error:
        fault = f"{error.args[0]!r} is missing"
    except (TypeError, UserError) as error:
        fault = str(error)
    raise UserError(f"{where}: {fault}; damaged, or of another version; copy it anew, or use the dptr that wrote it")


def match_character_rows(new: Charset, old: Charset, after: int) -> tuple[list[int], list[int]]:
    """Match the rows of two tables with one row per character.

    Row 0 is EOS or blank, rows 1..n are the characters, and ``after`` special rows follow.

    Returns:
        Rows of the new table, and the corresponding rows of the old one. Characters of only one charset are left out.
    """
    known = {character: index for index, character in enumerate(old.characters, 1)}
    pairs = [(0, 0)]
    pairs += [(index, known[character]) for index, character in enumerate(new.characters, 1) if character in known]
    pairs += [(len(new) + 1 + extra, len(old) + 1 + extra) for extra in range(after)]
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs]


def check_amount(tensors: dict[str, Tensor], prefix: str, needed: int, setting: str, where: str) -> None:
    """Check that a file has the weights that its settings need, before a network of that size is allocated.

    Args:
        prefix: of the names of a part's weights.
        needed: the least number of weights of that part.
        setting, where: the setting and the file, named in the error.

    Raises:
        UserError: it has fewer.
    """
    count = sum(tensor.numel() for name, tensor in tensors.items() if name.startswith(prefix))
    if count < needed:
        raise UserError(
            f"{where}: {setting} needs {needed:,} weights at least, the file holds {count:,}; damaged, copy it anew"
        )


def load_strictly(module: nn.Module, tensors: dict[str, Tensor], where: str, fresh: tuple[str, ...] = ()) -> list[str]:
    """Load ``tensors`` into ``module``; float16 becomes float32. Names that start with one of ``fresh`` may be missing.

    Args:
        where: origin of the tensors, named in errors.
        fresh: prefixes of parameters that may keep their present values.

    Returns:
        The names of the tensors that were missing.

    Raises:
        UserError: a tensor is missing, unexpected, of another shape, or not of floating point where the module's is (or
            vice versa); a value is not finite.
    """
    own = module.state_dict()
    missing = [name for name in own if name not in tensors]
    faults = [
        f"{name} {tuple(tensors[name].shape)} where {tuple(own[name].shape)} is needed"
        for name in own
        if name in tensors and tensors[name].shape != own[name].shape
    ]
    faults += [
        f"{name} of {str(tensor.dtype).removeprefix('torch.')} where {str(own[name].dtype).removeprefix('torch.')} is"
        for name, tensor in tensors.items()
        if name in own and tensor.is_floating_point() != own[name].is_floating_point()
    ]
    faults += [f"{name} is missing" for name in missing if not name.startswith(fresh or ("\0",))]
    faults += [f"{name} is not part of this model" for name in tensors if name not in own]
    if faults:
        raise UserError(
            f"{where}: {faults[0]} ({len(faults)} such); the weights are of another architecture; "
            "use the settings that they were trained with"
        )
    wide = {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}
    if broken := [name for name, tensor in wide.items() if not bool(tensor.isfinite().all())]:
        raise UserError(f"{where}: {broken[0]} has numbers that are not finite ({len(broken)} such); copy it anew")
    module.load_state_dict(wide, strict=False)
    return missing
