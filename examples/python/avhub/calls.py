"""The five calls of the service avhub.plugin.v1.Connector. docs/protocol.md has the reasons."""
import concurrent.futures
import json
import logging
import threading
import time

import grpc

from . import connector_pb2 as pb
from . import log
from .batch import Batch, Event
from .schema import check_config
from .verdict import Verdict

KEYS = 32  # threads that work on keys
STATE = 64 << 10  # bytes that are kept for a key
BUSY = 0.25  # seconds that a key waits for an earlier call that has not let go of it
LONGEST = 24 * 3600  # seconds for a call
CUT = 1  # seconds in which a deliver has to come back whose call was cut off
RETRY = pb.Verdict.KIND_RETRY
SETTLED = {pb.Verdict.KIND_APPLIED, pb.Verdict.KIND_SKIPPED, pb.Verdict.KIND_REJECT}
logger = logging.getLogger("avhub")


class Session:
    """A connector with the configuration that it was made with, and the batches that it works on."""

    def __init__(self, connector, secrets):
        self.connector, self.secrets, self.batches, self.retired = connector, secrets, set(), False

    def close(self):
        try:
            getattr(self.connector, "close", lambda: None)()
        except Exception:
            logger.exception("closing the connector failed")


class Calls:
    """What the hub asks. Any thread may call it."""

    def __init__(self, make, about):
        self.make, self.about, self.schema = make, about, json.loads(about.config_schema)
        self.pool = concurrent.futures.ThreadPoolExecutor(KEYS)
        self.configuring = threading.Lock()  # one Configure or Drain at a time
        self.changed = threading.Condition()  # guards what follows
        self.session, self.open, self.busy = None, set(), set()  # in force; not closed yet; keys at work

    def describe(self, request, context):
        return self.about

    def configure(self, request, context):
        with self.configuring:
            found = set()
            try:
                config = json.loads(request.config or b"{}")
                problems = list(check_config(self.schema, config, found))
            except (ValueError, RecursionError):
                problems = [("", "the configuration is not valid JSON")]
            old = self.session
            log.secrets = {s for s in found | (old.secrets if old else set()) if len(s) >= 4}
            if problems or request.dry_run:
                return pb.ConfigureResponse(diagnostics=[diagnostic(text, path) for path, text in problems])
            try:
                session = Session(self.make(config), found)
            except Exception as e:
                return pb.ConfigureResponse(diagnostics=[diagnostic(e)])
            with self.changed:
                self.session = session
                self.open.add(session)
            if old:
                self.retire(old)
            return pb.ConfigureResponse()

    def check(self, request, context):
        batch = self.enter(context, pb.DeliverRequest())
        try:
            getattr(batch.session.connector, "check", lambda http: None)(batch.http)
        except Exception as e:
            return pb.CheckResponse(diagnostics=[diagnostic(e)])
        finally:
            self.leave(batch)
        return pb.CheckResponse()

    def deliver(self, request, context):
        batch = self.enter(context, request)
        if not batch.lanes:
            self.leave(batch)
        for key, events in batch.lanes.items():
            self.pool.submit(self.lane, batch, key, events)
        batch.over.wait(batch.http.until - time.monotonic())
        if not batch.done.is_set():  # those in flight get a moment to come back with a verdict of their own
            batch.cut()
            batch.done.wait(batch.reserve / 4)
        return batch.answer()

    def drain(self, request, context):
        if not self.end(request.timeout_ms / 1000):
            context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "deliver is still running although its call was cut off")
        return pb.DrainResponse()

    def enter(self, context, request):
        """A batch of the session in force, which is kept open until it leaves."""
        left = context.time_remaining()  # without a deadline a very large number or, of late, None
        left = LONGEST if left is None else min(left, LONGEST)
        reserve = min(max(left / 10, 0.5), 1, left / 2)  # for the answer, which must leave before the deadline
        batch = Batch(request, time.monotonic() + left - reserve, reserve)
        with self.changed:
            batch.session = self.session
            if batch.session:
                batch.session.batches.add(batch)
        if not batch.session:
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not configured, or drained: call Configure first")
        if not context.add_callback(batch.cut):  # called when the call is cancelled, and when it has ended
            batch.cut()
        return batch

    def leave(self, batch):
        """No lane of the batch is at work any more."""
        batch.done.set()
        batch.over.set()
        with self.changed:
            batch.session.batches.discard(batch)
            last = batch.session.retired and not batch.session.batches
        if last:
            self.close(batch.session)

    def retire(self, session):
        """No event is begun with the session any more; it is closed when the last one has ended."""
        with self.changed:
            session.retired = True
            last = not session.batches
        if last:
            self.close(session)

    def end(self, timeout):
        """Drains, for so many seconds; False if something is still running after that."""
        with self.configuring:
            with self.changed:
                session, self.session = self.session, None
            if session:
                self.retire(session)
            with self.changed:
                if self.changed.wait_for(lambda: not self.open, timeout):
                    return True
                for batch in [batch for session in self.open for batch in session.batches]:
                    batch.cut()
                return self.changed.wait_for(lambda: not self.open, CUT)

    def close(self, session):
        session.close()
        with self.changed:
            self.open.discard(session)
            self.changed.notify_all()

    def lane(self, batch, key, events):
        """Works on the events of one key, until one of them is not settled."""
        try:
            with self.changed:
                free = self.changed.wait_for(lambda: key not in self.busy, BUSY)
                if free:
                    self.busy.add(key)
            if not free:
                batch.settle(events[0], RETRY, "deliver ignored the end of an earlier call and is still running")
                return
            try:
                saved = batch.states.get(key, b"")
                for i in events:
                    if batch.session.retired or not batch.start(i):
                        break
                    kind, saved = self.one(batch, i, saved)
                    if kind not in SETTLED:
                        break
            finally:
                with self.changed:
                    self.busy.discard(key)
                    self.changed.notify_all()
        except Exception:  # nobody else would hear of it
            logger.exception("working on a key failed")
        finally:
            if batch.lane_ended():
                self.leave(batch)

    def one(self, batch, i, saved):
        """Delivers one event. Returns the verdict, and the state for the next event of the key."""
        try:
            state = json.loads(saved or b"{}")
            before, kind, error = encode(state), pb.Verdict.KIND_APPLIED, None
            if not isinstance(state, dict):
                raise ValueError("it is not a JSON object")
        except (ValueError, RecursionError) as e:
            batch.settle(i, RETRY, f"reading the state of this key, which another version may have written: {e}")
            return RETRY, saved
        try:
            batch.session.connector.deliver(Event(batch.events[i]), state, batch.http)
        except Verdict as e:
            kind, error = e.kind, e
        except Exception as e:  # it may have failed halfway, so its state is forgotten
            logger.exception("deliver failed on %s at position %d", batch.events[i].type, batch.events[i].position)
            batch.settle(i, RETRY, f"{type(e).__name__}: {e}")
            return RETRY, saved
        try:
            after = encode(state)
            if len(after) > STATE:
                raise ValueError(f"it is {len(after)} bytes, and at most {STATE} are kept")
        except (TypeError, ValueError) as e:  # and would be the next time, too
            kind = kind if kind == pb.Verdict.KIND_HALT else pb.Verdict.KIND_REJECT
            batch.settle(i, kind, f"saving the state of this key: {e}")
            return kind, saved
        if after == before:
            batch.settle(i, kind, error)
            return kind, saved
        saved = after if state else b""
        batch.settle(i, kind, error, saved)
        return kind, saved


def encode(state):
    return json.dumps(state, allow_nan=False).encode()


def diagnostic(error, path=""):
    return pb.Diagnostic(severity=pb.Diagnostic.SEVERITY_ERROR, path=log.wire(path), summary=log.reason(error))
