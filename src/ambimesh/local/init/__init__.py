"""Init: the first process of a set of namespaces, its protocol and its asyncio client.

An init reaps, and does what its clients ask over a unix SOCK_SEQPACKET socket: start a process
(in its own namespaces or in a *sandbox*, the network namespace of a pod), signal it, report its
exit until somebody acknowledged it, make and end sandboxes, and keep file descriptors for a
client that may die. It decides nothing: order, restart and backoff belong to the clients.

``protocol`` is pure, ``client`` is what everybody else uses, ``carrier`` makes the namespaces
and starts the program, ``program`` is the loop inside. The program is single-threaded (it forks,
and it changes its own namespace for a moment) and imports only the standard library.
"""
