"""Field numbers of the messages that kubectl sends in protobuf.

Source: the generated.proto files of k8s.io/api and k8s.io/apimachinery 1.35.
"""

import re
from collections.abc import Mapping
from typing import NamedTuple

# A line is a number, a name and a type. "?" marks a pointer, of which zero is a value; of all
# other fields zero is as good as absent, because Go writes them always. "[x]" is repeated, "{x}"
# a map, and "inline X" has its fields in the object around it.
_TABLE = """
ObjectMeta
    1   name                        string
    2   generateName                string
    3   namespace                   string
    4   selfLink                    string
    5   uid                         string
    6   resourceVersion             string
    7   generation                  integer
    8   creationTimestamp           time
    9   deletionTimestamp           time
    10  deletionGracePeriodSeconds  integer?
    11  labels                      {string}
    12  annotations                 {string}
    13  ownerReferences             [OwnerReference]
    14  finalizers                  [string]

OwnerReference
    1  kind                string
    3  name                string
    4  uid                 string
    5  apiVersion          string
    6  controller          boolean?
    7  blockOwnerDeletion  boolean?

Namespace
    2  spec    NamespaceSpec
    3  status  NamespaceStatus
NamespaceSpec
    1  finalizers  [string]
NamespaceStatus
    1  phase  string

ConfigMap
    2  data        {string}
    3  binaryData  {bytes}
    4  immutable   boolean?

Secret
    2  data        {bytes}
    3  type        string
    4  stringData  {string}
    5  immutable   boolean?

ServiceAccount
    2  secrets                       [ObjectReference]
    3  imagePullSecrets              [LocalObjectReference]
    4  automountServiceAccountToken  boolean?
ObjectReference
    1  kind             string
    2  namespace        string
    3  name             string
    4  uid              string
    5  apiVersion       string
    6  resourceVersion  string
    7  fieldPath        string
LocalObjectReference
    1  name  string

Service
    2  spec    ServiceSpec
    3  status  ServiceStatus
ServiceSpec
    1   ports                          [ServicePort]
    2   selector                       {string}
    3   clusterIP                      string
    4   type                           string
    5   externalIPs                    [string]
    7   sessionAffinity                string
    8   loadBalancerIP                 string
    9   loadBalancerSourceRanges       [string]
    10  externalName                   string
    11  externalTrafficPolicy          string
    12  healthCheckNodePort            integer
    13  publishNotReadyAddresses       boolean
    17  ipFamilyPolicy                 string
    18  clusterIPs                     [string]
    19  ipFamilies                     [string]
    20  allocateLoadBalancerNodePorts  boolean?
    21  loadBalancerClass              string
    22  internalTrafficPolicy          string
    23  trafficDistribution            string
ServicePort
    1  name         string
    2  protocol     string
    3  port         integer
    4  targetPort   int-or-string
    5  nodePort     integer
    6  appProtocol  string
ServiceStatus
    1  loadBalancer  LoadBalancerStatus
LoadBalancerStatus

Deployment
    2  spec    DeploymentSpec
    3  status  DeploymentStatus
DeploymentSpec
    1  replicas                 integer?
    2  selector                 LabelSelector?
    3  template                 PodTemplateSpec
    4  strategy                 DeploymentStrategy
    5  minReadySeconds          integer
    6  revisionHistoryLimit     integer?
    7  paused                   boolean
    9  progressDeadlineSeconds  integer?
DeploymentStrategy
    1  type           string
    2  rollingUpdate  RollingUpdate?
RollingUpdate
    1  maxUnavailable  int-or-string?
    2  maxSurge        int-or-string?
DeploymentStatus
    1  observedGeneration   integer
    2  replicas             integer
    3  updatedReplicas      integer
    4  availableReplicas    integer
    5  unavailableReplicas  integer
    7  readyReplicas        integer
LabelSelector
    1  matchLabels       {string}
    2  matchExpressions  [LabelSelectorRequirement]
LabelSelectorRequirement
    1  key       string
    2  operator  string
    3  values    [string]

PodTemplateSpec
    1  metadata  ObjectMeta
    2  spec      PodSpec
PodSpec
    2   containers                     [Container]
    3   restartPolicy                  string
    4   terminationGracePeriodSeconds  integer?
    5   activeDeadlineSeconds          integer?
    6   dnsPolicy                      string
    7   nodeSelector                   {string}
    8   serviceAccountName             string
    9   serviceAccount                 string
    10  nodeName                       string
    11  hostNetwork                    boolean
    12  hostPID                        boolean
    13  hostIPC                        boolean
    14  securityContext                Empty?
    15  imagePullSecrets               [LocalObjectReference]
    16  hostname                       string
    17  subdomain                      string
    19  schedulerName                  string
    20  initContainers                 [Container]
    21  automountServiceAccountToken   boolean?
    24  priorityClassName              string
    25  priority                       integer?
    27  shareProcessNamespace          boolean?
    30  enableServiceLinks             boolean?
    31  preemptionPolicy               string
Empty
Container
    1   name                      string
    2   image                     string
    3   command                   [string]
    4   args                      [string]
    5   workingDir                string
    6   ports                     [ContainerPort]
    7   env                       [EnvVar]
    8   resources                 ResourceRequirements
    9   volumeMounts              [VolumeMount]
    13  terminationMessagePath    string
    14  imagePullPolicy           string
    16  stdin                     boolean
    17  stdinOnce                 boolean
    18  tty                       boolean
    19  envFrom                   [EnvFromSource]
    20  terminationMessagePolicy  string
    24  restartPolicy             string
ContainerPort
    1  name           string
    2  hostPort       integer
    3  containerPort  integer
    4  protocol       string
    5  hostIP         string
EnvVar
    1  name   string
    2  value  string
EnvFromSource
    1  prefix        string
    2  configMapRef  EnvSource?
    3  secretRef     EnvSource?
EnvSource
    1  name      inline LocalObjectReference
    2  optional  boolean?
ResourceRequirements
    1  limits    {quantity}
    2  requests  {quantity}
VolumeMount
    1  name              string
    2  readOnly          boolean
    3  mountPath         string
    4  subPath           string
    5  mountPropagation  string
    6  subPathExpr       string

TokenRequest
    2  spec    TokenRequestSpec
    3  status  TokenRequestStatus
TokenRequestSpec
    1  audiences          [string]
    3  boundObjectRef     BoundObjectReference?
    4  expirationSeconds  integer?
BoundObjectReference
    1  kind        string
    2  apiVersion  string
    3  name        string
    4  uid         string
TokenRequestStatus
    1  token                string
    2  expirationTimestamp  time

TokenReview
    2  spec    TokenReviewSpec
    3  status  TokenReviewStatus
TokenReviewSpec
    1  token      string
    2  audiences  [string]
TokenReviewStatus
    1  authenticated  boolean
    2  user           UserInfo
    3  error          string
    4  audiences      [string]
UserInfo
    1  username  string
    2  uid       string
    3  groups    [string]
    4  extra     {strings}

SelfSubjectReview
    2  status  SelfSubjectReviewStatus
SelfSubjectReviewStatus
    1  userInfo  UserInfo

SelfSubjectAccessReview
    2  spec    SelfSubjectAccessReviewSpec
    3  status  SubjectAccessReviewStatus
SelfSubjectAccessReviewSpec
    1  resourceAttributes     ResourceAttributes?
    2  nonResourceAttributes  NonResourceAttributes?
SubjectAccessReview
    2  spec    SubjectAccessReviewSpec
    3  status  SubjectAccessReviewStatus
LocalSubjectAccessReview
    2  spec    SubjectAccessReviewSpec
    3  status  SubjectAccessReviewStatus
SubjectAccessReviewSpec
    1  resourceAttributes     ResourceAttributes?
    2  nonResourceAttributes  NonResourceAttributes?
    3  user                   string
    4  groups                 [string]
    5  extra                  {strings}
    6  uid                    string
ResourceAttributes
    1  namespace    string
    2  verb         string
    3  group        string
    4  version      string
    5  resource     string
    6  subresource  string
    7  name         string
NonResourceAttributes
    1  path  string
    2  verb  string
SubjectAccessReviewStatus
    1  allowed          boolean
    2  reason           string
    3  evaluationError  string
    4  denied           boolean

SelfSubjectRulesReview
    2  spec    SelfSubjectRulesReviewSpec
    3  status  SubjectRulesReviewStatus
SelfSubjectRulesReviewSpec
    1  namespace  string
SubjectRulesReviewStatus
    3  incomplete       boolean
    4  evaluationError  string

Eviction
    2  deleteOptions  DeleteOptions?
DeleteOptions
    1  gracePeriodSeconds  integer?
    2  preconditions       Preconditions?
    3  orphanDependents    boolean?
    4  propagationPolicy   string
    5  dryRun              [string]
Preconditions
    1  uid              string
    2  resourceVersion  string
"""

