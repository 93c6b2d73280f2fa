"""Image encoders, Feature Merge Unit and decoders: plain modules that take built parts."""
