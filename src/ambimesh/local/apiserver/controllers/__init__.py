"""What follows from objects: slices of services, pods of deployments, places of pods."""
