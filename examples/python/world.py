"""A fake CRM for `avhub plugin verify`: docs/connectors-testing.md tells what a world answers."""
import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOKEN = "a-token-of-the-test"
companies = {}


class World(BaseHTTPRequestHandler):
    def do_POST(self):
        if self.path != "/reset":
            return self.answer(405)
        base = self.body()["base"]
        companies.clear()
        self.answer(200, {"config": {"url": base + "/v1", "token": TOKEN}})

    def do_GET(self):
        if self.path == "/look":
            self.answer(200, companies)
        elif self.known():
            self.answer(200, [])

    def do_PUT(self):
        body = self.body()
        if self.known():
            companies[self.path] = body
            self.answer(200, body)

    def do_DELETE(self):
        if self.known():
            self.answer(404 if companies.pop(self.path, None) is None else 200)

    def known(self):
        if self.headers["Authorization"] == "Bearer " + TOKEN and self.path.startswith("/v1/companies"):
            return True
        self.answer(401)

    def body(self):
        return json.loads(self.rfile.read(int(self.headers["Content-Length"])))

    def answer(self, status, value=None):
        text = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *args):
        pass


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1]) if len(sys.argv) > 1 else 9000), World)
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()
