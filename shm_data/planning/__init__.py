"""Decides what a data set will hold: every random choice is drawn here, and none later."""
