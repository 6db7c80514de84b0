"""What every value and every stored record has in common.

A `Value` is frozen and refuses unknown fields. A `Record` is a value that the journal stores: it knows the `Key` under
which it lies, so that no caller spells a key twice.
"""

from abc import abstractmethod
from typing import ClassVar, Literal, NamedTuple

from pydantic import AwareDatetime, BaseModel, ConfigDict

Table = Literal["journal", "book", "control"]

Instant = AwareDatetime
"""An aware UTC instant; fields of this type end in `_at` (or are called `as_of`)."""


class Key(NamedTuple):
    """Where a record lies: one of the three tables, its partition and its sort key."""

    table: Table
    partition: str
    sort: str


class Value(BaseModel):
    """A frozen value; unknown fields are refused so that a typo never passes for a default."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", ser_json_inf_nan="strings", ser_json_bytes="base64", val_json_bytes="base64"
    )


class Record(Value):
    """A value the journal stores under `key`. `kind` names its class in the stored item."""

    kind: ClassVar[str]
    schema_version: Literal[1] = 1

    @property
    @abstractmethod
    def key(self) -> Key:
        """The record's place in the tables; equal for equal facts, so that a repeated write is seen as one."""
