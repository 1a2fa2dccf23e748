"""Language: words of any script, terms by a language, and the language of a corpus."""
