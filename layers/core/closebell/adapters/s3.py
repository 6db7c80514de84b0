"""The archive in S3: documents that are written once."""

from typing import TYPE_CHECKING

from closebell.adapters.aws_errors import FAILURES, Failure, Verdict, code_of, verdict_of
from closebell.model.errors import ConfigurationError, JournalConflict, StoreUnavailable

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


class S3Archive:
    """`ports.operations.Archive` in one bucket.

    Its role needs s3:ListBucket too: without it S3 calls an absent document forbidden, not absent.

    Raises
    ------
    ConfigurationError
        The bucket has no name.
    """

    def __init__(self, bucket: str, client: "S3Client") -> None:
        if not bucket:
            raise ConfigurationError("no name is set for the archive bucket")
        self._bucket = bucket
        self._client = client

    def put(self, name: str, content: bytes, content_type: str) -> None:
        try:
            self._client.put_object(Bucket=self._bucket, Key=name, Body=content, ContentType=content_type, IfNoneMatch="*")
            return
        except FAILURES as error:
            failure = error
        # Taken, or being written this moment; after a lost answer perhaps by ourselves. The content decides.
        if verdict_of(failure) is Verdict.REFUSED:
            raise self._unavailable(failure, f"write {name}") from failure
        archived = self.get(name)
        if archived is None:
            raise self._unavailable(failure, f"write {name}") from failure
        if archived != content:
            raise JournalConflict(f"{name} is archived already, with other content") from failure

    def get(self, name: str) -> bytes | None:
        try:
            return self._client.get_object(Bucket=self._bucket, Key=name)["Body"].read()
        except FAILURES as error:
            failure = error
        if code_of(failure) == "NoSuchKey":
            return None
        raise self._unavailable(failure, f"read {name}") from failure

    def _unavailable(self, failure: Failure, what: str) -> StoreUnavailable:
        if code_of(failure) == "NoSuchBucket":
            return StoreUnavailable(f"{what}: S3 has no bucket {self._bucket!r}: deploy the stack, or correct ARCHIVE_BUCKET")
        return StoreUnavailable(f"{what}: bucket {self._bucket!r}: {code_of(failure)}: {failure}")
