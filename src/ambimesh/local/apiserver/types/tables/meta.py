"""Fields that all kinds share, and those of objects that are only sent or answered."""

META = """
ObjectMeta                                    # Standard object's metadata.
    name                        string                          # Unique within a namespace; cannot be changed.
    generateName                string                          # A prefix from which the server makes a name.
    namespace                   string                          # Where the name is unique; empty for cluster-wide kinds.
    selfLink                    string
    uid                         string                          # Given by the server, never used twice.
    resourceVersion             string                          # Changes with every change; for optimistic concurrency.
    generation                  long                            # Counts changes of what is wanted.
    creationTimestamp           time
    deletionTimestamp           time                            # When the object is to be gone, once deletion was asked for.
    deletionGracePeriodSeconds  long
    labels                      {string}                        # Names and values to select objects by.
    annotations                 {string}                        # Names and values that are not selected by.
    ownerReferences             [atomic OwnerReference] by uid  # When all owners are gone, so is this object.
    finalizers                  [string] set                    # Must be empty before the object is removed.
    managedFields               [ManagedFieldsEntry]            # Which manager owns which field.

OwnerReference
    apiVersion!         string
    kind!               string
    name!               string
    uid!                string
    controller          boolean
    blockOwnerDeletion  boolean

ManagedFieldsEntry
    manager      string
    operation    string
    apiVersion   string
    time         time
    fieldsType   string
    fieldsV1     any
    subresource  string

Condition                                     # One aspect of an object's present state.
    type!               string  # The aspect, in CamelCase.
    status!             True|False|Unknown
    observedGeneration  long
    lastTransitionTime  time
    lastUpdateTime      time
    lastHeartbeatTime   time
    lastProbeTime       time
    reason              string  # Why, in one CamelCase word.
    message             string  # Why, for a person.

LabelSelector                                 # Which objects, by their labels; all conditions must hold.
    matchLabels       {string}
    matchExpressions  [LabelSelectorRequirement]

LabelSelectorRequirement
    key!       string
    operator!  In|NotIn|Exists|DoesNotExist
    values     [string]

LocalObjectReference
    name  string

ObjectReference                               # Names one object, wherever it is.
    apiVersion       string
    kind             string
    name             string
    namespace        string
    uid              string
    resourceVersion  string
    fieldPath        string

Preconditions
    uid              string
    resourceVersion  string

DeleteOptions
    gracePeriodSeconds  long
    propagationPolicy   Orphan|Background|Foreground
    orphanDependents    boolean
    dryRun              [string]
    preconditions       Preconditions
    ignoreStoreReadErrorWithClusterBreakingPotential  boolean

ConditionsStatus                              # A status that is nothing but conditions.
    conditions  [Condition] by type
"""
