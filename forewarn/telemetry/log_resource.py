"""Which entity a log record is about: from its fields and from Kubernetes' and syslog's to resource attributes."""

from collections.abc import Mapping
from typing import Any

_SERVICE = ("service.name", "service_name", "serviceName", "service", "app", "application")
_NAMESPACE = ("service.namespace", "service_namespace", "namespace")
_HOST = ("host.name", "hostname", "host", "_HOSTNAME", "HOSTNAME")
_LABELS = ("app.kubernetes.io/name", "app_kubernetes_io/name", "app", "k8s-app", "k8s_app")
_CONTAINER = ("container_name", "CONTAINER_NAME")
_PROGRAM = ("programname", "app-name", "appname", "SYSLOG_IDENTIFIER", "ident")
_OF_THE_HOST = frozenset({"kernel", "systemd", "-"})  # programs that speak about their host
_KUBERNETES = {
    "namespace_name": "k8s.namespace.name", "pod_name": "k8s.pod.name", "container_name": "k8s.container.name",
    "host": "k8s.node.name",
}  # fmt: skip
# The order in which Loki itself looks for a service name (discover_service_name).
_LOKI_SERVICE = ("service_name", "service", "app", "application", "app_name", "name", "app_kubernetes_io_name",
                 "container", "container_name", "k8s_container_name", "component", "workload", "job",
                 "k8s_job_name")  # fmt: skip
_LOKI = {
    "service_namespace": "service.namespace", "namespace": "k8s.namespace.name",
    "k8s_namespace_name": "k8s.namespace.name", "pod": "k8s.pod.name", "k8s_pod_name": "k8s.pod.name",
    "host": "host.name", "hostname": "host.name", "host_name": "host.name", "nodename": "host.name",
    "node_name": "k8s.node.name", "service_instance_id": "service.instance.id", "service_version": "service.version",
    "deployment_environment": "deployment.environment",
}  # fmt: skip


def take_resource(record: dict[str, Any], defaults: Mapping[str, str]) -> dict[str, str]:
    """Resource attributes of a record; the fields that tell them are taken out of it.

    A service is named by `service` (or an equal field), the labels of Kubernetes, a container, `defaults`, or a
    program of syslog, in this order; without any of these the pod or the host is the entity.
    """
    kubernetes = record.pop("kubernetes", None)
    pod = kubernetes if isinstance(kubernetes, dict) else {}
    found = {target: pod[name] for name, target in _KUBERNETES.items() if isinstance(pod.get(name), str)}
    namespace, host, program = (_take(record, names) for names in (_NAMESPACE, _HOST, _PROGRAM))
    service = _take(record, _SERVICE, found) or _label(pod.get("labels")) or found.get("k8s.container.name", "")
    service = service or _take(record, _CONTAINER).lstrip("/") or defaults.get("service.name", "")
    service = service or ("" if program in _OF_THE_HOST else program)
    if program and program != service:
        record["program"] = program
    named = {"service.name": service, "service.namespace": namespace, "host.name": host}
    return {**defaults, **found, **{name: value for name, value in named.items() if value}}


def loki_resource(labels: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Resource attributes of a stream's labels, and the labels that are none (attributes of its lines)."""
    resource = {target: labels[name] for name, target in _LOKI.items() if labels.get(name)}
    known = [n for n in _LOKI_SERVICE if labels.get(n) and labels[n] != "unknown_service"]
    rest = {name: value for name, value in labels.items() if name not in _LOKI and name not in known[:1]}
    if known:
        namespace, slash, service = labels[known[0]].rpartition("/")
        resource["service.name"] = service if known[0] == "job" else labels[known[0]]
        if known[0] == "job" and slash and not {"service.namespace", "k8s.namespace.name"} & resource.keys():
            resource["service.namespace"] = namespace.replace("/", ".")
    return resource, rest


def _take(record: dict[str, Any], names: tuple[str, ...], found: dict[str, str] | None = None) -> str:
    """The first of the fields that is a text, or an object with a `name`; it is taken out of the record."""
    for name in names:
        value = record.get(name)
        if isinstance(value, dict) and isinstance(value.get("name"), str):
            del record[name]
            record |= {f"{name}.{key}": rest for key, rest in value.items() if key not in ("name", "namespace")}
            if found is not None and isinstance(value.get("namespace"), str):
                found["service.namespace"] = value["namespace"]
            return str(value["name"])
        if isinstance(value, str) and value:
            del record[name]
            return value
    return ""


def _label(labels: Any) -> str:
    if not isinstance(labels, dict):
        return ""
    return next((labels[name] for name in _LABELS if isinstance(labels.get(name), str) and labels[name]), "")
