"""From a word list to a recognizer: what ``dptr new-language`` does."""
