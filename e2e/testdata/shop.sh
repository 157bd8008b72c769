# Sourced by the hidden commands of pages in docs/: a small application on port 8080.
python3 - > server.log 2>&1 <<'EOF' &
import http.server, json

class Shop(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'

    def do_GET(self):
        broken = self.path == '/carts/13'
        body = json.dumps({'error': 'no stock'} if broken else {'cart': self.path.split('/')[-1], 'items': [{'name': 'tea'}]}).encode() + b'\n'
        self.send_response(500 if broken else 200)
        self.send_header('Content-Type', 'application/json')
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)

http.server.ThreadingHTTPServer(('127.0.0.1', 8080), Shop).serve_forever()
EOF
until curl -s -o server.up http://127.0.0.1:8080/; do sleep 0.1; done
