"""Fields of Istio's networking kinds. Source: its CRDs, version 1.31."""

ISTIO_NETWORKING = """
Count = long 0..4294967295

ServiceEntry                                  # A service that Kubernetes does not know.
    spec!   ServiceEntrySpec
    status  ServiceEntryStatus

ServiceEntrySpec
    hosts!            [string] 1..256
    addresses         [string ..64] ..256
    ports             [ServiceEntryPort] ..256 by name
    location          MESH_EXTERNAL|MESH_INTERNAL
    resolution        NONE|STATIC|DNS|DNS_ROUND_ROBIN|DYNAMIC_DNS
    endpoints         [WorkloadEntrySpec] ..4096
    workloadSelector  ServiceEntrySelector
    exportTo          Strings
    subjectAltNames   Strings

ServiceEntryPort
    number!     integer 1..65535
    protocol    string ..256
    name!       string ..256
    targetPort  integer 0..65535

ServiceEntrySelector
    labels  {string ..63} ..256

ServiceEntryStatus
    conditions          [IstioCondition]
    validationMessages  [ValidationMessage]
    observedGeneration  int-or-string
    addresses           [ServiceEntryAddress]

ServiceEntryAddress
    value  string
    host   string

WorkloadEntry                                 # A virtual machine, or any process outside Kubernetes.
    spec!   WorkloadEntrySpec
    status  IstioStatus

WorkloadEntrySpec
    address         string ..256
    ports           {integer 0..65535} ..128
    labels          {string} ..256
    network         string ..2048
    locality        string ..2048
    weight          Count
    serviceAccount  string ..253

VirtualService                                # How requests to hosts are routed.
    spec    VirtualServiceSpec
    status  IstioStatus

VirtualServiceSpec
    hosts     Strings
    gateways  Strings
    http      [HTTPRouting]
    tls       [TLSRouting]
    tcp       [TCPRouting]
    exportTo  Strings

HTTPRouting
    name              string
    match             [HTTPMatchRequest]
    route             [HTTPRouteDestination]
    redirect          HTTPRedirect
    directResponse    HTTPDirectResponse
    delegate          Delegate
    rewrite           HTTPRewrite
    timeout           duration
    retries           HTTPRetry
    fault             HTTPFaultInjection
    mirror            Destination
    mirrors           [HTTPMirrorPolicy]
    mirrorPercent     Count
    mirror_percent    Count
    mirrorPercentage  Percent
    corsPolicy        CorsPolicy
    headers           HeaderChanges

Destination
    host!   string
    subset  string
    port    PortSelector

PortSelector
    number  integer 0..65535

StringMatch
    exact   string
    prefix  string
    regex   string

HTTPMatchRequest
    name             string
    uri              StringMatch
    scheme           StringMatch
    method           StringMatch
    authority        StringMatch
    headers          {StringMatch}
    withoutHeaders   {StringMatch}
    queryParams      {StringMatch}
    port             integer 0..65535
    sourceLabels     {string}
    sourceNamespace  string
    gateways         Strings
    ignoreUriCase    boolean
    statPrefix       string

HTTPRouteDestination
    destination!  Destination
    weight        integer
    headers       HeaderChanges

HeaderChanges
    request   HeaderOperations
    response  HeaderOperations

HeaderOperations
    set     {string}
    add     {string}
    remove  Strings

HTTPRedirect
    uri           string
    authority     string
    port          integer 0..65535
    derivePort    FROM_PROTOCOL_DEFAULT|FROM_REQUEST_PORT
    scheme        string
    prefixRewrite string
    redirectCode  Count

HTTPDirectResponse
    status!  Count
    body     HTTPBody

HTTPBody
    string  string
    bytes   bytes

Delegate
    name       string
    namespace  string

HTTPRewrite
    uri              string
    authority        string
    uriRegexRewrite  RegexRewrite

RegexRewrite
    match    string
    rewrite  string

HTTPRetry
    attempts                  integer
    perTryTimeout             duration
    retryOn                   string
    retryRemoteLocalities     boolean
    retryIgnorePreviousHosts  boolean
    backoff                   duration

HTTPFaultInjection
    delay  FaultDelay
    abort  FaultAbort

FaultDelay
    percent           integer
    percentage        Percent
    fixedDelay        duration
    exponentialDelay  duration

FaultAbort
    httpStatus  integer
    grpcStatus  string
    http2Error  string
    percentage  Percent

Percent
    value  number

HTTPMirrorPolicy
    destination!  Destination
    percentage    Percent

CorsPolicy
    allowOrigin          Strings
    allowOrigins         [StringMatch]
    allowMethods         Strings
    allowHeaders         Strings
    exposeHeaders        Strings
    maxAge               duration
    allowCredentials     boolean
    unmatchedPreflights  UNSPECIFIED|FORWARD|IGNORE

TLSRouting
    match!  [TLSMatchAttributes]
    route   [L4RouteDestination]

TLSMatchAttributes
    sniHosts!           Strings
    destinationSubnets  Strings
    port                integer 0..65535
    sourceLabels        {string}
    gateways            Strings
    sourceNamespace     string

TCPRouting
    match  [L4MatchAttributes]
    route  [L4RouteDestination]

L4MatchAttributes
    destinationSubnets  Strings
    port                integer 0..65535
    sourceSubnet        string
    sourceLabels        {string}
    gateways            Strings
    sourceNamespace     string

L4RouteDestination
    destination!  Destination
    weight        integer

DestinationRule                               # What happens after routing: balancing, TLS, pools.
    spec    DestinationRuleSpec
    status  IstioStatus

DestinationRuleSpec
    host!             string
    trafficPolicy     TrafficPolicy
    subsets           [Subset]
    exportTo          Strings
    workloadSelector  WorkloadSelection

Subset
    name!          string
    labels         {string}
    trafficPolicy  TrafficPolicy

TrafficPolicy
    loadBalancer       LoadBalancerSettings
    connectionPool     ConnectionPoolSettings
    outlierDetection   OutlierDetection
    tls                ClientTLSSettings
    portLevelSettings  [PortTrafficPolicy] ..4096
    tunnel             TunnelSettings
    proxyProtocol      ProxyProtocol
    retryBudget        RetryBudget

PortTrafficPolicy
    port              PortSelector
    loadBalancer      LoadBalancerSettings
    connectionPool    ConnectionPoolSettings
    outlierDetection  OutlierDetection
    tls               ClientTLSSettings

LoadBalancerSettings
    simple              UNSPECIFIED|LEAST_CONN|RANDOM|PASSTHROUGH|ROUND_ROBIN|LEAST_REQUEST
    consistentHash      ConsistentHash
    localityLbSetting   LocalityLoadBalancer
    zoneAwareLbSetting  ZoneAwareLoadBalancer
    warmup              Warmup
    warmupDurationSecs  duration

ConsistentHash
    httpHeaderName          string
    httpCookie              HashCookie
    useSourceIp             boolean
    httpQueryParameterName  string
    ringHash                RingHash
    maglev                  Maglev
    minimumRingSize         long 0..

HashCookie
    name!       string
    path        string
    ttl         duration
    attributes  [HashCookieAttribute]

HashCookieAttribute
    name!  string
    value  string

RingHash
    minimumRingSize  long 0..

Maglev
    tableSize  long 0..

LocalityLoadBalancer
    enabled           boolean
    distribute        [LocalityDistribution]
    failover          [LocalityFailover]
    failoverPriority  Strings

LocalityDistribution
    from  string
    to    {Count}

LocalityFailover
    from  string
    to    string

ZoneAwareLoadBalancer
    enabled           boolean
    failover          [LocalityFailover]
    failoverPriority  Strings
    minClusterSize    long 1..4294967295

Warmup
    duration!       duration
    minimumPercent  number 0..100
    aggression      number 0..

ConnectionPoolSettings
    tcp   TCPPool
    http  HTTPPool

TCPPool
    maxConnections         integer
    connectTimeout         duration
    tcpKeepalive           TCPKeepalive
    maxConnectionDuration  duration
    idleTimeout            duration

TCPKeepalive
    probes    Count
    time      duration
    interval  duration

HTTPPool
    http1MaxPendingRequests   integer
    http2MaxRequests          integer
    maxRequestsPerConnection  integer
    maxRetries                integer
    idleTimeout               duration
    h2UpgradePolicy           DEFAULT|DO_NOT_UPGRADE|UPGRADE
    useClientProtocol         boolean
    maxConcurrentStreams      integer
    http2KeepAlive            HTTP2KeepAlive

HTTP2KeepAlive
    interval  duration
    timeout   duration

OutlierDetection
    consecutiveErrors               integer
    splitExternalLocalOriginErrors  boolean
    consecutiveLocalOriginFailures  Count
    consecutiveGatewayErrors        Count
    consecutive5xxErrors            Count
    outlierDetectionHttpErrorCodes  [integer 100..599]
    interval                        duration
    baseEjectionTime                duration
    maxEjectionPercent              integer
    minHealthPercent                integer

ClientTLSSettings
    mode                DISABLE|SIMPLE|MUTUAL|ISTIO_MUTUAL
    clientCertificate   string
    privateKey          string
    caCertificates      string
    caCrl               string
    credentialName      string
    subjectAltNames     Strings
    sni                 string
    insecureSkipVerify  boolean

TunnelSettings
    protocol     string
    targetHost!  string
    targetPort!  Count

ProxyProtocol
    version  V1|V2

RetryBudget
    percent              number 0..100
    minRetryConcurrency  Count
    budgetInterval       duration
"""
