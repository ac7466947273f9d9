"""Every diagnostic the mesh can give, by code. One row each; codes are never reused.

AMB01xx machine and installation, AMB02xx input, AMB03xx API, AMB04xx pods and nodes,
AMB05xx capture and node proxy, AMB06xx policy, AMB07xx control plane and certificates.
"""

from ambimesh.diagnostics.problem import Diagnostic, Severity

NFT_MISSING = Diagnostic(
    code="AMB0101",
    severity=Severity.ERROR,
    text="the program nft is not installed; pods cannot be captured and services have no address",
    hint="install it, for example with: apt-get install nftables",
)
USER_NAMESPACES_CLOSED = Diagnostic(
    code="AMB0102",
    severity=Severity.ERROR,
    text="user {user} may not create user namespaces, which a mesh without root lives in",
    hint="run as root, or open them: sysctl -w user.max_user_namespaces=65536 "
    "kernel.apparmor_restrict_unprivileged_userns=0",
)
