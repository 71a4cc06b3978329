"""Mistakes between us and the broker: address, TLS, password, topics, partitions."""

import ssl
from collections.abc import Iterator
from functools import partial
from urllib.parse import urlsplit

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, ClusterMetadata

from forewarn.config.settings import Settings
from forewarn.services.doctor.finding import Finding, ok, unknown, warning, wrong
from forewarn.services.doctor.tls import Door, examine_tls, speaks_tls
from forewarn.stores.log_address import reach
from forewarn.stores.log_ends import end_offsets
from forewarn.telemetry import topics

_SECONDS = 5.0
_CLUSTER = 3  # brokers, from which on a topic can do without one of them


def examine_broker(settings: Settings) -> Iterator[Finding]:
    """Ask the broker once; what hangs on it is unknown where it does not answer."""
    yield from _certificates(settings)
    heard: list[KafkaError] = []
    address = settings.kafka_bootstrap
    try:
        admin = AdminClient({**reach(address), "error_cb": heard.append, "log_level": 0})
        cluster = admin.list_topics(timeout=_SECONDS)
    except KafkaException as error:
        yield _away(settings, [error.args[0], *heard])
        yield unknown("Topics", "the broker does not answer")
        return
    yield ok("Broker", address)
    found = cluster.topics
    missing = sorted(set(topics.ALL) - set(found))
    if missing:
        yield wrong(
            "Topics", f"missing: {', '.join(missing)}",
            "python -m forewarn.services.stack.prepare --kept-log makes them; the user may need the right to create",
        )  # fmt: skip
        return
    counts = {name: len(found[name].partitions) for name in topics.ALL}
    if len(set(counts.values())) > 1:
        yield wrong(
            "Topics", f"they differ in partitions: {', '.join(f'{n} {c}' for n, c in counts.items())}",
            "all must have the same number, so that an entity lies in one partition number of each",
        )  # fmt: skip
    else:
        yield ok("Topics", f"{len(counts)} topics of {counts[topics.METRICS]} partitions")
    yield from _copies(cluster)
    letters = sum(end_offsets(address, [topics.DEAD_LETTERS], _SECONDS).values())
    if letters:
        yield warning(
            "Dead letters", f"{letters} messages could not be read",
            "their headers say why (rpk topic consume dead_letters); who else writes to these topics?",
        )  # fmt: skip
    else:
        yield ok("Dead letters", "none")


def _copies(cluster: ClusterMetadata) -> Iterator[Finding]:
    """A cluster that could keep copies of our topics, and does not."""
    single = [name for name in topics.ALL if any(len(p.replicas) < 2 for p in cluster.topics[name].partitions.values())]
    if single and len(cluster.brokers) >= _CLUSTER:
        yield warning(
            "Topics", f"{len(cluster.brokers)} brokers, one of which alone has a part of: {', '.join(single)}",
            "FOREWARN_KAFKA_REPLICATION=3 before topics are made; those that are there: kafka-reassign-partitions, or "
            "rpk topic alter-config NAME --set replication.factor=3",
        )  # fmt: skip


def _doors(settings: Settings) -> list[Door]:
    places = [f"kafka://{place.strip()}" for place in settings.kafka_bootstrap.split(",")]
    by, authority = "FOREWARN_KAFKA_BOOTSTRAP", "FOREWARN_KAFKA_CA_FILE"
    return [Door("Broker", url, urlsplit(url).hostname or "", by, authority) for url in places]


def _certificates(settings: Settings) -> Iterator[Finding]:
    if not settings.kafka_security_protocol.endswith("SSL"):
        return
    for door in _doors(settings):
        try:
            yield examine_tls(door, partial(_trust, settings))
        except OSError:
            return  # nobody is there: the broker's own check says so
        except ValueError as error:
            yield wrong("Broker: TLS", str(error), "the files must be PEM and readable by this user")
            return


def _trust(settings: Settings, compare_names: bool) -> ssl.SSLContext:
    """As librdkafka is told. Raises ValueError where a file cannot be used."""
    try:
        context = ssl.create_default_context(cafile=settings.kafka_ca_file)
        context.check_hostname = compare_names
        if settings.kafka_certificate_file is not None:
            context.load_cert_chain(settings.kafka_certificate_file, settings.kafka_key_file)
    except OSError as error:
        raise ValueError(f"FOREWARN_KAFKA_CA_FILE, …_CERTIFICATE_FILE or …_KEY_FILE cannot be used: {error}") from error
    return context


def _away(settings: Settings, errors: list[KafkaError]) -> Finding:
    address, protocol = settings.kafka_bootstrap, settings.kafka_security_protocol
    codes = {error.code() for error in errors}
    texts = " ".join(str(error).lower() for error in errors)
    if KafkaError._AUTHENTICATION in codes or "sasl" in texts:
        return wrong(
            "Broker", f"{address} refuses the user or the mechanism",
            "check FOREWARN_KAFKA_SASL_USERNAME, …_PASSWORD, …_MECHANISM and …_SECURITY_PROTOCOL",
        )  # fmt: skip
    if KafkaError._SSL in codes or "ssl" in texts:
        return wrong(
            "Broker", f"no TLS connection to {address}",
            "does it speak TLS on this port? FOREWARN_KAFKA_CA_FILE must hold the certificates that sign its own",
        )  # fmt: skip
    if KafkaError._RESOLVE in codes:
        return wrong("Broker", f"the name of {address} is not known", "check FOREWARN_KAFKA_BOOTSTRAP")
    if not protocol.endswith("SSL") and any(speaks_tls(door.url) for door in _doors(settings)):
        return wrong(
            "Broker", f"{address} speaks TLS, and was asked without",
            "set FOREWARN_KAFKA_SECURITY_PROTOCOL to SSL or SASL_SSL, and FOREWARN_KAFKA_CA_FILE",
        )  # fmt: skip
    if protocol == "PLAINTEXT" and "disconnected" in texts:
        return wrong(
            "Broker", f"{address} takes the connection and hangs up",
            "it may want a user (FOREWARN_KAFKA_SECURITY_PROTOCOL), or it is no Kafka broker",
        )  # fmt: skip
    return wrong(
        "Broker", f"nobody answers at {address}",
        "start it (`forewarn up`, Redpanda), or set FOREWARN_KAFKA_BOOTSTRAP to its address and port",
    )  # fmt: skip
