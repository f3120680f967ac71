"""The process of a connector: the handshake, the server, and the end. docs/protocol.md has the reasons."""
import base64
import concurrent.futures
import datetime
import json
import os
import signal
import sys
import threading

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from . import connector_pb2 as pb
from . import log
from .calls import Calls
from .schema import check_schema

MESSAGE = 16 << 20  # bytes
THREADS = 32  # for calls: the hub has at most a dozen under way, and asks for signs of life beside them
ORPHAN = 2  # seconds for what is in flight when the hub has gone
ORDERS = {"tenant": pb.ORDER_PER_TENANT, "subject": pb.ORDER_PER_SUBJECT, "total": pb.ORDER_TOTAL}


def certificate():
    """A key and a certificate for this process alone: PEM, PEM and DER."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.timezone.utc)
    cert = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5)).not_valid_after(now + datetime.timedelta(days=3650))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), False)
        .sign(key, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    return (key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain),
            cert.public_bytes(serialization.Encoding.PEM), cert.public_bytes(serialization.Encoding.DER))


def service(name, **methods):
    """Each method is a function and, where it does not work on bytes, what decodes and encodes messages."""
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
    calls = Calls(make, pb.DescribeResponse(
        name=name, version=version, summary=summary, events=events, order=ORDERS[order],
        config_schema=json.dumps({"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}).encode(), **more))
    ending = threading.Event()
    key, cert, der = certificate()
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(THREADS), options=[
        ("grpc.max_receive_message_length", MESSAGE), ("grpc.max_send_message_length", MESSAGE)])
    five = {call: (getattr(calls, call.lower()), getattr(pb, call + "Request").FromString,
                   getattr(pb, call + "Response").SerializeToString)
            for call in ("Describe", "Configure", "Check", "Deliver", "Drain")}
    server.add_generic_rpc_handlers([
        service("avhub.plugin.v1.Connector", **five),
        service("grpc.health.v1.Health", Check=(health,)),
        service("plugin.GRPCController", Shutdown=(lambda request, context: ending.set() or b"",))])
    socket = os.path.join(os.environ["PLUGIN_UNIX_SOCKET_DIR"], "socket")
    server.add_secure_port("unix:" + socket, grpc.ssl_server_credentials(
        [(key, cert)], os.environ["PLUGIN_CLIENT_CERT"].encode(), require_client_auth=True))
    server.start()
    print(f"1|1|unix|{socket}|grpc|{base64.b64encode(der).decode().rstrip('=')}", flush=True)
    sys.stdout.reconfigure(line_buffering=True)  # what is printed from now on is logged

    def leash():
        while os.read(0, 4096):
            pass
        calls.end(ORPHAN)
        os._exit(0)

    threading.Thread(target=leash, daemon=True).start()
    ending.wait()
    server.stop(1).wait()
    os._exit(0)
