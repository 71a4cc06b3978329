"""The Kubernetes manifests agree with the code, with Kubernetes' rules and schemas, and with each other."""

import re
import shutil
import subprocess
from pathlib import Path, PurePosixPath
from typing import Any

import kubernetes
import kubernetes_validate
import pytest
import yaml

from forewarn.config.settings import SECRETS, Settings
from forewarn.services.stack.dagster_home import instance_of

ROOT = Path(__file__).parents[2]
KUBERNETES = ROOT / "deploy/kubernetes"
SETTINGS = {f"FOREWARN_{name.upper()}" for name in Settings.model_fields}
PROMTOOL = shutil.which("promtool")
KUBECTL = shutil.which("kubectl")
CLAIM = {"persistentVolumeClaim": {"claimName": "forewarn-state"}}


def load(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / name).read_text())
    return loaded


def resources() -> list[tuple[str, dict[str, Any]]]:
    named = load("deploy/kubernetes/kustomization.yaml")["resources"]
    return [(name, r) for name in named for r in yaml.safe_load_all((KUBERNETES / name).read_text())]


def templates() -> dict[str, dict[str, Any]]:
    """Name → pod template of everything that runs."""
    return {r["metadata"]["name"]: r["spec"]["template"] for _, r in resources() if "template" in r.get("spec", {})}


def settings() -> dict[str, str]:
    """What the ConfigMap tells every process."""
    data: dict[str, str] = next(r["data"] for _, r in resources() if r["kind"] == "ConfigMap")
    return data


@pytest.fixture
def training(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The job of a training as Dagster's run launcher would build it."""
    from dagster import DagsterRun
    from dagster._serdes import ConfigurableClassData
    from dagster_k8s import K8sRunLauncher
    from dagster_k8s.container_context import K8sContainerContext
    from dagster_k8s.job import construct_dagster_k8s_job

    monkeypatch.setattr(kubernetes.config, "load_incluster_config", lambda: None)
    config = yaml.safe_dump(load("deploy/kubernetes/dagster-instance.yaml")["run_launcher"]["config"])
    launcher = ConfigurableClassData("dagster_k8s", "K8sRunLauncher", config).rehydrate(as_type=K8sRunLauncher)
    context = K8sContainerContext.create_for_run(DagsterRun(job_name="training"), launcher, include_run_tags=False)
    job = construct_dagster_k8s_job(
        context.get_k8s_job_config(job_image="of-the-code-server", run_launcher=launcher),
        args=["dagster", "api", "execute_run"],
        job_name="training",
        user_defined_k8s_config=context.run_k8s_config,
    )
    made: dict[str, Any] = kubernetes.client.ApiClient().sanitize_for_serialization(job)
    return made


def validate(resource: dict[str, Any], name: str) -> None:
    try:
        kubernetes_validate.validate(resource, "1.31", strict=True)
    except kubernetes_validate.ValidationError as error:
        raise AssertionError(f"{name}: {resource['kind']} {resource['metadata']['name']}: {error.message}") from None


def test_resources_follow_their_schema() -> None:
    known = [(name, r) for name, r in resources() if r["kind"] != "ScaledObject"]  # KEDA's own kind
    assert len(known) > 20
    for name, resource in known:
        validate(resource, name)


def test_kubernetes_runs_what_compose_runs() -> None:
    services = load("docker-compose.yml")["services"]
    ours = {name for name, s in services.items() if s.get("image", "").startswith("forewarn:")}
    assert set(templates()) == ours - {"kafka-source", "collector"}
    for name, template in templates().items():
        command = template["spec"]["containers"][0]["command"]
        assert [word.replace("$$", "$") for word in services[name]["command"]] == command
    assert {key for key in settings() if key.startswith("FOREWARN_")} <= SETTINGS


def check_restricted(pod: dict[str, Any]) -> None:
    """What the Pod Security Standard `restricted` asks of a pod."""
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
    for volume in pod["volumes"]:
        assert set(volume) - {"name"} <= {"configMap", "emptyDir", "persistentVolumeClaim", "secret"}
    for container in pod["containers"]:
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def test_pods_keep_the_rules_that_the_namespace_enforces(training: dict[str, Any]) -> None:
    assert load("deploy/kubernetes/namespace.yaml")["metadata"]["labels"] == {
        "pod-security.kubernetes.io/enforce": "restricted"
    }
    validate(training, "dagster-instance.yaml")
    for pod in (*(template["spec"] for template in templates().values()), training["spec"]["template"]["spec"]):
        check_restricted(pod)


def test_a_training_may_write_where_the_services_of_dagster_may(training: dict[str, Any]) -> None:
    def writable(pod: dict[str, Any]) -> set[str]:
        assert pod["containers"][0]["securityContext"]["readOnlyRootFilesystem"]
        return {m["mountPath"] for m in pod["containers"][0]["volumeMounts"] if not m.get("readOnly")}

    job, service = training["spec"]["template"]["spec"], templates()["dagster-code"]["spec"]
    assert writable(job) - {"/var/lib/dagster/dagster.yaml"} == writable(service)
    assert job["securityContext"] == service["securityContext"]


def test_the_token_of_a_service_account_finds_its_place(training: dict[str, Any]) -> None:
    token = PurePosixPath("/run/secrets/kubernetes.io/serviceaccount")  # /var/run is /run in our image
    pods = [t["spec"] for t in templates().values()] + [training["spec"]["template"]["spec"]]
    with_token = [pod for pod in pods if pod.get("automountServiceAccountToken", True)]
    assert len(with_token) == 4
    for pod in with_token:
        mounted = [
            PurePosixPath(m["mountPath"].replace("/var/run", "/run")) for m in pod["containers"][0]["volumeMounts"]
        ]
        assert not [path for path in mounted if token.is_relative_to(path)]


def test_no_mount_is_below_another_that_is_read_only(training: dict[str, Any]) -> None:
    for pod in (*(t["spec"] for t in templates().values()), training["spec"]["template"]["spec"]):
        mounts = pod["containers"][0]["volumeMounts"]
        closed = {PurePosixPath(m["mountPath"]) for m in mounts if m.get("readOnly")}
        assert not [m for m in mounts if closed & set(PurePosixPath(m["mountPath"]).parents)]


def test_secrets_are_mounted_where_settings_look_for_them(training: dict[str, Any]) -> None:
    for pod in (*(t["spec"] for t in templates().values()), training["spec"]["template"]["spec"]):
        places = [m["mountPath"] for m in pod["containers"][0]["volumeMounts"] if m["name"] == "secrets"]
        assert len(places) == 1
        assert Path(places[0]) in SECRETS
        assert Path(settings()["FOREWARN_DASHBOARD_USERS"]).parent == Path(places[0])


def test_docs_make_the_secret_that_pods_share() -> None:
    docs = (ROOT / "docs/deployment.md").read_text()
    told = set(re.findall(r"--from-file=(\w+)=", docs))
    assert {name.upper() for name in told} - {"DASHBOARD_USERS"} <= SETTINGS
    # alerters sign what gateways read; neither has a folder that the other sees
    assert told >= {"forewarn_postgres_password", "forewarn_gateway_token", "forewarn_link_key", "dashboard_users"}
    assert settings()["FOREWARN_ANSWER_URL"].startswith("https://")


def test_who_reads_writes_or_deletes_files_of_others_has_the_claim() -> None:
    having = {
        name
        for name, template in templates().items()
        if any(CLAIM.items() <= volume.items() for volume in template["spec"]["volumes"])
    }
    assert having == {"archiver", "predictor", "dashboard", "dagster-code", "dagster-webserver", "dagster-daemon"}


def test_prometheus_reaches_what_is_annotated() -> None:
    policies = [r["spec"] for _, r in resources() if r["kind"] == "NetworkPolicy"]
    annotated = set()
    for name, template in templates().items():
        port = int(template["metadata"].get("annotations", {}).get("prometheus.io/port", 0))
        if not port:
            continue
        annotated.add(name)
        let_in = [
            opened["port"]
            for spec in policies
            if spec["podSelector"].get("matchLabels", template["metadata"]["labels"]) == template["metadata"]["labels"]
            for rule in spec["ingress"]
            for opened in rule.get("ports", [])
        ]
        assert port in let_in, name
    scraped = {c["job_name"] for c in load("deploy/prometheus/prometheus.yml")["scrape_configs"]}
    assert {f"forewarn-{name}" for name in annotated} == {job for job in scraped if job.startswith("forewarn-")}


def test_readers_reach_the_dashboard_from_outside() -> None:
    policy = next(r for _, r in resources() if r["metadata"]["name"] == "dashboard-ingress")
    assert policy["spec"]["ingress"] == [
        {"ports": [{"port": int(settings()["FOREWARN_DASHBOARD_PORT"]), "protocol": "TCP"}]}
    ]
    assert policy["spec"]["podSelector"] == {"matchLabels": templates()["dashboard"]["metadata"]["labels"]}


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed (apt-get install prometheus)")
def test_prometheus_takes_what_finds_the_pods(tmp_path: Path) -> None:
    scrape = load("deploy/kubernetes/prometheus-scrape.yml")
    found = scrape["scrape_configs"][0].pop("kubernetes_sd_configs")  # Debian's promtool is built without
    assert found == [{"role": "pod", "namespaces": {"names": ["forewarn"]}}]
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(scrape))
    told = subprocess.run([str(PROMTOOL), "check", "config", "prometheus.yml"], cwd=tmp_path, capture_output=True)
    assert told.returncode == 0, told.stdout + told.stderr


