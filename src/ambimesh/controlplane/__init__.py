"""The control plane process: wiring, leader election, status writing."""
