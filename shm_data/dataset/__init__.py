"""What a data set is on the disk: its layout, recipes, record, card and shards.

- `store`: a folder with its plan, lock and record; start reading here
- `layout`: where each file lies; `recipes`: recipes.jsonl; `manifest`: dataset.json; `card`: README.md
- `fingerprints`: whether a file has changed; `json_model`: JSON files, checked
- `shards`, `shard_format`: tar files for training; `rebuild_command`, `citations`: parts of the card
"""
