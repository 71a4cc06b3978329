"""A rule as a team writes it: a condition, how long it must hold, how severe it is, who is told."""

from datetime import timedelta
from functools import cached_property
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from forewarn.alerting.durations import Duration
from forewarn.alerting.matching import BUILT_IN, MODE_OF_RULES
from forewarn.alerting.policy import Policy, RouteSpec
from forewarn.alerting.rules.condition import Condition
from forewarn.alerting.rules.syntax import parse

MOST_RULES = 200


def _new_labels(labels: dict[str, str]) -> dict[str, str]:
    taken = set(labels) & set(BUILT_IN)
    if taken:
        raise ValueError(f"'{min(taken)}' is a label of Forewarn's own: choose another name")
    return labels


def _readable(texts: dict[str, str]) -> dict[str, str]:
    for name, text in texts.items():
        if len(text) > 1000 or any(c < " " and c not in "\n\t" for c in name + text):
            raise ValueError(f"'{name}' must be a text of at most 1,000 characters without control characters")
    return texts


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Rule(_Part):
    """name: what people read. hold: `for`. keep: `keep_firing_for`, so that what flaps is one message."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._/-]{0,99}$")
    when: Annotated[str, AfterValidator(lambda text: parse(text) and text)]
    hold: Duration | None = Field(None, alias="for")
    keep: Duration = Field(timedelta(minutes=1), alias="keep_firing_for")
    severity: Literal["info", "warning", "critical"] = "warning"
    labels: Annotated[dict[str, str], AfterValidator(_new_labels), AfterValidator(_readable)] = Field(
        default_factory=dict
    )
    annotations: Annotated[dict[str, str], AfterValidator(_readable)] = Field(default_factory=dict)
    channels: list[str] | None = None  # none: those of the routes

    @model_validator(mode="after")
    def _held_once(self) -> Self:
        if self.hold is not None and self.condition.tree.for_seconds is not None:
            raise ValueError("'for' is said twice: in the condition and beside it")
        return self

    @cached_property
    def condition(self) -> Condition:
        """The condition, parsed."""
        return Condition.of(self.when)

    @property
    def held_for(self) -> timedelta:
        """How long the condition must hold before it is told."""
        return self.hold or timedelta(seconds=self.condition.tree.for_seconds or 0.0)


class RulesFile(_Part):
    """`rules:` of a file."""

    rules: list[Rule] = Field(max_length=MOST_RULES)


def with_rules(policy: Policy, rules: tuple[Rule, ...]) -> Policy:
    """The policy with a route in front for each rule that names its channels."""
    own = [
        RouteSpec(name=f"rule {rule.name}", match={"mode": MODE_OF_RULES, "rule": rule.name}, channels=rule.channels)
        for rule in rules
        if rule.channels is not None
    ]
    if not own:
        return policy
    route = policy.route.model_copy(update={"routes": [*own, *policy.route.routes]})
    return policy.model_copy(update={"route": route})
