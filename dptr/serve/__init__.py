"""The recognizers as an HTTP server, and a page to use them from."""
