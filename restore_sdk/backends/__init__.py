"""What runs a network: one module for each runtime behind the Backend protocol."""
