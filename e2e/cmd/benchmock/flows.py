"""Writes a file of flows for mitmproxy: of each line of the input, the target, a tab and the answer."""
import sys, time
from mitmproxy import connection, http, io

file, host = sys.argv[1:]
with open(file, "wb") as out:
    writer = io.FlowWriter(out)
    for line in sys.stdin:
        target, body = line.rstrip("\n").split("\t", 1)
        flow = http.HTTPFlow(connection.Client(("127.0.0.1", 1), ("127.0.0.1", 2), time.time()), connection.Server((host, 80)))
        flow.request = http.Request.make("GET", f"http://{host}{target}", headers={"accept": "application/json"})
        flow.response = http.Response.make(200, body, {"content-type": "application/json"})
        writer.add(flow)
