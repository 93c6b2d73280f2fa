"""The three training commands: align the glyph encoder, pre-train a decoder on text, fine-tune a recognizer."""
