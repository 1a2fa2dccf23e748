"""A shared index behind `ragscale serve`: its client and the form of its messages."""
