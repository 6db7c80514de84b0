"""A template of one function and one table, and how to look at the processes of a running stack."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

TEMPLATE = """
AWSTemplateFormatVersion: "2010-09-09"
Transform: AWS::Serverless-2016-10-31
Parameters:
  Greeting: {Type: String, Default: hello}
Resources:
  Table:
    Type: AWS::DynamoDB::Table
    Properties:
      BillingMode: PAY_PER_REQUEST
      AttributeDefinitions: [{AttributeName: pk, AttributeType: S}]
      KeySchema: [{AttributeName: pk, KeyType: HASH}]
  Layer:
    Type: AWS::Serverless::LayerVersion
    Properties: {ContentUri: layer}
  Greet:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: functions/greet
      Handler: handler.handler
      Runtime: python3.13
      Architectures: [arm64]
      Timeout: 20
      Layers: [!Ref Layer]
      Environment: {Variables: {GREETING: !Ref Greeting, TABLE: !Ref Table}}
Outputs:
  TableName: {Value: !Ref Table}
"""

HANDLER = """
import os
import sys
import boto3
import from_the_layer
table = boto3.resource("dynamodb").Table(os.environ["TABLE"])
def handler(event, context):
    print("greeting", event)
    if "raise" in event:
        raise ValueError(event["raise"])
    if "hang" in event:
        import time
        time.sleep(event["hang"])
    if "pk" in event:
        table.put_item(Item=event)
    if "import" in event:
        __import__(event["import"])
    return {"said": os.environ["GREETING"], "layer": from_the_layer.VALUE, "pid": os.getpid(), "python": sys.version_info[:2]}
"""


def write_project(folder: Path) -> Path:
    """The template's path; its function and layer lie beside it."""
    files = {"functions/greet/handler.py": HANDLER, "layer/from_the_layer.py": "VALUE = 7\n", "template.yaml": TEMPLATE}
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder / "template.yaml"


def descendants(pid: int) -> set[int]:
    """Every process below `pid`."""
    table = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    parents = {int(child): int(parent) for child, parent in map(str.split, table.splitlines())}
    found: set[int] = set()
    grew = True
    while grew:
        grew = bool(new := {child for child, parent in parents.items() if parent in {pid, *found}} - found)
        found |= new
    return found


def alive(pids: set[int]) -> set[int]:
    """Those of `pids` that still run (a zombie does not)."""
    table = subprocess.run(["ps", "-eo", "pid=,stat="], capture_output=True, text=True, check=True).stdout
    running = {int(pid) for pid, state in map(str.split, table.splitlines()) if not state.startswith("Z")}
    return pids & running


def eventually(condition: Callable[[], bool], timeout_s: float) -> bool:
    """Whether `condition` becomes true in time."""
    deadline = time.monotonic() + timeout_s
    between = threading.Event()  # never set: waiting for it is looking again a little later
    while not condition():
        if time.monotonic() > deadline:
            return False
        between.wait(0.05)
    return True


def python(code: str, *arguments: str) -> "subprocess.Popen[str]":
    """A Python process of our own that runs `code`, with its output on a pipe."""
    return subprocess.Popen([sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, text=True)
