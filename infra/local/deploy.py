"""Deploys `template.yaml` to local AWS as CloudFormation does: create or update the stack, wait, say what failed."""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from botocore.exceptions import ClientError

from infra.local import package
from infra.local.aws import LocalAws

ARTIFACTS = "closebell-artifacts"
TIMEOUT_S = 120.0
_BODY_BYTES_MAX = 51_200  # CloudFormation's limit for a template sent inline


class DeployFailed(Exception):
    """The stack is not as the template says; the message names the resources and CloudFormation's reasons."""


class Deployment(NamedTuple):
    """A deployed stack: its outputs, the physical id of each logical id, and whether this deployment changed it."""

    outputs: Mapping[str, str]
    physical_ids: Mapping[str, str]
    changed: bool


def deploy(aws: LocalAws, stack: str, template_path: Path, parameters: Mapping[str, str], cache: Path) -> Deployment:
    """Build, upload and deploy; durable when it returns.

    Raises PackageFailed when something cannot be built and DeployFailed when a resource could not be made.
    """
    template = package.read_template(template_path)
    zips = package.build(template, template_path.parent, cache)
    s3 = aws.client("s3")
    _ensure_bucket(s3)
    body = json.dumps(package.upload(template, zips, ARTIFACTS, s3))
    cloudformation = aws.client("cloudformation")
    request: dict[str, Any] = {
        "StackName": stack,
        "Parameters": [{"ParameterKey": key, "ParameterValue": value} for key, value in sorted(parameters.items())],
        "Capabilities": ["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"],
        **_template_argument(s3, body, aws.endpoint_url),
    }
    status = _status(cloudformation, stack)
    if status in {"ROLLBACK_COMPLETE", "CREATE_FAILED", "ROLLBACK_FAILED", "REVIEW_IN_PROGRESS"}:
        cloudformation.delete_stack(StackName=stack)
        _wait(cloudformation, stack)
        status = None
    changed = _apply(cloudformation, request, exists=status is not None)
    if changed:
        aws.checkpoint()
    return _describe(cloudformation, stack, changed)


def _ensure_bucket(s3: Any) -> None:
    try:
        s3.head_bucket(Bucket=ARTIFACTS)
    except ClientError:
        s3.create_bucket(Bucket=ARTIFACTS)


def _template_argument(s3: Any, body: str, endpoint_url: str) -> dict[str, str]:
    if len(body.encode()) <= _BODY_BYTES_MAX:
        return {"TemplateBody": body}
    s3.put_object(Bucket=ARTIFACTS, Key="template.json", Body=body.encode())
    return {"TemplateURL": f"{endpoint_url}/{ARTIFACTS}/template.json"}


def _apply(cloudformation: Any, request: dict[str, Any], *, exists: bool) -> bool:
    """Create or update and wait; False when the stack already was as the template says."""
    stack = request["StackName"]
    try:
        if exists:
            cloudformation.update_stack(**request)
        else:
            cloudformation.create_stack(**request, OnFailure="DO_NOTHING")
    except ClientError as error:
        if "No updates are to be performed" in str(error):
            return False
        raise DeployFailed(f"CloudFormation refuses the template: {error.response['Error']['Message']}") from error
    status = _wait(cloudformation, stack)
    if status not in {"CREATE_COMPLETE", "UPDATE_COMPLETE"}:
        raise DeployFailed(f"stack {stack} is {status}:\n{_failures(cloudformation, stack)}")
    return True


def _status(cloudformation: Any, stack: str) -> str | None:
    """The stack's status; None when there is no such stack."""
    try:
        status: str = cloudformation.describe_stacks(StackName=stack)["Stacks"][0]["StackStatus"]
    except ClientError as error:
        if "does not exist" in str(error):
            return None
        raise
    return None if status == "DELETE_COMPLETE" else status


def _wait(cloudformation: Any, stack: str) -> str | None:
    deadline = time.monotonic() + TIMEOUT_S
    while (status := _status(cloudformation, stack)) is not None and status.endswith("IN_PROGRESS"):
        if time.monotonic() > deadline:
            raise DeployFailed(f"stack {stack} is still {status} after {TIMEOUT_S:.0f} s")
        time.sleep(0.05)
    return status


def _failures(cloudformation: Any, stack: str) -> str:
    """The resources that failed and why, oldest first."""
    events = cloudformation.describe_stack_events(StackName=stack)["StackEvents"]
    lines = [
        f"  {event['LogicalResourceId']} ({event['ResourceType']}): {event.get('ResourceStatusReason', event['ResourceStatus'])}"
        for event in reversed(events)
        if event["ResourceStatus"].endswith("FAILED")
    ]
    return "\n".join(dict.fromkeys(lines)) or "  CloudFormation gives no reason"


def _describe(cloudformation: Any, stack: str, changed: bool) -> Deployment:
    described = cloudformation.describe_stacks(StackName=stack)["Stacks"][0]
    pages = cloudformation.get_paginator("list_stack_resources").paginate(StackName=stack)
    resources = [summary for page in pages for summary in page["StackResourceSummaries"]]
    return Deployment(
        outputs={output["OutputKey"]: output["OutputValue"] for output in described.get("Outputs", [])},
        physical_ids={summary["LogicalResourceId"]: summary["PhysicalResourceId"] for summary in resources},
        changed=changed,
    )
