"""boto3 clients with timeouts, and with botocore's own retries only where a repeat changes nothing.

botocore repeats a write whose answer was lost. Repeated, a conditional write meets its own first try and looks like a lost race,
and a mail goes out twice. So DynamoDB, SNS and SES are asked once; their adapters know which repeats are safe. boto3 takes the
address from `AWS_ENDPOINT_URL` when that is set.
"""

from typing import TYPE_CHECKING, Any

from boto3.session import Session
from botocore.config import Config

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sesv2 import SESV2Client
    from mypy_boto3_sns import SNSClient
    from mypy_boto3_ssm import SSMClient

ONCE = Config(connect_timeout=2, read_timeout=5, retries={"total_max_attempts": 1, "mode": "standard"}, max_pool_connections=20)
REPEATABLE = Config(connect_timeout=2, read_timeout=10, retries={"total_max_attempts": 3, "mode": "standard"})


def dynamodb(session: Session | None = None) -> "DynamoDBClient":
    """The client for `DynamoJournal`."""
    return (session or Session()).client("dynamodb", config=ONCE)


def s3(session: Session | None = None) -> "S3Client":
    """The client for `S3Archive`."""
    return (session or Session()).client("s3", config=REPEATABLE)


def sesv2(session: Session | None = None) -> "SESV2Client":
    """The client for `SesMailer`."""
    return (session or Session()).client("sesv2", config=ONCE)


def sns(session: Session | None = None) -> "SNSClient":
    """The client for `SnsNotifier`."""
    return (session or Session()).client("sns", config=ONCE)


def ssm(session: Session | None = None) -> "SSMClient":
    """The client for `read_broker_key`."""
    return (session or Session()).client("ssm", config=REPEATABLE)


def step_functions(session: Session | None = None) -> Any:
    """The client for `StepFunctionsSweep`."""
    return (session or Session()).client("stepfunctions", config=REPEATABLE)
