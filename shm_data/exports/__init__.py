"""Hands a data set to other trainers and to data set hubs, in the folders that they read.

- `export`: writes a folder, or resumes; start reading here
- `packagings`: which folders each kind has; `samples`: the set that is exported, as files or shards
- `foregrounds`: colours, alphas and backgrounds for trainers that composite themselves; `record`: export.json
"""
