"""How every client reaches the broker: its address, and what the settings say of TLS and SASL."""

from typing import Any

from forewarn.config.settings import Settings


def reach(bootstrap: str) -> dict[str, Any]:
    """librdkafka's settings for a broker at this address, read from the environment's FOREWARN_KAFKA_*."""
    settings = Settings()
    password = settings.kafka_sasl_password
    optional = {
        "sasl.mechanism": settings.kafka_sasl_mechanism,
        "sasl.username": settings.kafka_sasl_username,
        "sasl.password": password.get_secret_value() if password else None,
        "ssl.ca.location": settings.kafka_ca_file,
        "ssl.certificate.location": settings.kafka_certificate_file,
        "ssl.key.location": settings.kafka_key_file,
    }
    return {
        "bootstrap.servers": bootstrap,
        "security.protocol": settings.kafka_security_protocol,
        **{name: str(value) for name, value in optional.items() if value is not None},
    }
