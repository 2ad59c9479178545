"""Makes training sets for human matting: composites, alphas, trimaps and splits."""

__version__ = "0.1.0"
