"""Makes what was planned: reads the sources, renders the samples, writes them."""
