"""Modes whose rounds follow one another."""
