"""Data in: labelled crops, their formats, transforms, and the renderer."""
