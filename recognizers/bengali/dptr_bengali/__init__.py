"""A recognizer; ``dptr.weights.packages`` finds it."""
