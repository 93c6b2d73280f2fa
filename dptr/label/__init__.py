"""Labeling: a recognizer proposes words, people correct them, and a training learns from them."""
