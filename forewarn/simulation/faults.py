"""What is broken at the moment: the knobs that failures turn and the physics reads."""

from dataclasses import dataclass


@dataclass(slots=True)
class Faults:
    """All zero: a healthy shop. Overlapping failures add up."""

    gateway_leak: float = 0.0  # leaked memory, in shares of the limit
    api_leak: float = 0.0
    payment_leak: float = 0.0
    worker_leak: float = 0.0
    cache_leak: float = 0.0
    api_connections: float = 0.0  # connections that never go back to their pool
    worker_connections: float = 0.0
    db_connections: float = 0.0  # sessions that other clients leave open
    gateway_sockets: float = 0.0  # file descriptors that are never closed
    disk: float = 0.0  # additional share of the disk
    worker_loss: float = 0.0  # share of the consumers that do not work
    queue_inflow: float = 0.0  # additional messages per second
    payment_delay: float = 0.0  # seconds that the payment provider takes longer
    db_slowdown: float = 0.0  # additional service times per query (1: twice as slow)
    cache_loss: float = 0.0  # share of the lookups that miss in addition, each with more work for the database
    gateway_errors: float = 0.0  # share of requests that fail on their own
    api_errors: float = 0.0
    payment_errors: float = 0.0
    demand: float = 0.0  # additional requests per second

    def clear(self) -> None:
        """Back to a healthy shop."""
        for name in self.__slots__:
            setattr(self, name, 0.0)
