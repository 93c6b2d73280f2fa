"""The renderer: words drawn with the system's fonts, made to look like crops of photographs."""

from dptr.utils.errors import UserError

try:
    from dptr.synth.contact_sheet import draw_contact_sheet, draw_labeled_sheet
    from dptr.synth.fonts import Font, FontIndex, FontScan, find_fonts, scan_fonts
    from dptr.synth.renderer import Renderer
except ModuleNotFoundError as error:
    raise UserError(f"{error.name} is not installed; the renderer needs it; pip install 'dptr[train]'") from error

__all__ = [
    "Font",
    "FontIndex",
    "FontScan",
    "Renderer",
    "draw_contact_sheet",
    "draw_labeled_sheet",
    "find_fonts",
    "scan_fonts",
]
