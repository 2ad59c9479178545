"""The commands `shm-data` and `shm-model`: they parse, call the library once, and print."""