def test_jobs_of_dagster_get_its_instance_file() -> None:
    merged = KUBERNETES / "dagster-instance.yaml"
    home = Path(settings()["FOREWARN_HOME"]) / "dagster"  # DAGSTER_HOME of the image
    assert f"DAGSTER_HOME={home} " in (ROOT / "Dockerfile").read_text()
    assert load("deploy/kubernetes/dagster-home.yaml") == instance_of(home, merged)


@pytest.mark.skipif(KUBECTL is None, reason="kubectl is not installed")
def test_one_tag_is_the_image_of_all_pods_and_of_trainings(tmp_path: Path, training: dict[str, Any]) -> None:
    shutil.copytree(KUBERNETES, tmp_path, dirs_exist_ok=True)
    file = tmp_path / "kustomization.yaml"
    file.write_text(file.read_text().replace("newTag: 0.1.0", "newTag: 0.2.0"))
    built = subprocess.run([str(KUBECTL), "kustomize", str(tmp_path)], capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    assert "0.1.0" not in built.stdout
    pods = [r for r in yaml.safe_load_all(built.stdout) if "template" in r.get("spec", {})]
    containers = [c for r in pods for c in r["spec"]["template"]["spec"]["containers"]]
    assert {c["image"] for c in containers} == {"forewarn:0.2.0"}
    told = [e["value"] for c in containers for e in c.get("env", []) if e["name"] == "DAGSTER_CURRENT_IMAGE"]
    assert told == ["forewarn:0.2.0"]
    (container,) = training["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "of-the-code-server"
    assert container["imagePullPolicy"] == "IfNotPresent"  # as Kubernetes does for the pods of such a tag