API_VERSIONS: Mapping[str, str] = {
    "Deployment": "apps/v1",
    "Eviction": "policy/v1",
    "LocalSubjectAccessReview": "authorization.k8s.io/v1",
    "SelfSubjectAccessReview": "authorization.k8s.io/v1",
    "SelfSubjectReview": "authentication.k8s.io/v1",
    "SelfSubjectRulesReview": "authorization.k8s.io/v1",
    "SubjectAccessReview": "authorization.k8s.io/v1",
    "TokenRequest": "authentication.k8s.io/v1",
    "TokenReview": "authentication.k8s.io/v1",
    **dict.fromkeys(("ConfigMap", "Namespace", "Secret", "Service", "ServiceAccount"), "v1"),
}
"""The objects a body can hold; all have ``metadata`` as their field 1."""


class Field(NamedTuple):
    """One field of a message."""

    name: str
    shape: str  # "one", "list", "map" or "inline"
    type: str
    is_pointer: bool


_LINE = re.compile(r"    (\d+) +(\w+) +(?:(inline) )?([\[{]?)([\w-]+)[\]}]?(\?)?")


def _read_table(text: str) -> dict[str, dict[int, Field]]:
    messages: dict[str, dict[int, Field]] = {}
    fields: dict[int, Field] = {}
    for line in filter(None, text.splitlines()):
        found = _LINE.fullmatch(line)
        if found is None:
            fields = messages[line] = {}
            continue
        number, name, inline, bracket, type_, pointer = found.groups()
        shape = inline or {"[": "list", "{": "map"}.get(bracket, "one")
        fields[int(number)] = Field(name, shape, type_, pointer is not None)
    return messages


MESSAGES: Mapping[str, Mapping[int, Field]] = _read_table(_TABLE)
