"""Fields of the Gateway API's routes. Source: its CRDs, version 1.7, experimental channel."""

ROUTES = """
HeaderName  = header-name 1..256
HttpMethod  = GET|HEAD|POST|PUT|DELETE|CONNECT|OPTIONS|TRACE|PATCH
Match       = Exact|RegularExpression
Hostnames   = [hostname 1..253] ..16

ParentReference                               # The gateway or service a route attaches to.
    group        ApiGroup = gateway.networking.k8s.io
    kind         KindName = Gateway
    name!        ObjectName
    namespace    dns-label
    sectionName  Section
    port         integer 1..65535

RouteStatus
    parents!  [RouteParentStatus] ..32

RouteParentStatus
    parentRef!       ParentReference
    controllerName!  Controller
    conditions!      [Condition] 1..8 by type

BackendObjectReference
    group      ApiGroup = ""
    kind       KindName = Service
    name!      ObjectName
    namespace  dns-label
    port       integer 1..65535

BackendRef                                    # Where traffic goes, and which share of it.
    group      ApiGroup = ""
    kind       KindName = Service
    name!      ObjectName
    namespace  dns-label
    port       integer 1..65535
    weight     integer 0..1000000 = 1

HTTPRoute                                     # Where HTTP requests go.
    spec!   HTTPRouteSpec
    status  RouteStatus

HTTPRouteSpec
    parentRefs          [ParentReference] ..32
    hostnames           Hostnames
    rules               [HTTPRouteRule] 1..16 = [{"matches": [{"path": {"type": "PathPrefix", "value": "/"}}]}]
    useDefaultGateways  Toggle

HTTPRouteRule
    name                Section
    matches             [HTTPRouteMatch] ..64 = [{"path": {"type": "PathPrefix", "value": "/"}}]
    filters             [HTTPRouteFilter] ..16
    backendRefs         [HTTPBackendRef] ..16
    timeouts            HTTPRouteTimeouts
    retry               HTTPRouteRetry
    sessionPersistence  SessionPersistence

HTTPRouteMatch                                # All parts must match.
    path         HTTPPathMatch = {"type": "PathPrefix", "value": "/"}
    headers      [HTTPHeaderMatch] ..16 by name
    queryParams  [HTTPQueryParamMatch] ..16 by name
    method       HttpMethod

HTTPPathMatch
    type   Exact|PathPrefix|RegularExpression = PathPrefix
    value  string ..1024 = /

HTTPHeaderMatch
    type    Match = Exact
    name!   HeaderName
    value!  string 1..4096

HTTPQueryParamMatch
    type    Match = Exact
    name!   HeaderName
    value!  string 1..1024

HTTPBackendRef
    group      ApiGroup = ""
    kind       KindName = Service
    name!      ObjectName
    namespace  dns-label
    port       integer 1..65535
    weight     integer 0..1000000 = 1
    filters    [HTTPRouteFilter] ..16

HTTPRouteFilter
    type!                   RequestHeaderModifier|ResponseHeaderModifier|RequestMirror|RequestRedirect|URLRewrite|ExtensionRef|CORS|ExternalAuth
    requestHeaderModifier   HeaderModifier
    responseHeaderModifier  HeaderModifier
    requestMirror           RequestMirror
    requestRedirect         RequestRedirect
    urlRewrite              URLRewrite
    cors                    Cors
    externalAuth            ExternalAuth
    extensionRef            LocalReference

HeaderModifier
    set     [HeaderValue] ..16 by name
    add     [HeaderValue] ..16 by name
    remove  [string] ..16 set

HeaderValue
    name!   HeaderName
    value!  string 1..4096

RequestMirror
    backendRef!  BackendObjectReference
    percent      integer 0..100
    fraction     Fraction

Fraction
    numerator!   integer 0..
    denominator  integer 1.. = 100

RequestRedirect
    scheme      http|https
    hostname    dns-name 1..253
    path        PathModifier
    port        integer 1..65535
    statusCode  integer 300..399 = 302

URLRewrite
    hostname  dns-name 1..253
    path      PathModifier

PathModifier
    type!               ReplaceFullPath|ReplacePrefixMatch
    replaceFullPath     string ..1024
    replacePrefixMatch  string ..1024

Cors
    allowOrigins      [string 1..253] ..64 set
    allowMethods      [GET|HEAD|POST|PUT|DELETE|CONNECT|OPTIONS|TRACE|PATCH|*] ..9 set
    allowHeaders      [HeaderName] ..64 set
    exposeHeaders     [HeaderName] ..64 set
    allowCredentials  boolean
    maxAge            integer 1.. = 5

ExternalAuth
    protocol!    HTTP|GRPC
    backendRef!  BackendObjectReference
    grpc         ExternalAuthGRPC
    http         ExternalAuthHTTP
    forwardBody  ExternalAuthBody

ExternalAuthGRPC
    allowedHeaders  [string] ..64 set

ExternalAuthHTTP
    path                    string ..1024
    allowedHeaders          [string] ..64 set
    allowedResponseHeaders  [string] ..64 set

ExternalAuthBody
    maxSize  integer 0..

HTTPRouteTimeouts
    request         gateway-duration
    backendRequest  gateway-duration

HTTPRouteRetry
    codes     [integer 400..599] set
    attempts  integer 0.. = 1
    backoff   gateway-duration

SessionPersistence
    type             Cookie|Header = Cookie
    cookie           SessionCookie
    header           SessionHeader
    absoluteTimeout  gateway-duration

SessionCookie
    name          HeaderName
    path          string ..1024 = /
    lifetimeType  Permanent|Session = Session

SessionHeader
    name!  HeaderName

GRPCRoute                                     # Where gRPC calls go.
    spec!   GRPCRouteSpec
    status  RouteStatus

GRPCRouteSpec
    parentRefs          [ParentReference] ..32
    hostnames           Hostnames
    rules               [GRPCRouteRule] ..16
    useDefaultGateways  Toggle

GRPCRouteRule
    name                Section
    matches             [GRPCRouteMatch] ..64
    filters             [GRPCRouteFilter] ..16
    backendRefs         [GRPCBackendRef] ..16
    sessionPersistence  SessionPersistence

GRPCRouteMatch
    method   GRPCMethodMatch
    headers  [GRPCHeaderMatch] ..16 by name

GRPCMethodMatch
    type     Match = Exact
    service  string ..1024
    method   string ..1024

GRPCHeaderMatch
    type    Match = Exact
    name!   HeaderName
    value!  string 1..4096

GRPCBackendRef
    group      ApiGroup = ""
    kind       KindName = Service
    name!      ObjectName
    namespace  dns-label
    port       integer 1..65535
    weight     integer 0..1000000 = 1
    filters    [GRPCRouteFilter] ..16

GRPCRouteFilter
    type!                   ResponseHeaderModifier|RequestHeaderModifier|RequestMirror|ExtensionRef
    requestHeaderModifier   HeaderModifier
    responseHeaderModifier  HeaderModifier
    requestMirror           RequestMirror
    extensionRef            LocalReference

TCPRoute                                      # Where TCP connections go.
    spec!   TCPRouteSpec
    status  RouteStatus

TCPRouteSpec
    parentRefs          [ParentReference] ..32
    rules!              [ForwardingRule] 1..16
    useDefaultGateways  Toggle

ForwardingRule
    name          Section
    backendRefs!  [BackendRef] 1..16

TLSRoute                                      # Where TLS connections go, by the name they ask for.
    spec!   TLSRouteSpec
    status  RouteStatus

TLSRouteSpec
    parentRefs          [ParentReference] ..32
    hostnames           [hostname 1..253] ..1024
    rules!              [ForwardingRule] 1..16
    useDefaultGateways  Toggle
"""
