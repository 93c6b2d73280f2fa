"""The weights that only training needs; ``dptr.weights`` finds them."""
