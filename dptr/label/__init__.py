"""Labeling: words proposed by a recognizer, corrected by people, and trained on."""
