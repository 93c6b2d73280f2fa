"""Text: charsets, tokenizer, corpora. Imports numpy, never torch."""
