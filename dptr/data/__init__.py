"""Labeled crops: formats, importers, checks, augmentation, and training batches."""
