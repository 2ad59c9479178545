"""Pure functions on arrays. Pictures are (H, W, 3) RGB, alphas and trimaps (H, W), all uint8.

- `compositing`: blend, resize and crop a background; rounded once, exactly
- `trimap`: derive a trimap from alpha by a `TrimapRule`, read trimaps of any convention
- `foreground_colours`: estimate the colours of a foreground without its old background
- `placement`: put a person elsewhere in the frame, or one over another
- `augmentations`, `effects`: the registry of augmentations, and what they do to pixels
- `kernels`: compiled loops
"""
