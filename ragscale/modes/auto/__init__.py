"""`auto`: allocation learned from a run: features of a first answer, a policy file, and the mode that uses both."""
