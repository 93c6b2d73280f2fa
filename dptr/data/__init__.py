"""Data in: labeled crops, their formats, transforms, and the renderer."""
