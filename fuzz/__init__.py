"""Fuzzing: inputs that are damaged or meant to do harm, by the million, each within limits on time and memory."""
