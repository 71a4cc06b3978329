"""Settings of every process, from `FOREWARN_*` environment variables and `.env`."""

from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

# Docker's place for secrets, and one for Kubernetes, which needs /run/secrets for the token of the service account
SECRETS = (Path("/run/secrets"), Path("/etc/forewarn/secrets"))


class Settings(BaseSettings):
    """What a process needs to know; `.env.example` documents each variable.

    Precedence: environment, then `.env`, then secrets as Docker and Kubernetes mount them
    (/run/secrets/forewarn_postgres_password, or the same below /etc/forewarn/secrets), then the defaults below.
    """

    model_config = SettingsConfigDict(
        env_prefix="FOREWARN_",
        env_file=".env",
        secrets_dir=[folder for folder in SECRETS if folder.is_dir()],
        extra="ignore",
    )

    home: Path = Field(Path(".forewarn"), description="Folder of all local state.")
    bind_host: str = Field("127.0.0.1", description="Address that servers listen on.")

    kafka_bootstrap: str = Field("127.0.0.1:9092", description="Kafka-protocol broker (Redpanda, Kafka, Tansu).")
    kafka_security_protocol: str = Field(
        "PLAINTEXT",
        pattern="^(PLAINTEXT|SSL|SASL_PLAINTEXT|SASL_SSL)$",
        description="To the broker: PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL.",
    )
    kafka_sasl_mechanism: str | None = Field(None, description="SCRAM-SHA-256, SCRAM-SHA-512 or PLAIN; none: no SASL.")
    kafka_sasl_username: str | None = Field(None, description="User at the broker.")
    kafka_sasl_password: SecretStr | None = Field(None, description="Password at the broker.")
    kafka_ca_file: Path | None = Field(None, description="Certificates that sign the broker's; none: the system's.")
    kafka_certificate_file: Path | None = Field(None, description="Our certificate, where the broker asks for one.")
    kafka_key_file: Path | None = Field(None, description="The key of that certificate.")
    kafka_partitions: int = Field(
        4, ge=1, description="Partitions of each topic that is created; the stack's own broker has 1."
    )
    kafka_replication: int = Field(
        -1, ge=-1, description="Copies of each topic that is created, 3 in a cluster; -1: the broker's default."
    )
    kafka_log_topics: str = Field(
        "", description="Topics with logs in JSON that others write (rsyslog, Fluent Bit), separated by commas."
    )
    kafka_otlp_topics: str = Field(
        "", description="Topics with OTLP that others write: topic=signal[/encoding], e.g. spans=traces/otlp_json."
    )
    kafka_source_brokers: str | None = Field(None, description="Broker of those topics, if it is another one.")
    broker_memory_bytes: int = Field(
        2 * 2**30, ge=2**26, description="Embedded broker: beyond this memory it starts anew with an empty log."
    )
    postgres_url: SecretStr = Field(
        SecretStr("postgresql://forewarn@127.0.0.1:5432/forewarn"),
        description="PostgreSQL address (libpq URL).",
    )
    postgres_password: SecretStr | None = Field(
        None, description="Password for PostgreSQL, where it is better not part of the address."
    )

    gateway_port: int = Field(4318, description="Telemetry over HTTP.")
    gateway_grpc_port: int = Field(4317, ge=0, description="OTLP over gRPC; 0: not.")
    gateway_token: SecretStr | None = Field(
        None, description="Bearer token that senders must show; none: loopback only."
    )
    gateway_door_tokens: SecretStr | None = Field(
        None,
        description="A token for single doors beside that one: metrics=…,logs=…,traces=…,activity=…,remote_write=…,"
        "logs_json=…,loki=…; doors without any are then closed.",
    )
    require_token: bool = Field(
        False, description="Gateway: closed to all without a token, also where no token is set here: `forewarn tokens`."
    )
    require_read_token: bool = Field(
        False, description="Predictor: questions need a token with the scope read (`forewarn tokens`)."
    )
    tls_certificate_file: Path | None = Field(
        None, description="Certificate (PEM, with its chain) of our doors: gateway and dashboard; none: no TLS."
    )
    tls_key_file: Path | None = Field(None, description="The key of that certificate.")
    tls_ca_file: Path | None = Field(
        None,
        description="Certificates (PEM) that sign those of the servers that `forewarn doctor`, `simulate`, `replay` "
        "and the collector ask, beside the system's.",
    )
    gateway_rate_requests: float = Field(
        0.0, ge=0, description="Requests per second that the gateway takes of a token or address; 0: any number."
    )
    gateway_rate_bytes: float = Field(
        0.0, ge=0, description="Bytes of bodies, as they are sent, per second of a token or address; 0: any number."
    )
    gateway_max_body_bytes: int = Field(16 * 2**20, description="Largest request body, after decompression.")
    scrub: str = Field(
        "",
        description="What is taken out of logs, spans and activity before they are stored: a file with rules "
        "(docs/security.md); none: the built-in rules; off: nothing.",
    )
    predictor_port: int = Field(3000, description="Predictor over HTTP.")
    predictor_grpc_port: int = Field(3001, ge=0, description="Predictor over gRPC; 0: not.")
    predictor_max_rows: int = Field(10_000, ge=1, description="Rows of features that the predictor takes at once.")
    dashboard_port: int = Field(5006, description="Dashboard.")
    dashboard_users: Path | None = Field(
        None, description="Who may sign in to the dashboard, docs/dashboard.md; none: nobody needs to (on loopback)."
    )
    oidc_issuer: str | None = Field(
        None,
        description="OpenID Connect: issuer that signs people in to the dashboard (docs/dashboard.md), such as "
        "https://accounts.example.com; none: none.",
    )
    oidc_client_id: str = Field("forewarn", description="OpenID Connect: as which the issuer knows the dashboard.")
    oidc_client_secret: SecretStr | None = Field(None, description="OpenID Connect: secret of that client.")
    oidc_user_claim: str = Field("email", description="OpenID Connect: claim of the ID token that names the user.")
    dashboard_editors: str = Field(
        "",
        description="Who of those whom a provider signs in may answer and change: names or *@example.com, separated by "
        "commas; others read.",
    )
    dashboard_readers: str = Field(
        "",
        description="Who of those whom a provider signs in may read, written the same way; none: all whom it signs in.",
    )
    dashboard_open: bool = Field(
        False, description="Serve the dashboard beyond this machine without sign-in: whoever reaches it may change it."
    )
    dagster_port: int = Field(3070, description="Dagster's web server.")
    dagster_instance: Path | None = Field(
        None, description="YAML merged over Dagster's instance file, such as another run launcher."
    )
    offline_store: str = Field(
        "asof",
        pattern="^(asof|spark)$",
        description="What computes and joins features of the past for training: asof (in memory) or spark "
        "(docs/scaling.md).",
    )
    spark_conf: dict[str, str] = Field(
        default_factory=dict, description='Spark\'s own settings, as JSON: {"spark.master": "k8s://…"}.'
    )

    step_seconds: float = Field(60.0, gt=0, description="Width of a window cell: samples are averaged over it.")
    step_seconds_by_namespace: dict[str, float] = Field(
        default_factory=dict, description="Other cell widths, by service.namespace."
    )
    lateness_seconds: float = Field(120.0, ge=0, description="How late a sample may come and still count.")
    max_ahead_seconds: float = Field(
        600.0,
        ge=0,
        description="How far ahead of the gateway's clock telemetry may be dated; what is later is refused, for one "
        "sender of the future would stop the scoring of its namespace. 0: any time is taken (simulations).",
    )
    max_series: int = Field(300_000, ge=1, description="Series that a predictor keeps windows of (8 KiB each).")
    max_series_per_entity: int = Field(
        10_000, ge=1, description="Series of an entity that are watched and archived; more are counted and named."
    )
    score_every_steps: int = Field(1, ge=1, description="Score once in so many cells.")
    collector_interval_seconds: float = Field(5.0, gt=0, description="How often this host and the stack are read.")
    collector_endpoint: str | None = Field(
        None, description="Gateway for what is read, such as https://gateway.example.org:4318; none: this machine's."
    )

    connector_bucket_seconds: float = Field(
        10.0,
        gt=0,
        description="Logs, spans and activity are counted in buckets of this width, or of the window cells'.",
    )
    connector_allowance_seconds: float = Field(
        30.0, ge=0, description="How late a log record, span or event may come after its bucket's end and still count."
    )
    connector_learning_seconds: float = Field(
        3600.0, ge=0, description="How long the log templates of an entity are learned before one counts as new."
    )
    conversion_actions: list[str] = Field(["checkout"], description="User actions that a session is for.")

    false_alarm_budget: str = Field(
        "one false page per service and week",
        description="How many anomalies without a cause are accepted, in words; none: anomalies are not looked for.",
    )
    min_lead_seconds: float = Field(60.0, ge=0, description="A warning with less time left counts as late, not a hit.")
    incident_window_seconds: float = Field(
        1800.0, gt=0, description="How far apart in event time risks may begin and still be one incident."
    )

    smtp_host: str | None = Field(None, description="SMTP server for alerts; none: no e-mail.")
    smtp_port: int = Field(25, description="Port of the SMTP server.")
    smtp_user: str | None = Field(None, description="User at the SMTP server; none: no login.")
    smtp_password: SecretStr | None = Field(None, description="Password at the SMTP server.")
    smtp_starttls: bool = Field(False, description="Encrypt the connection to the SMTP server.")
    mail_from: str = Field("forewarn@localhost", description="Sender of alerts.")
    mail_to: str = Field("oncall@localhost", description="Who gets alerts.")
    public_url: str = Field("http://127.0.0.1:5006", description="Where people reach the dashboard, for links.")
    alerting: Path | None = Field(
        None, description="Alerting file: channels, routes, maintenance (docs/alerting.md); none: all go everywhere."
    )
    rules: Path | None = Field(None, description="Alert rules of your own (docs/rules.md); none: none.")
    rules_seconds: float = Field(3.0, gt=0, description="How often rules are evaluated, at most, in seconds.")
    responses: Path | None = Field(
        None, description="Responses: what may be called or run about an incident (docs/responses.md); none: nothing."
    )
    response_commands: bool = Field(
        False, description="Responses may run commands, as the user of the alerter and on its machine."
    )
    response_secrets: dict[str, SecretStr] = Field(
        default_factory=dict, description="Secrets that the file of responses names, as JSON: {name: secret}."
    )
    alerting_secrets: dict[str, SecretStr] = Field(
        default_factory=dict, description="Secrets that the alerting file names, as JSON: {name: secret}."
    )
    slack_webhook_url: SecretStr | None = Field(None, description="Slack: incoming webhook for alerts; none: no Slack.")
    slack_bot_token: SecretStr | None = Field(
        None, description="Slack: bot token (chat:write, files:write, channels:history); used instead of the webhook."
    )
    slack_channel: str = Field("#alerts", description="Slack: channel of the bot.")
    slack_url: str = Field("https://slack.com/api/", description="Slack: address of its API.")
    slack_signing_secret: SecretStr | None = Field(
        None,
        description="Slack: signing secret of the app, with which buttons answer (docs/alerting.md); several: "
        "separated by commas; none: buttons are links.",
    )
    pagerduty_routing_key: SecretStr | None = Field(
        None, description="PagerDuty: integration key of Events API v2; none: no PagerDuty."
    )
    pagerduty_url: str = Field("https://events.pagerduty.com", description="PagerDuty: address of its Events API.")
    pagerduty_webhook_secret: SecretStr | None = Field(
        None,
        description="PagerDuty: secret of the webhook (v3) that tells us who acknowledged there (docs/alerting.md); "
        "several: separated by commas; none: nobody does.",
    )
    webhook_url: SecretStr | None = Field(None, description="Webhook for alerts in JSON, docs/alerting.md; none: none.")
    webhook_secret: SecretStr | None = Field(None, description="Key that signs what the webhook gets; none: unsigned.")
    alertmanager_url: str | None = Field(
        None, description="Prometheus Alertmanager, such as http://alertmanager:9093; none: none."
    )
    alertmanager_user: str | None = Field(None, description="User at Alertmanager; none: no login.")
    alertmanager_password: SecretStr | None = Field(None, description="Password at Alertmanager.")
    answer_url: str | None = Field(
        None, description="Where people reach the gateway, for answers by link; none: its address on this machine."
    )
    link_key: SecretStr | None = Field(
        None, description="Key that signs links in alerts; none: one is made and kept in FOREWARN_HOME/link.key."
    )
    link_hours: float = Field(72.0, gt=0, description="How long links in alerts can be used to answer.")

    drain_seconds: float = Field(
        0.0,
        ge=0,
        description="Asked to stop, archiver, connector and alerter read the log to its end for so long at most; for a "
        "broker that keeps its log in memory only.",
    )
    retention_days: int = Field(
        0, ge=0, description="Days (by event time) that raw samples, logs, spans and activity are kept; 0: for ever."
    )
    rollup_retention_days: int = Field(
        400, ge=0, description="Days (by event time) that roll-ups of samples and log templates are kept; 0: for ever."
    )
    record_retention_days: int = Field(
        1095,
        ge=0,
        description="Days (by wall clock) that risks and outcomes, incidents that are over, what was told of them, "
        "answers, audit and reports are kept; 0: for ever.",
    )
    loki_url: str | None = Field(None, description="Loki for logs, such as http://loki:3100; none: PostgreSQL.")
    loki_tenant: str | None = Field(None, description="Tenant at Loki (X-Scope-OrgID); none: single tenant.")
    loki_token: SecretStr | None = Field(None, description="Bearer token at Loki; none: no authorization.")
    prometheus_token: SecretStr | None = Field(None, description="Bearer token for `forewarn import prometheus`.")
    prometheus_user: str | None = Field(None, description="User for `forewarn import prometheus`; none: no login.")
    prometheus_password: SecretStr | None = Field(None, description="Password for `forewarn import prometheus`.")
    mlflow_tracking_uri: SecretStr | None = Field(
        None, description="MLflow server or database; none: the schema 'mlflow' of our PostgreSQL."
    )
    promotion: str = Field(
        "shadow",
        pattern="^(shadow|direct)$",
        description="How a candidate that passed the offline gate replaces a champion: after a time as its shadow, or "
        "directly: shadow, direct.",
    )
    shadow_min_incidents: int = Field(8, ge=2, description="Incidents that a shadow must have seen to be promoted.")
    shadow_max_days: float = Field(
        14.0, gt=0, description="Days of event time after which a shadow goes that has not shown itself better."
    )
    retrain_every_days: float = Field(7.0, gt=0, description="Days after which models are trained anew at the latest.")
    retrain_cooldown_hours: float = Field(6.0, ge=0, description="Hours between two trainings that sensors start.")
    retrain_new_labels: int = Field(20, ge=1, description="New outcomes and failures that are worth a training.")
    lifecycle_interval_seconds: int = Field(
        30, ge=1, description="How often Dagster's sensors look at champion and shadow."
    )
    feast_push: bool = Field(False, description="Predictor: push the newest features to Feast's online store.")

    metrics_port: int = Field(
        0, ge=0, description="Port on which a process tells Prometheus its counters (/metrics); 0: not."
    )
    log_level: str = Field("INFO", description="Least severe level that is logged: DEBUG, INFO, WARNING, ERROR.")
    log_format: str = Field(
        "console", pattern="^(console|json)$", description="Logs for people or as JSON: console, json."
    )

    @model_validator(mode="after")
    def _complete_address(self) -> "Settings":
        """Put the password that came by itself into PostgreSQL's address."""
        if self.postgres_password is not None:
            url = urlsplit(self.postgres_url.get_secret_value())
            place = url.netloc.rpartition("@")
            password = quote(self.postgres_password.get_secret_value(), safe="")
            netloc = f"{place[0].partition(':')[0]}:{password}@{place[2]}"
            self.postgres_url = SecretStr(urlunsplit(url._replace(netloc=netloc)))
        return self

    def step_of(self, namespace: str) -> float:
        """Cell width in seconds for a namespace."""
        return self.step_seconds_by_namespace.get(namespace, self.step_seconds)
