"""The array that everything is made of."""

import numpy as np
from numpy.typing import NDArray

# Pictures, alphas and trimaps: (H, W, 3) or (H, W) uint8.
Array = NDArray[np.uint8]
