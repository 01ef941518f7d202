"""The parser of manifests. Every field is known and checked; every error begins with the place of its field.

    apiVersion: masterjob.io/v1alpha1
    kind: MasterJob
    metadata:
      name: nightly-report
    spec:
      lockName: NIGHTLY-REPORT

It reads files and objects of the Kubernetes API alike: `parse_manifest` gets plain values, and a function that
returns the place of each.
"""

from types import MappingProxyType

from masterjob.config.documents import FieldLocator
from masterjob.config.fields import Field, TextRule, boolean, duration, lock_name, one_of, text, whole_number
from masterjob.election.values import MAX_LOCK_NAME_LENGTH, LostPolicy
from masterjob.resource.masterjob import API_VERSION, DURATION_FIELDS, KIND, OPTION_FIELDS, Resource

REASON_LIMIT = 1000

_ROOT_FIELDS = ("apiVersion", "kind", "metadata", "spec", "status")
_METADATA_FIELDS = ("name", "namespace", "labels", "annotations")
_SERVER_MANAGED_FIELDS = (  # in what was exported from a cluster
    *("uid", "resourceVersion", "generation", "creationTimestamp", "deletionTimestamp", "managedFields"),
    *("deletionGracePeriodSeconds", "ownerReferences", "finalizers", "generateName", "selfLink"),
)
_SPEC_FIELDS = ("lockName", "enabled", "disabledReason", "job", *OPTION_FIELDS)

_JOB_NAME = TextRule(r"(?s)\s*\S.*", "must name one of the jobs that the controller knows, or be left out")
_DNS_LABEL = TextRule(
    r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?",
    "must be lower-case letters, digits and -, with a letter or digit at both ends",
)
_DNS_SUBDOMAIN = TextRule(
    r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*",
    "must be lower-case letters, digits, - and ., with a letter or digit at both ends",
)


def parse_manifest(document: object, locate: FieldLocator) -> Resource:
    """Return the resource that a manifest describes; ``status`` is ignored.

    Raises:
        SettingError: a field is missing, not known or not valid.
    """
    root = Field(document, (), locate)
    root.check_names(_ROOT_FIELDS)
    root["apiVersion"].required(one_of([API_VERSION]))
    root["kind"].required(one_of([KIND]))
    metadata, spec = root["metadata"], root["spec"]
    metadata.check_names((*_METADATA_FIELDS, *_SERVER_MANAGED_FIELDS))
    spec.check_names(_SPEC_FIELDS)
    return Resource(
        name=metadata["name"].required(text(253, _DNS_SUBDOMAIN)),
        namespace=metadata["namespace"].optional(text(63, _DNS_LABEL), "default"),
        lock_name=spec["lockName"].required(lock_name),
        enabled=spec["enabled"].optional(boolean, default=True),
        disabled_reason=spec["disabledReason"].optional(text(REASON_LIMIT), "").strip() or None,
        job=spec["job"].optional(text(MAX_LOCK_NAME_LENGTH, _JOB_NAME), ""),
        options=MappingProxyType(_parse_options(spec)),
        locate=locate,
    )


def _parse_options(spec: Field) -> dict[str, object]:
    options: dict[str, object] = {
        **{argument: spec[key].optional(_parse_duration, None) for key, argument in DURATION_FIELDS.items()},
        "max_heartbeat_retry_count": spec["maxHeartbeatRetryCount"].optional(whole_number(as_text=False), None),
        "lost_policy": spec["lostPolicy"].optional(one_of(LostPolicy), None),
    }
    return {argument: value for argument, value in options.items() if value is not None}


def _parse_duration(field: Field) -> str:
    """Return the duration as it is written: the settings convert it."""
    duration()(field)
    written = str(field.value)
    if written != written.strip():
        raise field.error("must not begin or end with whitespace")
    return written
