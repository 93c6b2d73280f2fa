"""Labeled crops: formats, importers, checks, augmentation, and the batches of a training."""
