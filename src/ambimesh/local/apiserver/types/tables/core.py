"""Fields of the kinds of the core group but pods, and of small kinds of other groups."""

CORE = """
Protocol = TCP|UDP|SCTP

Namespace                                     # A scope for names and policies.
    spec    NamespaceSpec always
    status  NamespaceStatus always

NamespaceSpec
    finalizers  [string]

NamespaceStatus
    phase       Active|Terminating
    conditions  [Condition] by type

ConfigMap                                     # Configuration for pods to use.
    data        {string}
    binaryData  {bytes}
    immutable   boolean  # When true, data cannot be changed any more.

Secret                                        # As a ConfigMap, but for secrets; data is base64.
    type        string = Opaque
    data        {bytes}
    stringData  {string}  # Written into data, never shown.
    immutable   boolean

ServiceAccount                                # An identity for processes in pods.
    secrets                       [atomic ObjectReference] by name
    imagePullSecrets              [atomic LocalObjectReference]
    automountServiceAccountToken  boolean

Service                                       # A stable name and address for a set of pods.
    spec    ServiceSpec always
    status  ServiceStatus always

ServiceSpec
    type                           ClusterIP|NodePort|LoadBalancer|ExternalName = ClusterIP
    selector                       atomic {string}  # Labels of the pods that answer.
    ports                          [ServicePort] by port,protocol merging port
    clusterIP                      string           # Given by the server; None for a headless service.
    clusterIPs                     [string]
    ipFamilies                     [IPv4|IPv6]
    ipFamilyPolicy                 SingleStack|PreferDualStack|RequireDualStack
    externalIPs                    [string]
    externalName                   string
    externalTrafficPolicy          Cluster|Local
    internalTrafficPolicy          Cluster|Local
    trafficDistribution            string
    sessionAffinity                None|ClientIP = None
    sessionAffinityConfig          SessionAffinityConfig
    publishNotReadyAddresses       boolean
    healthCheckNodePort            integer 0..65535
    allocateLoadBalancerNodePorts  boolean
    loadBalancerClass              string
    loadBalancerIP                 string
    loadBalancerSourceRanges       [string]

ServicePort
    name         dns-label               # Needed when there are several.
    port!        integer 1..65535        # The port clients connect to.
    targetPort   int-or-string 1..65535  # The port of the pod, or its name; default is port.
    nodePort     integer 0..65535        # Not used on one machine.
    protocol     Protocol = TCP
    appProtocol  string                  # What is spoken on the port, such as http or grpc.

SessionAffinityConfig
    clientIP  ClientIPConfig

ClientIPConfig
    timeoutSeconds  integer 1..86400 = 10800

ServiceStatus
    loadBalancer  LoadBalancerStatus always
    conditions    [Condition] by type

LoadBalancerStatus
    ingress  [LoadBalancerIngress]

LoadBalancerIngress
    ip        string
    ipMode    string
    hostname  string
    ports     [PortStatus]

PortStatus
    port!      integer
    protocol!  Protocol
    error      string

EndpointSlice                                 # Some of the addresses that answer for a service.
    addressType!  IPv4|IPv6|FQDN
    endpoints     [Endpoint] always
    ports         [atomic EndpointPort] always

Endpoint
    addresses!          [string] 1..100 set
    conditions          EndpointConditions always
    hostname            dns-label
    targetRef           atomic ObjectReference
    deprecatedTopology  {string}
    nodeName            string
    zone                string
    hints               EndpointHints

EndpointConditions
    ready        boolean
    serving      boolean
    terminating  boolean

EndpointHints
    forZones  [ForTopology]
    forNodes  [ForTopology]

ForTopology
    name!  string

EndpointPort
    name         string = ""
    protocol     Protocol = TCP
    port         integer 1..65535
    appProtocol  string

Event                                         # Something that happened to an object.
    involvedObject!     atomic ObjectReference
    reason              string
    message             string
    source              EventSource always
    firstTimestamp      time
    lastTimestamp       time
    count               integer
    type                string
    eventTime           time
    series              EventSeries
    action              string
    related             atomic ObjectReference
    reportingComponent  string
    reportingInstance   string

EventSource
    component  string
    host       string

EventSeries
    count             integer
    lastObservedTime  time

Lease                                         # A lock that is held for a while; who leads, who lives.
    spec  LeaseSpec always

LeaseSpec
    holderIdentity        string
    leaseDurationSeconds  integer 1..
    acquireTime           time
    renewTime             time
    leaseTransitions      integer 0..
    strategy              string
    preferredHolder       string

Node                                          # A machine, or a part of one, that runs pods.
    spec    NodeSpec always
    status  NodeStatus always

NodeSpec
    podCIDR        string
    podCIDRs       [string] set
    providerID     string
    unschedulable  boolean
    taints         [Taint]
    externalID     string

Taint
    key!       string
    value      string
    effect!    NoSchedule|PreferNoSchedule|NoExecute
    timeAdded  time

NodeStatus
    capacity         {quantity}
    allocatable      {quantity}
    phase            string
    conditions       [Condition] by type
    addresses        [NodeAddress] by type
    daemonEndpoints  DaemonEndpoints always
    nodeInfo         NodeSystemInfo always
    images           [any]
    volumesInUse     [string]
    volumesAttached  [any]
    config           any
    runtimeHandlers  [any]
    features         any
    declaredFeatures [string]

NodeAddress
    type!     string
    address!  string

DaemonEndpoints
    kubeletEndpoint  DaemonEndpoint always

DaemonEndpoint
    Port  integer = 0

NodeSystemInfo
    machineID                string = ""
    systemUUID               string = ""
    bootID                   string = ""
    kernelVersion            string = ""
    osImage                  string = ""
    containerRuntimeVersion  string = ""
    kubeletVersion           string = ""
    kubeProxyVersion         string = ""
    operatingSystem          string = ""
    architecture             string = ""
    swap                     any

ReplicationController
    spec    any
    status  any

ResourceQuota
    spec    any
    status  any

LimitRange
    spec  any
"""
