"""Self-supervised denoisers: R2R, SURE and Neighbor2Neighbor."""
