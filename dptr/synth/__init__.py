"""The renderer: words drawn with free fonts, made to look like crops of photographs."""

from dptr.utils.errors import UserError

try:
    from dptr.synth.fonts import EMBEDDED, Font, FontIndex, FontScan, describe_embedded, find_fonts, scan_fonts
    from dptr.synth.render import Renderer
    from dptr.synth.sheet import contact_sheet, labelled_sheet
except ModuleNotFoundError as error:
    raise UserError(f"{error.name} is not installed; the renderer needs it; pip install 'dptr[train]'") from error

__all__ = [
    "EMBEDDED",
    "Font",
    "FontIndex",
    "FontScan",
    "Renderer",
    "contact_sheet",
    "describe_embedded",
    "find_fonts",
    "labelled_sheet",
    "scan_fonts",
]
