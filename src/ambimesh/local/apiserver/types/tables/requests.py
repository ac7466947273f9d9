"""Fields of kinds that are asked and answered, and never stored."""

REQUESTS = """
TokenRequest                                  # Asks for a token of a service account.
    spec!   TokenRequestSpec
    status  TokenRequestStatus

TokenRequestSpec
    audiences          [string]
    expirationSeconds  long 600..
    boundObjectRef     BoundObjectReference

BoundObjectReference
    kind        string
    apiVersion  string
    name        string
    uid         string

TokenRequestStatus
    token                string
    expirationTimestamp  time

TokenReview                                   # Asks who a token belongs to.
    spec!   TokenReviewSpec
    status  TokenReviewStatus

TokenReviewSpec
    token      string
    audiences  [string]

TokenReviewStatus
    authenticated  boolean
    user           UserInfo
    audiences      [string]
    error          string

UserInfo
    username  string
    uid       string
    groups    [string]
    extra     {[string]}

SelfSubjectReview                             # Asks who the caller is.
    status  SelfSubjectReviewStatus

SelfSubjectReviewStatus
    userInfo  UserInfo

SubjectAccessReview                           # Asks whether somebody may do something.
    spec!   SubjectAccessReviewSpec
    status  SubjectAccessReviewStatus

SubjectAccessReviewSpec
    user                   string
    groups                 [string]
    uid                    string
    extra                  {[string]}
    resourceAttributes     ResourceAttributes
    nonResourceAttributes  NonResourceAttributes

ResourceAttributes
    namespace      string
    verb           string
    group          string
    version        string
    resource       string
    subresource    string
    name           string
    fieldSelector  any
    labelSelector  any

NonResourceAttributes
    path  string
    verb  string

SubjectAccessReviewStatus
    allowed          boolean
    denied           boolean
    reason           string
    evaluationError  string

SelfSubjectRulesReview                        # Asks what the caller may do.
    spec!   SelfSubjectRulesReviewSpec
    status  any

SelfSubjectRulesReviewSpec
    namespace  string

Scale                                         # How many pods there are and should be.
    spec    ScaleSpec
    status  ScaleStatus

ScaleSpec
    replicas  integer 0..

ScaleStatus
    replicas  integer
    selector  string

Eviction                                      # Asks for a pod to go.
    deleteOptions  DeleteOptions

Binding                                       # Puts a pod on a node.
    target!  ObjectReference
"""
