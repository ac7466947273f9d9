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
NAMESPACES_REFUSED = Diagnostic(
    code="AMB0103",
    severity=Severity.ERROR,
    text="this machine refuses the {step} that a node lives in",
    hint="run as root outside a container, or give the container the rights: "
    "docker run --privileged",
)
HOME_NOT_WRITABLE = Diagnostic(
    code="AMB0104",
    severity=Severity.ERROR,
    text="the home directory {home} cannot be written",
    hint="choose another with --home, or give yourself the right to: ls -ld {home}",
)
PORT_IN_USE = Diagnostic(
    code="AMB0105",
    severity=Severity.ERROR,
    text="port {port} of 127.0.0.1, where the API is to listen, is in use",
    hint="choose another with --api-port (0 takes any that is free); "
    "see who has it with: ss -tlnp sport = :{port}",
)
DISK_FULL = Diagnostic(
    code="AMB0106",
    severity=Severity.ERROR,
    text="there is no space left for the home directory {home}",
    hint="make room, or choose a home on another disk with --home; look with: df -h {home}",
)
API_HOME_UNUSABLE = Diagnostic(
    code="AMB0301",
    severity=Severity.ERROR,
    text="the embedded API cannot use its files in {home}",
    hint="see that no other mesh uses this directory (`ambi status`), that it is yours, and that "
    "the disk has room: df -h {home}",
)
API_ADDRESS_UNUSABLE = Diagnostic(
    code="AMB0302",
    severity=Severity.ERROR,
    text="the embedded API cannot listen on {address}",
    hint="choose another with --listen, or see who has it: ss -ltnp",
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
MANIFEST_UNPARSABLE = Diagnostic(
    code="AMB0201",
    severity=Severity.ERROR,
    text="{source} is neither YAML nor JSON; nothing of it was applied",
    hint="mend the place named above; a YAML file is indented with spaces, not tabs",
)
MANIFEST_NO_OBJECT = Diagnostic(
    code="AMB0202",
    severity=Severity.ERROR,
    text="document {number} of {source} is not an object of the API; nothing of it was applied",
    hint="every document needs apiVersion, kind and metadata.name; `ambi get` lists examples",
)
FILE_UNREADABLE = Diagnostic(
    code="AMB0203",
    severity=Severity.ERROR,
    text="file {path} cannot be read",
    hint="check the name and the rights: ls -l {path}",
)
MANIFEST_KIND_UNKNOWN = Diagnostic(
    code="AMB0204",
    severity=Severity.ERROR,
    text="{source} has an object of kind {kind} in {version}, which this mesh does not have",
    hint="list the kinds there are: kubectl api-resources",
)
KIND_UNKNOWN = Diagnostic(
    code="AMB0205",
    severity=Severity.ERROR,
    text="there is no kind {kind}",
    hint="name a kind by its plural, singular or short name, for example: ambi get pods",
)
LABEL_MALFORMED = Diagnostic(
    code="AMB0206",
    severity=Severity.ERROR,
    text="{argument} is neither key=value nor key-",
    hint="set with key=value, take away with key-, for example: "
    "ambi label namespace demo istio.io/dataplane-mode=ambient",
)
OBJECT_NAME_MISSING = Diagnostic(
    code="AMB0207",
    severity=Severity.ERROR,
    text="no object is named",
    hint="give a kind and a name, or files with -f, for example: ambi delete pod web -n demo",
)
NO_MESH = Diagnostic(
    code="AMB0401",
    severity=Severity.ERROR,
    text="no mesh runs on this machine",
    hint="start one with: ambi up --detach",
)
MESH_RUNS_ALREADY = Diagnostic(
    code="AMB0402",
    severity=Severity.ERROR,
    text="a mesh runs already in {home}",
    hint="look at it with `ambi status`, end it with `ambi down`, or choose another --home",
)
COMPONENT_NOT_READY = Diagnostic(
    code="AMB0403",
    severity=Severity.ERROR,
    text="{component} of the mesh {outcome}; the mesh was not started",
    hint="read its log: {log}",
)
NETWORKS_NOT_MADE = Diagnostic(
    code="AMB0404",
    severity=Severity.ERROR,
    text="the networks of the nodes could not be made",
    hint="read the log: {log}",
)
MESH_ENDED = Diagnostic(
    code="AMB0405",
    severity=Severity.ERROR,
    text="the first process of {place} ended, and with it everything in it; the mesh was stopped",
    hint="start again with `ambi up`; read the log: {log}",
)
MESH_NOT_STARTED = Diagnostic(
    code="AMB0406",
    severity=Severity.ERROR,
    text="the mesh was not ready within {seconds} seconds; it was stopped",
    hint="read the log, or wait longer with --timeout: {log}",
)
MESH_NOT_STOPPED = Diagnostic(
    code="AMB0407",
    severity=Severity.ERROR,
    text="process {pid} of the mesh in {home} cannot be ended",
    hint="run `ambi down` as the user who started the mesh: ps -fp {pid}",
)
LISTEN_ADDRESS_INVALID = Diagnostic(
    code="AMB0701",
    severity=Severity.ERROR,
    text="{text} is no address to listen on",
    hint="write ADDRESS:PORT, an IPv6 address in brackets: 127.0.0.1:15012 or [::1]:15012",
)
SETTING_INVALID = Diagnostic(
    code="AMB0702",
    severity=Severity.ERROR,
    text="the environment variable {setting} has a value that cannot be used",
    hint="correct it or leave it unset for its default",
)
LISTEN_FAILED = Diagnostic(
    code="AMB0703",
    severity=Severity.ERROR,
    text="the control plane cannot listen on {address}",
    hint="see who has the port: ss -ltnp; or choose another with --listen or --monitor",
)
COMMAND_NOT_FOUND = Diagnostic(
    code="AMB0208",
    severity=Severity.ERROR,
    text="there is no program {command}; no pod was made",
    hint="give its path, or install it: a pod runs a program of this machine",
)
PORTS_MALFORMED = Diagnostic(
    code="AMB0209",
    severity=Severity.ERROR,
    text="{argument} names no ports",
    hint="give LOCAL:REMOTE, for example: ambi port-forward -n demo web 18080:8080",
)
LOCAL_PORT_TAKEN = Diagnostic(
    code="AMB0210",
    severity=Severity.ERROR,
    text="port {port} of 127.0.0.1 cannot be opened",
    hint="choose another one, for example: ambi port-forward POD 0:8080 lets the system choose",
)
MANIFEST_REFUSED = Diagnostic(
    code="AMB0211",
    severity=Severity.ERROR,
    text="{source}: the API server refuses {subject}; nothing of what was given was applied",
    hint="correct the field that the cause names",
)
POD_NOT_READY = Diagnostic(
    code="AMB0421",
    severity=Severity.ERROR,
    text="pod {pod} is not ready after {seconds} s; it stays, so that you can look",
    hint="see what it says: ambi logs -n {namespace} {name}; "
    "take it away: ambi delete pod -n {namespace} {name}",
)
POD_NOT_PLACED = Diagnostic(
    code="AMB0422",
    severity=Severity.ERROR,
    text="pod {pod} is on no node yet",
    hint="see whether nodes are ready: ambi get nodes",
)
DOOR_CLOSED = Diagnostic(
    code="AMB0423",
    severity=Severity.ERROR,
    text="pod {pod} cannot be entered through the door of {node}",
    hint="see whether the pod and the agent of its node run: ambi status; ambi get pods -A",
)
EXEC_NOT_STARTED = Diagnostic(
    code="AMB0424",
    severity=Severity.ERROR,
    text="the command cannot be started in pod {pod}",
    hint="give the path of a program of this machine after --, for example: "
    "ambi exec POD -- /bin/ls",
)
