"""What the project is compared with, written or called here so that both sides run on one machine in one process."""
