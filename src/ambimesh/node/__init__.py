"""The node agent: capture, namespaces, rtnetlink, nftables, ZDS, proxy generations."""
