"""The renderer: words drawn with the system's fonts, made to look like crops of photographs."""

from dptr.utils.errors import UserError

try:
    from dptr.synth.fonts import Font, FontIndex, FontScan, find_fonts, scan_fonts
    from dptr.synth.render import Renderer
    from dptr.synth.sheet import contact_sheet, labelled_sheet
except ModuleNotFoundError as error:
    raise UserError(f"{error.name} is not installed; the renderer needs it; pip install 'dptr[train]'") from error

__all__ = ["Font", "FontIndex", "FontScan", "Renderer", "contact_sheet", "find_fonts", "labelled_sheet", "scan_fonts"]
