"""A connector's side of the hub's protocol. Copy this folder beside a connector of your own.

    avhub.serve(Connector, name=…, version=…, summary=…, events=[…], schema={…})

Connector(config) takes a configuration that the schema accepts; to raise ValueError is to refuse it.
deliver(event, state, http) applies one event: to return is APPLIED, the exceptions of verdict.py are the
other verdicts, and any other exception is RETRY. state is a dict that the hub keeps for the event's key.
Several keys are worked on at once, each by a thread. check(http) and close() may be left out.
"""

from .process import serve
from .verdict import Again, Halt, Reject, Retry, Skip

__all__ = ["serve", "Again", "Halt", "Reject", "Retry", "Skip"]
