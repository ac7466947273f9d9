"""Fields of Istio's security, telemetry and extension kinds. Source: its CRDs, version 1.31."""

ISTIO_SECURITY = """
Strings = [string]

WorkloadSelection                             # Which pods, by their labels.
    matchLabels  {string ..63} ..4096

PolicyTargetReference                         # The gateway or service a policy attaches to.
    group      ApiGroup
    kind!      KindName
    name!      ObjectName
    namespace  string

IstioStatus
    conditions          [IstioCondition]
    validationMessages  [ValidationMessage]
    observedGeneration  int-or-string

IstioCondition
    type                string
    status              string
    lastProbeTime       time
    lastTransitionTime  time
    reason              string
    message             string
    observedGeneration  int-or-string

ValidationMessage
    type              ValidationMessageType
    level             UNKNOWN|ERROR|WARNING|INFO
    documentationUrl  string

ValidationMessageType
    name  string
    code  string

AuthorizationPolicy                           # Who may talk to what.
    spec    AuthorizationPolicySpec
    status  IstioStatus

AuthorizationPolicySpec
    selector    WorkloadSelection             # Which pods; none: all of the namespace, or of the mesh in the root namespace.
    targetRef   PolicyTargetReference
    targetRefs  [PolicyTargetReference] ..16  # Which services or gateways; enforced by the waypoint.
    rules       [AuthorizationRule] ..512     # Any of them matches; without rules, nothing does.
    action      ALLOW|DENY|AUDIT|CUSTOM       # What a match means; default is ALLOW.
    provider    ExtensionProvider

ExtensionProvider
    name  string

AuthorizationRule                             # All parts must match; in each, any of the items.
    from  [AuthorizationFrom] ..512
    to    [AuthorizationTo]
    when  [AuthorizationCondition]

AuthorizationFrom
    source  AuthorizationSource

AuthorizationSource
    principals            Strings              # Identities, such as cluster.local/ns/default/sa/web; * alone or at an end matches any.
    notPrincipals         Strings
    requestPrincipals     Strings              # Issuers and subjects of JSON web tokens.
    notRequestPrincipals  Strings
    namespaces            Strings              # Namespaces of the identities.
    notNamespaces         Strings
    serviceAccounts       [string ..320] ..16  # Names, or namespaces and names, such as default/web.
    notServiceAccounts    [string ..320] ..16
    trustDomains          Strings              # Trust domains of the identities.
    notTrustDomains       Strings
    ipBlocks              Strings              # Addresses or CIDR blocks that connections come from.
    notIpBlocks           Strings
    remoteIpBlocks        Strings              # The same, of the client behind proxies.
    notRemoteIpBlocks     Strings

AuthorizationTo
    operation  AuthorizationOperation

AuthorizationOperation
    hosts       Strings  # Host names of requests; needs a waypoint.
    notHosts    Strings
    ports       Strings  # Ports of the destination, as text.
    notPorts    Strings
    methods     Strings  # Methods of requests; needs a waypoint.
    notMethods  Strings
    paths       Strings  # Paths of requests; needs a waypoint.
    notPaths    Strings

AuthorizationCondition
    key!       string   # An attribute, such as source.ip or request.headers[x-user].
    values     Strings  # Any of these matches.
    notValues  Strings  # None of these may match.

PeerAuthentication                            # Whether workloads take connections without mutual TLS.
    spec    PeerAuthenticationSpec
    status  IstioStatus

PeerAuthenticationSpec
    selector       WorkloadSelection  # Which pods; none: all of the namespace, or of the mesh in the root namespace.
    mtls           MutualTLS
    portLevelMtls  {MutualTLS} 1..    # By port number, where one differs.

MutualTLS
    mode  UNSET|DISABLE|PERMISSIVE|STRICT  # STRICT refuses plaintext, PERMISSIVE takes both.

RequestAuthentication                         # Which JSON web tokens are believed.
    spec    RequestAuthenticationSpec
    status  IstioStatus

RequestAuthenticationSpec
    selector    WorkloadSelection
    targetRef   PolicyTargetReference
    targetRefs  [PolicyTargetReference] ..16
    jwtRules    [JwtRule] ..4096

JwtRule
    issuer                 string 1..
    audiences              [string 1..]
    jwksUri                string 1..2048
    jwks_uri               string 1..2048
    jwks                   string
    fromHeaders            [JwtHeader]
    fromParams             [string 1..]
    fromCookies            [string 1..]
    outputPayloadToHeader  string
    outputClaimToHeaders   [ClaimToHeader]
    spaceDelimitedClaims   [string 1..] ..64
    forwardOriginalToken   boolean
    timeout                duration

JwtHeader
    name!   string 1..
    prefix  string

ClaimToHeader
    header!  header-name 1..
    claim!   string 1..

Telemetry                                     # What is measured, logged and traced.
    spec    TelemetrySpec
    status  IstioStatus

TelemetrySpec
    selector       WorkloadSelection
    targetRef      PolicyTargetReference
    targetRefs     [PolicyTargetReference] ..16
    tracing        [TelemetryTracing]
    metrics        [TelemetryMetrics]
    accessLogging  [TelemetryAccessLogging]

TelemetryProvider
    name!  string 1..

TelemetryMatch
    mode  CLIENT_AND_SERVER|CLIENT|SERVER

TelemetryTracing
    match                         TelemetryMatch
    providers                     [TelemetryProvider]
    randomSamplingPercentage      number 0..100
    disableSpanReporting          boolean
    disableContextPropagation     boolean
    customTags                    {CustomTag}
    enableIstioTags               boolean
    useRequestIdForTraceSampling  boolean

CustomTag
    literal      TagText
    environment  TagSource
    header       TagSource
    formatter    TagText

TagText
    value!  string 1..

TagSource
    name!         string 1..
    defaultValue  string

TelemetryMetrics
    providers          [TelemetryProvider]
    overrides          [MetricOverride]
    reportingInterval  duration

MetricOverride
    match         MetricMatch
    disabled      boolean
    tagOverrides  {TagOverride}

MetricMatch
    metric        ALL_METRICS|REQUEST_COUNT|REQUEST_DURATION|REQUEST_SIZE|RESPONSE_SIZE|TCP_OPENED_CONNECTIONS|TCP_CLOSED_CONNECTIONS|TCP_SENT_BYTES|TCP_RECEIVED_BYTES|GRPC_REQUEST_MESSAGES|GRPC_RESPONSE_MESSAGES
    customMetric  string 1..
    mode          CLIENT_AND_SERVER|CLIENT|SERVER

TagOverride
    operation  UPSERT|REMOVE
    value      string

TelemetryAccessLogging
    match      TelemetryMatch
    providers  [TelemetryProvider]
    disabled   boolean
    filter     LogFilter

LogFilter
    expression  string

WasmPlugin                                    # A WebAssembly extension of proxies.
    spec!   WasmPluginSpec
    status  IstioStatus

WasmPluginSpec
    selector         WorkloadSelection
    targetRef        PolicyTargetReference
    targetRefs       [PolicyTargetReference] ..16
    url!             string 1..
    sha256           string
    imagePullPolicy  UNSPECIFIED_POLICY|IfNotPresent|Always
    imagePullSecret  string 1..253
    verificationKey  string
    pluginConfig     any
    pluginName       string 1..256
    phase            UNSPECIFIED_PHASE|AUTHN|AUTHZ|STATS
    priority         integer
    type             UNSPECIFIED_PLUGIN_TYPE|HTTP|NETWORK
    failStrategy     FAIL_CLOSE|FAIL_OPEN|FAIL_RELOAD
    vmConfig         WasmVmConfig
    match            [WasmTrafficSelector]

WasmVmConfig
    env  [WasmEnvVar] ..256 by name

WasmEnvVar
    name!      string 1..256
    valueFrom  INLINE|HOST
    value      string ..2048

WasmTrafficSelector
    mode   UNDEFINED|CLIENT|SERVER|CLIENT_AND_SERVER
    ports  [WasmPort] by number

WasmPort
    number!  integer 1..65535
"""
