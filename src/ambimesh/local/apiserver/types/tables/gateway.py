"""Fields of the Gateway API. Source: its CRDs, version 1.7, experimental channel."""

GATEWAY = """
ApiGroup    = api-group ..253
KindName    = kind-name 1..63
ObjectName  = string 1..253
Section     = dns-name 1..253
Controller  = controller-name 1..253
Toggle      = All|None

GatewayClass                                  # Gateways that one controller takes care of.
    spec!   GatewayClassSpec
    status  GatewayClassStatus = {"conditions": [{"type": "Accepted", "status": "Unknown", "reason": "Pending", "message": "Waiting for controller", "lastTransitionTime": "1970-01-01T00:00:00Z"}]}

GatewayClassSpec
    controllerName!  Controller
    description      string ..64
    parametersRef    NamespacedReference

GatewayClassStatus
    conditions         [Condition] ..8 by type
    supportedFeatures  [SupportedFeature] ..64 by name

SupportedFeature
    name!  string

NamespacedReference                           # Another object, in any namespace.
    group!     ApiGroup
    kind!      KindName
    name!      ObjectName
    namespace  dns-label

LocalReference                                # Another object of the same namespace.
    group!  ApiGroup
    kind!   KindName
    name!   ObjectName

SecretObjectReference
    group      ApiGroup = ""
    kind       KindName = Secret
    name!      ObjectName
    namespace  dns-label

Gateway                                       # Where traffic enters, or, with the class of a waypoint, a waypoint.
    spec!   GatewaySpec
    status  GatewayStatus = {"conditions": [{"type": "Accepted", "status": "Unknown", "reason": "Pending", "message": "Waiting for controller", "lastTransitionTime": "1970-01-01T00:00:00Z"}, {"type": "Programmed", "status": "Unknown", "reason": "Pending", "message": "Waiting for controller", "lastTransitionTime": "1970-01-01T00:00:00Z"}]}

GatewaySpec
    gatewayClassName!  ObjectName
    listeners!         [Listener] 1..64 by name
    addresses          [GatewayAddress] ..16
    infrastructure     GatewayInfrastructure
    allowedListeners   AllowedListeners
    defaultScope       Toggle
    tls                GatewayTLS

GatewayAddress
    type         string 1..253 = IPAddress
    value        string ..253
    routability  string ..253

GatewayInfrastructure
    labels         {string ..63} ..8
    annotations    {string ..4096} ..16
    parametersRef  LocalReference

AllowedListeners
    namespaces  ListenerNamespaces = {"from": "None"}

ListenerNamespaces
    from      All|Selector|Same|None = None
    selector  atomic LabelSelector

Listener                                      # One port and protocol of a gateway.
    name!          Section
    hostname       hostname 1..253
    port!          integer 1..65535
    protocol!      string 1..255  # HTTP, HTTPS, TLS, TCP, UDP or HBONE, or a domain and a name.
    tls            ListenerTLS
    allowedRoutes  AllowedRoutes = {"namespaces": {"from": "Same"}}
    filters        ListenerFilters

ListenerTLS
    mode             Terminate|Passthrough = Terminate
    certificateRefs  [SecretObjectReference] ..64
    options          {string ..4096} ..16

ListenerFilters
    requests  [RequestFilter] ..16

RequestFilter
    type!         ExternalAuth|ExtensionRef
    externalAuth  ExternalAuth
    extensionRef  LocalReference

AllowedRoutes
    namespaces  RouteNamespaces = {"from": "Same"}
    kinds       [RouteGroupKind] ..8

RouteNamespaces
    from      All|Selector|Same = Same
    selector  atomic LabelSelector

RouteGroupKind
    group  ApiGroup = gateway.networking.k8s.io
    kind!  KindName

GatewayTLS
    backend   GatewayBackendTLS
    frontend  GatewayFrontendTLS

GatewayBackendTLS
    clientCertificateRef  SecretObjectReference

GatewayFrontendTLS
    default!  FrontendTLS
    perPort   [FrontendPortTLS] ..64 by port

FrontendTLS
    validation  FrontendValidation

FrontendValidation
    caCertificateRefs!  [NamespacedReference] 1..16
    mode                AllowValidOnly|AllowInsecureFallback = AllowValidOnly

FrontendPortTLS
    port!  integer 1..65535
    tls!   FrontendTLS

GatewayStatus
    addresses             [GatewayStatusAddress] ..16
    conditions            [Condition] ..8 by type
    listeners             [ListenerStatus] ..64 by name
    attachedListenerSets  integer

GatewayStatusAddress
    type         string 1..253 = IPAddress
    value!       string 1..253
    routability  string ..253

ListenerStatus
    name!            Section
    attachedRoutes!  integer
    conditions!      [Condition] ..8 by type
    supportedKinds   [RouteGroupKind] ..8

ReferenceGrant                                # Lets objects of other namespaces refer to some of this one.
    spec!  ReferenceGrantSpec

ReferenceGrantSpec
    from!  [ReferenceGrantFrom] 1..16
    to!    [ReferenceGrantTo] 1..16

ReferenceGrantFrom
    group!      ApiGroup
    kind!       KindName
    namespace!  dns-label

ReferenceGrantTo
    group!  ApiGroup
    kind!   KindName
    name    ObjectName
"""
