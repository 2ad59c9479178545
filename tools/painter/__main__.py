"""`python -m tools.painter FOLDER` paints the assets of the embedded example into FOLDER."""

import sys
from pathlib import Path

from tools.painter import repaint

repaint(Path(sys.argv[1]))
