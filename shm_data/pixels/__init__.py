"""Pure functions on arrays: compositing, placement, trimaps, foreground colours, augmentations, compiled loops."""
