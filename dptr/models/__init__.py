"""Image encoders, the Feature Merge Unit, and decoders, as plain modules; and checkpoints of them."""
