"""The broker key, from an SSM SecureString parameter. It never appears in a text, an error or a log."""

import json
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from closebell.adapters.aws_errors import FAILURES, code_of
from closebell.model.errors import ConfigurationError, StoreUnavailable

if TYPE_CHECKING:
    from mypy_boto3_ssm import SSMClient

VALUE_SHAPE = '{"key_id": "...", "secret_key": "..."}'


@dataclass(frozen=True, repr=False)
class BrokerKey:
    """The two halves of a broker key; its text shows neither."""

    key_id: str
    secret_key: str

    def __repr__(self) -> str:
        return "BrokerKey(***)"


def read_broker_key(parameter_name: str, client: "SSMClient") -> BrokerKey:
    """Read the key at run time.

    Raises
    ------
    ConfigurationError
        The parameter is missing, not encrypted, or holds something else; the message names the command that sets it.
    StoreUnavailable
        SSM was not reached or refused.
    """
    if not parameter_name:
        raise ConfigurationError("no name is set for the parameter that holds the broker key")
    mend = f"set it with: aws ssm put-parameter --overwrite --type SecureString --name {parameter_name} --value '{VALUE_SHAPE}'"
    # At DEBUG botocore writes every reply into the log, and this one is the key.
    logging.getLogger("botocore.parsers").setLevel(logging.INFO)
    try:
        parameter = client.get_parameter(Name=parameter_name, WithDecryption=True)["Parameter"]
    except FAILURES as error:
        if code_of(error) == "ParameterNotFound":
            raise ConfigurationError(f"SSM has no parameter {parameter_name}, which should hold the broker key; {mend}") from None
        raise StoreUnavailable(f"SSM parameter {parameter_name}: {code_of(error)}: {error}") from error
    if parameter.get("Type") != "SecureString":
        raise ConfigurationError(f"SSM parameter {parameter_name} is not encrypted; delete it, make a new key, and {mend}")
    try:
        value = json.loads(parameter.get("Value", ""))
    except ValueError:
        value = None
    if not isinstance(value, dict) or value.keys() != {"key_id", "secret_key"} or not all(map(_is_text, value.values())):
        raise ConfigurationError(f"SSM parameter {parameter_name} does not hold {VALUE_SHAPE}; {mend}")
    return BrokerKey(value["key_id"].strip(), value["secret_key"].strip())


def _is_text(half: object) -> bool:
    return isinstance(half, str) and bool(half.strip())
