"""What the template makes, made for one test."""

from uuid import uuid4

from boto3.session import Session

from closebell.adapters import aws_clients
from closebell.adapters.dynamodb import DynamoJournal
from closebell.model.record import Table

TABLES: tuple[Table, ...] = ("journal", "book", "control")


def create_tables(session: Session, prefix: str) -> dict[Table, str]:
    """The three tables of the template under names of their own."""
    client = aws_clients.dynamodb(session)
    names = {table: f"{prefix}-{table}" for table in TABLES}
    for name in names.values():
        client.create_table(
            TableName=name, BillingMode="PAY_PER_REQUEST",
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
            AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}, {"AttributeName": "sk", "AttributeType": "S"}],
        )
    return names


def dynamo_journal(session: Session) -> DynamoJournal:
    """A journal on tables of its own."""
    return DynamoJournal(create_tables(session, uuid4().hex[:8]), aws_clients.dynamodb(session))
