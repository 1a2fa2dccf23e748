"""Ensembles: several runs of any mode side by side, and a decision among their outcomes."""
