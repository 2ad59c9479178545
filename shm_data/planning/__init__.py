"""Decides what a data set will hold: every random choice is drawn here, and none later.

- `plan`: from sources to a plan, or the recorded plan again; start reading here
- `scan`: lists the sources; `survey`: reads the files that a plan uses
- `draw`: draws the recipes, pure; `splits`, `partners`: who is in train or val, and who stands behind whom
- `notes`: what a user should know about a plan
"""
