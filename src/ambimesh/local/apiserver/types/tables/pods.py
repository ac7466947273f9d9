"""Fields of pods and of the kinds that make them."""

PODS = """
RestartPolicy = Always|OnFailure|Never
AtLeastOne    = integer 1..

Pod                                           # Processes that share a network namespace.
    spec    PodSpec always
    status  PodStatus always

PodSpec
    containers!                    [Container] 1.. by name always
    initContainers                 [Container] by name
    ephemeralContainers            [Container] by name
    volumes                        [Volume] by name retaining
    serviceAccountName             string
    serviceAccount                 string
    automountServiceAccountToken   boolean
    nodeName                       string  # The node that runs the pod.
    nodeSelector                   atomic {string}
    affinity                       any
    tolerations                    [Toleration]
    topologySpreadConstraints      [any] by topologyKey,whenUnsatisfiable
    schedulerName                  string = default-scheduler
    schedulingGates                [atomic LocalObjectReference] by name
    workloadRef                    any
    restartPolicy                  RestartPolicy = Always
    terminationGracePeriodSeconds  long 0.. = 30
    activeDeadlineSeconds          long 1..
    dnsPolicy                      ClusterFirst|ClusterFirstWithHostNet|Default|None = ClusterFirst
    dnsConfig                      PodDNSConfig
    hostname                       dns-label
    hostnameOverride               string
    subdomain                      dns-label
    setHostnameAsFQDN              boolean
    hostAliases                    [HostAlias] by ip
    hostNetwork                    boolean
    hostPID                        boolean
    hostIPC                        boolean
    hostUsers                      boolean
    shareProcessNamespace          boolean
    securityContext                PodSecurityContext = {}
    imagePullSecrets               [atomic LocalObjectReference] by name
    readinessGates                 [PodReadinessGate]
    enableServiceLinks             boolean = true
    priority                       integer
    priorityClassName              string
    preemptionPolicy               string
    runtimeClassName               string
    overhead                       {quantity}
    os                             LocalObjectReference
    resources                      ResourceRequirements
    resourceClaims                 [any] by name retaining

Container
    name!                     dns-label
    image                     string            # Not used on one machine: pods run programs of the host.
    imagePullPolicy           Always|IfNotPresent|Never
    command                   [string]          # The program and its first arguments.
    args                      [string]          # Further arguments.
    workingDir                string
    env                       [EnvVar] by name  # Environment of the program.
    envFrom                   [EnvFromSource]
    ports                     [ContainerPort] by containerPort,protocol merging containerPort  # Ports the program listens on, and their names.
    resources                 ResourceRequirements always
    resizePolicy              [any]
    restartPolicy             RestartPolicy
    restartPolicyRules        [any]
    volumeMounts              [VolumeMount] by mountPath
    volumeDevices             [any] by devicePath
    livenessProbe             Probe             # Whether the container is restarted.
    readinessProbe            Probe             # Whether the container gets traffic.
    startupProbe              Probe
    lifecycle                 Lifecycle
    terminationMessagePath    string = /dev/termination-log
    terminationMessagePolicy  File|FallbackToLogsOnError = File
    securityContext           SecurityContext
    stdin                     boolean
    stdinOnce                 boolean
    tty                       boolean
    targetContainerName       string

EnvVar
    name!      string
    value      string
    valueFrom  EnvVarSource

EnvVarSource
    fieldRef          atomic FieldSelector
    configMapKeyRef   atomic KeySelector
    secretKeyRef      atomic KeySelector
    resourceFieldRef  any
    fileKeyRef        any

FieldSelector
    apiVersion  string = v1
    fieldPath!  string

KeySelector
    name      string
    key!      string
    optional  boolean

EnvFromSource
    prefix        string
    configMapRef  EnvSource
    secretRef     EnvSource

EnvSource
    name      string
    optional  boolean

ContainerPort
    name            port-name
    containerPort!  integer 1..65535
    hostPort        integer 0..65535
    hostIP          string
    protocol        TCP|UDP|SCTP = TCP

ResourceRequirements
    limits    {quantity}
    requests  {quantity}
    claims    [any] by name

VolumeMount
    name!              string
    mountPath!         string
    subPath            string
    subPathExpr        string
    readOnly           boolean
    recursiveReadOnly  string
    mountPropagation   None|HostToContainer|Bidirectional

Probe                                         # How to find out whether a container lives or is ready.
    exec                           ExecAction
    httpGet                        HTTPGetAction
    tcpSocket                      TCPSocketAction
    grpc                           GRPCAction
    initialDelaySeconds            integer 0..
    timeoutSeconds                 AtLeastOne = 1
    periodSeconds                  AtLeastOne = 10
    successThreshold               AtLeastOne = 1
    failureThreshold               AtLeastOne = 3
    terminationGracePeriodSeconds  long 1..

ExecAction
    command  [string]

HTTPGetAction
    path         string = /
    port!        int-or-string 1..65535
    host         string
    scheme       HTTP|HTTPS = HTTP
    httpHeaders  [HTTPHeader]

HTTPHeader
    name!   string
    value!  string

TCPSocketAction
    port!  int-or-string 1..65535
    host   string

GRPCAction
    port!    integer 1..65535
    service  string = ""

Lifecycle
    postStart   LifecycleHandler
    preStop     LifecycleHandler
    stopSignal  string

LifecycleHandler
    exec       ExecAction
    httpGet    HTTPGetAction
    tcpSocket  TCPSocketAction
    sleep      SleepAction

SleepAction
    seconds!  long 0..

SecurityContext
    runAsUser                 long 0..
    runAsGroup                long 0..
    runAsNonRoot              boolean
    privileged                boolean
    allowPrivilegeEscalation  boolean
    readOnlyRootFilesystem    boolean
    capabilities              Capabilities
    procMount                 string
    seccompProfile            any
    appArmorProfile           any
    seLinuxOptions            any
    windowsOptions            any

Capabilities
    add   [string]
    drop  [string]

PodSecurityContext
    runAsUser                 long 0..
    runAsGroup                long 0..
    runAsNonRoot              boolean
    fsGroup                   long 0..
    fsGroupChangePolicy       string
    supplementalGroups        [long]
    supplementalGroupsPolicy  string
    sysctls                   [Sysctl]
    seccompProfile            any
    appArmorProfile           any
    seLinuxOptions            any
    seLinuxChangePolicy       string
    windowsOptions            any

Sysctl
    name!   string
    value!  string

Toleration
    key                string
    operator           string
    value              string
    effect             NoSchedule|PreferNoSchedule|NoExecute
    tolerationSeconds  long

PodDNSConfig
    nameservers  [string]
    searches     [string]
    options      [PodDNSConfigOption]

PodDNSConfigOption
    name   string
    value  string

HostAlias
    ip!        string
    hostnames  [string]

PodReadinessGate
    conditionType!  string

Volume
    name!                  dns-label
    configMap              ConfigMapVolumeSource
    secret                 SecretVolumeSource
    emptyDir               EmptyDirVolumeSource
    hostPath               HostPathVolumeSource
    projected              ProjectedVolumeSource
    downwardAPI            any
    persistentVolumeClaim  any
    csi                    any
    ephemeral              any
    image                  any
    nfs                    any
    iscsi                  any
    fc                     any
    rbd                    any
    cephfs                 any
    glusterfs              any
    gitRepo                any
    cinder                 any
    azureDisk              any
    azureFile              any
    awsElasticBlockStore   any
    gcePersistentDisk      any
    vsphereVolume          any
    portworxVolume         any
    photonPersistentDisk   any
    quobyte                any
    scaleIO                any
    storageos              any
    flexVolume             any
    flocker                any

ConfigMapVolumeSource
    name         string
    items        [KeyToPath]
    defaultMode  integer 0..511 = 420
    optional     boolean

SecretVolumeSource
    secretName   string
    items        [KeyToPath]
    defaultMode  integer 0..511 = 420
    optional     boolean

KeyToPath
    key!   string
    path!  string
    mode   integer 0..511

EmptyDirVolumeSource
    medium     string
    sizeLimit  quantity

HostPathVolumeSource
    path!  string
    type   string = ""

ProjectedVolumeSource
    sources      [VolumeProjection]
    defaultMode  integer 0..511 = 420

VolumeProjection
    serviceAccountToken  ServiceAccountTokenProjection
    configMap            any
    secret               any
    downwardAPI          any
    clusterTrustBundle   any
    podCertificate       any

ServiceAccountTokenProjection
    audience           string
    expirationSeconds  long 600.. = 3600
    path!              string

PodStatus
    observedGeneration          long
    phase                       Pending|Running|Succeeded|Failed|Unknown
    conditions                  [Condition] by type
    message                     string
    reason                      string
    nominatedNodeName           string
    hostIP                      string
    hostIPs                     [HostIP] merging ip
    podIP                       string
    podIPs                      [PodIP] by ip
    startTime                   time
    initContainerStatuses       [ContainerStatus]
    containerStatuses           [ContainerStatus]
    ephemeralContainerStatuses  [ContainerStatus]
    qosClass                    string
    resize                      string
    resources                   any
    resourceClaimStatuses       [any] by name retaining
    extendedResourceClaimStatus any
    allocatedResources          {quantity}

HostIP
    ip!  string

PodIP
    ip!  string

ContainerStatus
    name!                     string
    state                     ContainerState always
    lastState                 ContainerState always
    ready                     boolean = false
    restartCount              integer = 0
    image                     string = ""
    imageID                   string = ""
    containerID               string
    started                   boolean
    allocatedResources        {quantity}
    resources                 any
    volumeMounts              [any] by mountPath
    user                      any
    allocatedResourcesStatus  [any] by name
    stopSignal                string

ContainerState
    waiting     ContainerStateWaiting
    running     ContainerStateRunning
    terminated  ContainerStateTerminated

ContainerStateWaiting
    reason   string
    message  string

ContainerStateRunning
    startedAt  time

ContainerStateTerminated
    exitCode     integer
    signal       integer
    reason       string
    message      string
    startedAt    time
    finishedAt   time
    containerID  string

PodTemplateSpec
    metadata  ObjectMeta always
    spec      PodSpec always

Deployment                                    # Keeps a number of equal pods running.
    spec    DeploymentSpec always
    status  DeploymentStatus always

DeploymentSpec
    replicas                 integer 0.. = 1         # How many pods there should be.
    selector!                atomic LabelSelector    # Which pods are counted; must match the labels of the template.
    template!                PodTemplateSpec always  # What the pods are like.
    strategy                 DeploymentStrategy retaining always = {}
    minReadySeconds          integer 0..
    revisionHistoryLimit     integer 0.. = 10
    progressDeadlineSeconds  integer = 600
    paused                   boolean

DeploymentStrategy
    type           RollingUpdate|Recreate = RollingUpdate
    rollingUpdate  RollingUpdateDeployment

RollingUpdateDeployment
    maxUnavailable  int-or-string = 25%
    maxSurge        int-or-string = 25%

DeploymentStatus
    observedGeneration   long
    replicas             integer
    updatedReplicas      integer
    readyReplicas        integer
    availableReplicas    integer
    unavailableReplicas  integer
    terminatingReplicas  integer
    conditions           [Condition] by type
    collisionCount       integer

ReplicaSet
    spec    ReplicaSetSpec always
    status  ReplicaSetStatus always

ReplicaSetSpec
    replicas         integer 0.. = 1
    minReadySeconds  integer 0..
    selector!        atomic LabelSelector
    template         PodTemplateSpec always

ReplicaSetStatus
    replicas              integer
    fullyLabeledReplicas  integer
    readyReplicas         integer
    availableReplicas     integer
    terminatingReplicas   integer
    observedGeneration    long
    conditions            [Condition] by type
"""
