"""A shop with logins and orders, which asks a service for prices. CHANGE names what this
build does otherwise."""
import http.server, json, os, sys, time, uuid
import requests

change = os.environ.get("CHANGE", "")
tokens, orders = set(), {}


class Shop(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def reply(self, status, body, **headers):
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("X-Shop", "2" if change == "header" else "1")
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def caller(self):
        if self.headers.get("Authorization", "")[7:] in tokens:
            return True
        self.reply(401, {"error": "log in first"})

    def price(self, item):
        return requests.get(os.environ["PRICES"] + "/prices/" + item).json()["cents"]

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")
        if self.path == "/login":
            token = uuid.uuid4().hex
            tokens.add(token)
            return self.reply(200, {"token": token, "user": body["user"]})
        if not self.caller():
            return
        order = {"id": str(uuid.uuid4()), "item": body["item"], "cents": self.price(body["item"]), "currency": "EUR"}
        if change == "field":
            del order["currency"]
        if change == "number":
            order["cents"] += 1
        if change == "call":
            requests.get(os.environ["PRICES"] + "/prices/gift")
        orders[order["id"]] = order
        self.reply(200 if change == "status" else 201, order, Location="/orders/" + order["id"])

    def do_GET(self):
        if change == "slow":
            time.sleep(0.03)
        if not self.caller():
            return
        order = orders.get(self.path.split("/")[-1])
        self.reply(200, {"id": order["id"], "item": order["item"]}) if order else self.reply(404, {"error": "no such order"})

    def log_message(self, *_):
        pass


http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Shop).serve_forever()
