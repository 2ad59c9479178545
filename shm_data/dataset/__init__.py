"""What a data set is on the disk: its layout, recipes, record, card and shards."""
