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
API_UNREACHABLE = Diagnostic(
    code="AMB0361",
    severity=Severity.ERROR,
    text="the API server {server} does not answer",
    hint="run `ambi status`: it says whether the mesh runs; on Kubernetes, `kubectl cluster-info`",
)
API_FORBIDDEN = Diagnostic(
    code="AMB0362",
    severity=Severity.ERROR,
    text="these credentials may not {verb} {subject}",
    hint="run `kubectl auth whoami` with the same kubeconfig, and see which role the account needs",
)
API_OBJECT_NOT_FOUND = Diagnostic(
    code="AMB0363",
    severity=Severity.ERROR,
    text="{subject} does not exist",
    hint="run `ambi get all -A`: it lists what there is",
)
API_OBJECT_EXISTS = Diagnostic(
    code="AMB0364",
    severity=Severity.ERROR,
    text="{subject} exists already",
    hint="change it with `ambi apply`, or delete it first",
)
API_OBJECT_CONFLICT = Diagnostic(
    code="AMB0365",
    severity=Severity.ERROR,
    text="{subject} was changed by somebody else meanwhile",
    hint="read it again and repeat the change; `kubectl get -o yaml --show-managed-fields` shows by whom",
)
API_REQUEST_REJECTED = Diagnostic(
    code="AMB0366",
    severity=Severity.ERROR,
    text="the API server refuses to {verb} {subject}",
    hint="correct the field that the cause names",
)
API_SERVER_FAULT = Diagnostic(
    code="AMB0367",
    severity=Severity.ERROR,
    text="the API server could not {verb} {subject}",
    hint="try again; its log says more: `ambi logs apiserver`",
)
KUBECONFIG_UNUSABLE = Diagnostic(
    code="AMB0368",
    severity=Severity.ERROR,
    text="the kubeconfig {path} cannot be used",
    hint="name another with --kubeconfig or KUBECONFIG; `ambi kubeconfig` prints that of this mesh",
)
API_VERSION_EXPIRED = Diagnostic(
    code="AMB0369",
    severity=Severity.WARNING,
    text="the API server no longer has the version of {subject} that was asked for",
    hint="list again; programs of the mesh do so by themselves",
)
