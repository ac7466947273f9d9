"""Service addresses and cluster names for the pods of a node, captured or not."""
