"""Trains T-Net, M-Net and their fusion on the data sets of `shm_data`."""
