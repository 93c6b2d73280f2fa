"""Whole photographs and pages: find the lines of text, read them, say where each word and character stands."""
