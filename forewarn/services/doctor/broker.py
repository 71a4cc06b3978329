"""Mistakes between us and the broker: address, TLS, password, topics, partitions."""

from collections.abc import Iterator

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from forewarn.config.settings import Settings
from forewarn.services.doctor.finding import Finding, ok, unknown, warning, wrong
from forewarn.stores.log_address import reach
from forewarn.stores.log_ends import end_offsets
from forewarn.telemetry import topics

_SECONDS = 5.0


def examine_broker(settings: Settings) -> Iterator[Finding]:
    """Ask the broker once; what hangs on it is unknown where it does not answer."""
    heard: list[KafkaError] = []
    address = settings.kafka_bootstrap
    try:
        admin = AdminClient({**reach(address), "error_cb": heard.append, "log_level": 0})
        found = admin.list_topics(timeout=_SECONDS).topics
    except KafkaException as error:
        yield _away(settings, [error.args[0], *heard])
        yield unknown("Topics", "the broker does not answer")
        return
    yield ok("Broker", address)
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
    letters = sum(end_offsets(address, [topics.DEAD_LETTERS], _SECONDS).values())
    if letters:
        yield warning(
            "Dead letters", f"{letters} messages could not be read",
            "their headers say why (rpk topic consume dead_letters); who else writes to these topics?",
        )  # fmt: skip
    else:
        yield ok("Dead letters", "none")


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
    if protocol == "PLAINTEXT" and "disconnected" in texts:
        return wrong(
            "Broker", f"{address} takes the connection and hangs up",
            "it may want TLS (FOREWARN_KAFKA_SECURITY_PROTOCOL), or it is no Kafka broker",
        )  # fmt: skip
    return wrong(
        "Broker", f"nobody answers at {address}",
        "start it (`forewarn up`, Redpanda), or set FOREWARN_KAFKA_BOOTSTRAP to its address and port",
    )  # fmt: skip
