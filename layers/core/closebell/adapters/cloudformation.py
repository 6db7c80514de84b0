"""The names of a deployed stack's tables, bucket and topic, from its outputs."""

from boto3.session import Session
from botocore.exceptions import BotoCoreError, ClientError

from closebell.adapters.aws_clients import REPEATABLE
from closebell.model.errors import ConfigurationError


def stack_outputs(name: str, session: Session | None = None) -> dict[str, str]:
    """A stack's outputs by name. Raises ConfigurationError when the stack cannot be read."""
    try:
        client = (session or Session()).client("cloudformation", config=REPEATABLE)
        stacks = client.describe_stacks(StackName=name)["Stacks"]
    except (ClientError, BotoCoreError) as error:
        raise ConfigurationError(
            f"the stack {name!r} cannot be read: {error}. Is it deployed, and is this its account and region?"
        ) from error
    return {output["OutputKey"]: output["OutputValue"] for output in stacks[0].get("Outputs", [])}
