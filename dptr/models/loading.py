"""Loading settings and weights, strictly: what is missing, left over or of another shape is named."""

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
    """Check that a checkpoint may be written to ``folder``: it is new, empty, or holds one.

    Raises:
        UserError: it is a file, or holds something else.
    """
    check_folder(folder, "model", "config.json", ("format", "kind", "charset"))


def read_config(folder: Path, what: str) -> dict[str, Any]:
    """``config.json`` of a checkpoint folder; ``what`` names the folder's role in the error.

    Raises:
        UserError: missing, unreadable, or not a JSON object.
    """
    path = folder / "config.json"
    described = read_json(path, what)
    if not isinstance(described, dict):
        raise UserError(f"{what} {path}: a JSON {type(described).__name__}, not an object; it is damaged, copy it anew")
    return described


def parse_settings(described: dict[str, Any], section: str, schema: type[C], where: str) -> tuple[C, Charset]:
    """The settings and the charset that a checkpoint's description holds.

    Args:
        described: what ``read_config`` returned.
        section: the key of the settings.
        where: the file, named in the error.

    Raises:
        UserError: a key that is missing, unknown or has a value that cannot be.
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
    """Which rows of a table by character go where, from one charset to another.

    Row 0 stands for no character (end, or blank), rows 1..n for the characters, ``after`` rows follow them.

    Returns:
        Rows of the new table, and the old one's that belong there; characters that only one knows are left out.
    """
    known = {character: index + 1 for index, character in enumerate(old.characters)}
    pairs = [(0, 0)]
    pairs += [(place + 1, known[each]) for place, each in enumerate(new.characters) if each in known]
    pairs += [(len(new) + 1 + extra, len(old) + 1 + extra) for extra in range(after)]
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs]


def check_amount(tensors: dict[str, Tensor], prefix: str, needed: int, setting: str, where: str) -> None:
    """A file holds about as many weights as its settings ask for, before a network of that size is allocated.

    Args:
        prefix: of the names of the part's weights.
        needed: the part has at least so many weights.

    Raises:
        UserError: it holds less.
    """
    held = sum(tensor.numel() for name, tensor in tensors.items() if name.startswith(prefix))
    if held < needed:
        raise UserError(
            f"{where}: {setting} needs {needed:,} weights at least, the file holds {held:,}; damaged, copy it anew"
        )


def load_strictly(module: nn.Module, tensors: dict[str, Tensor], where: str, fresh: tuple[str, ...] = ()) -> list[str]:
    """Load ``tensors`` (float16 is widened to float32); only names that start with one of ``fresh`` may be missing.

    Args:
        where: named in the error.
        fresh: prefixes of parameters that keep their present values.

    Returns:
        The names left as they were.

    Raises:
        UserError: a missing, unexpected or differently shaped tensor, one of another kind of numbers, or numbers that
            are not finite.
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
