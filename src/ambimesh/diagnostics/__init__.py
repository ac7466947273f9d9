"""The catalogue of diagnostic codes, and errors that carry them."""
