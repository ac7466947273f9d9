"""The pods of one node: ordinary processes in a network namespace of their own."""
