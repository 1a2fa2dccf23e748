"""Modes that search a tree of chains."""
