"""Large images in tiles: integer geometry, the walk over it, and the receptive field that makes it exact."""
