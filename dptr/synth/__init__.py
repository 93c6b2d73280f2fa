"""The renderer: it draws words with free fonts and makes them look like crops of photographs."""

from dptr.utils.extras import missing_package

try:
    from dptr.synth.contact_sheet import draw_contact_sheet, draw_labeled_sheet
    from dptr.synth.fonts import EMBEDDED, Font, FontIndex, FontScan, describe_embedded, find_fonts, scan_fonts
    from dptr.synth.renderer import Renderer
except ModuleNotFoundError as error:
    raise missing_package(error, "the renderer", "train") from error

__all__ = [
    "EMBEDDED",
    "Font",
    "FontIndex",
    "FontScan",
    "Renderer",
    "describe_embedded",
    "draw_contact_sheet",
    "draw_labeled_sheet",
    "find_fonts",
    "scan_fonts",
]
