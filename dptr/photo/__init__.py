"""Reading of whole photographs and pages: detect lines of text, read them, and locate each word and character."""
