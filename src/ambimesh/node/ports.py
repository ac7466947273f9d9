"""Ports, marks and addresses that the node agent and the node proxy agree on.

Source: node-proxy specification §1 and §2.1.
"""

OUTBOUND_PORT = 15001
INBOUND_PLAINTEXT_PORT = 15006
INBOUND_HBONE_PORT = 15008

PROXY_MARK = 0x539  # on every socket of the node proxy, so that its packets are not captured
RETURN_MARK = 0x111  # on flows that the proxy opened to the application
MARK_MASK = 0xFFF
RETURN_TABLE = 100  # routes that bring the application's replies back to the proxy
RETURN_RULE_PRIORITY = 32764

TABLE = "ambimesh"
