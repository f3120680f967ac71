"""The process: the handshake, the five calls, and the end. docs/protocol.md has the reasons."""
import base64
import concurrent.futures
import datetime
import json
import logging
import os
import signal
import sys
import threading
import time

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from . import connector_pb2 as pb
from . import log
from .batch import Batch, Event
from .schema import check_config, check_schema
from .verdict import Verdict

MESSAGE, STATE = 16 << 20, 64 << 10  # bytes
CALLS, KEYS = 32, 32  # threads that answer calls, and that work on keys
BUSY = 0.25  # seconds that a key waits for an earlier call that has not let go of it
CUT = 1  # seconds in which a deliver has to come back whose call was cut off
ORPHAN = 2  # seconds for what is in flight when the hub has gone
RETRY = pb.Verdict.KIND_RETRY
ORDERS = {"tenant": pb.ORDER_PER_TENANT, "subject": pb.ORDER_PER_SUBJECT, "total": pb.ORDER_TOTAL}
SETTLED = {pb.Verdict.KIND_APPLIED, pb.Verdict.KIND_SKIPPED, pb.Verdict.KIND_REJECT}
logger = logging.getLogger("avhub")


class Session:
    """A connector with the configuration that it was made with, and the batches that it works on."""

    def __init__(self, connector, secrets):
        self.connector, self.secrets, self.batches = connector, secrets, set()
        self.retired, self.closed = False, threading.Event()

    def close(self):
        try:
            getattr(self.connector, "close", lambda: None)()
        except Exception:
            logger.exception("closing the connector failed")
        self.closed.set()


class Server:
    """The service avhub.plugin.v1.Connector."""

    def __init__(self, make, about):
        self.make, self.about, self.schema = make, about, json.loads(about.config_schema)
        self.pool = concurrent.futures.ThreadPoolExecutor(KEYS)
        self.configuring = threading.Lock()  # one Configure or Drain at a time
        self.changed = threading.Condition()  # guards what follows
        self.session, self.busy = None, set()

    def describe(self, request, context):
        return self.about

    def configure(self, request, context):
        with self.configuring:
            found = set()
            try:
                config = json.loads(request.config or b"{}")
                problems = list(check_config(self.schema, config, found))
            except ValueError:
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
        left = context.time_remaining()
        left = 3600 if left is None else left
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
            batch.session.close()

    def retire(self, session):
        """No event is begun with the session any more; it is closed when the last one has ended."""
        with self.changed:
            session.retired = True
            last = not session.batches
        if last:
            session.close()

    def end(self, timeout):
        """Drains, for so many seconds; False if something is still running after that."""
        with self.configuring:
            with self.changed:
                session, self.session = self.session, None
            if session is None:
                return True
            self.retire(session)
            if session.closed.wait(timeout):
                return True
            with self.changed:
                batches = list(session.batches)
            for batch in batches:
                batch.cut()
            return session.closed.wait(CUT)

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
        except ValueError as e:
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
    return pb.Diagnostic(severity=pb.Diagnostic.SEVERITY_ERROR, path=log.reason(path), summary=log.reason(error))


def certificate():
    """A key and a certificate for this process alone: PEM, PEM and DER."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.utcnow()
    cert = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5)).not_valid_after(now + datetime.timedelta(days=3650))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    return (key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain),
            cert.public_bytes(serialization.Encoding.PEM), cert.public_bytes(serialization.Encoding.DER))


def service(name, **methods):
    return grpc.method_handlers_generic_handler(name, {
        method: grpc.unary_unary_rpc_method_handler(do, *wire) for method, (do, *wire) in methods.items()})


def health(request, context):
    if request not in (b"", b"\n\x06plugin"):  # the message HealthCheckRequest, with this service or none
        context.abort(grpc.StatusCode.NOT_FOUND, "there is no such service")
    return b"\x08\x01"  # the message HealthCheckResponse, with SERVING


def serve(make, *, name, version, summary, events, schema, order="tenant", **more):
    """Is the whole connector, until the hub ends it. more are other members of DescribeResponse."""
    if os.environ.get("AVHUB_PLUGIN") != "2f0d4b7c-connector":
        print(f"{name} {version}: {summary}.\nThis is a connector of avhub, which a hub starts: name it in the hub's\n"
              "configuration, below plugins, as command. `avhub plugin verify` tries it without a hub.", file=sys.stderr)
        sys.exit(2)
    if "1" not in os.environ.get("PLUGIN_PROTOCOL_VERSIONS", "").split(","):
        sys.exit("this connector speaks version 1 of the protocol, and the hub does not: update one of them")
    check_schema(schema)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # they come to all processes at once, and the hub still wants to drain
    log.begin()
    server = Server(make, pb.DescribeResponse(
        name=name, version=version, summary=summary, events=events, order=ORDERS[order],
        config_schema=json.dumps({"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}).encode(), **more))
    ending = threading.Event()
    key, cert, der = certificate()
    wire = grpc.server(concurrent.futures.ThreadPoolExecutor(CALLS), options=[
        ("grpc.max_receive_message_length", MESSAGE), ("grpc.max_send_message_length", MESSAGE)])
    calls = {call: (getattr(server, call.lower()), getattr(pb, call + "Request").FromString,
                    getattr(pb, call + "Response").SerializeToString)
             for call in ("Describe", "Configure", "Check", "Deliver", "Drain")}
    wire.add_generic_rpc_handlers([
        service("avhub.plugin.v1.Connector", **calls),
        service("grpc.health.v1.Health", Check=(health,)),
        service("plugin.GRPCController", Shutdown=(lambda request, context: ending.set() or b"",))])
    socket = os.path.join(os.environ["PLUGIN_UNIX_SOCKET_DIR"], "socket")
    wire.add_secure_port("unix:" + socket, grpc.ssl_server_credentials(
        [(key, cert)], os.environ["PLUGIN_CLIENT_CERT"].encode(), require_client_auth=True))
    wire.start()
    print(f"1|1|unix|{socket}|grpc|{base64.b64encode(der).decode().rstrip('=')}", flush=True)
    sys.stdout.reconfigure(line_buffering=True)  # what is printed from now on is logged

    def leash():
        while os.read(0, 4096):
            pass
        server.end(ORPHAN)
        os._exit(0)

    threading.Thread(target=leash, daemon=True).start()
    ending.wait()
    wire.stop(1).wait()
    os._exit(0)
