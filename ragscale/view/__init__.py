"""Views of a run for people: traces as text, answers as HTML."""
