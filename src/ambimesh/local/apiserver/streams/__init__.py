"""Streams into pods: exec, attach, port-forward, logs; each goes to the door of the pod's node."""
