// Node.js reads proxy variables by itself from 22.21 and 24 on. Before, an
// application brings an agent, which does what stands here.
import https from 'node:https';
import http from 'node:http';
import tls from 'node:tls';

const url = new URL(process.argv[2]);
const [major, minor] = process.versions.node.split('.').map(Number);
const reads = major >= 24 || (major === 22 && minor >= 21);
const direct = (process.env.NO_PROXY ?? '').split(',').includes(url.hostname);

function show(options) {
  https.get(url, options, (res) => res.pipe(process.stdout)).on('error', fail);
}

function fail(err) {
  console.error(err.message);
  process.exit(1);
}

if (reads || direct) {
  show({});
} else {
  const proxy = new URL(process.env.HTTPS_PROXY);
  http.request({ host: proxy.hostname, port: proxy.port, method: 'CONNECT', path: `${url.hostname}:443` })
    .on('connect', (_, socket) => show({ defaultPort: 443, createConnection: () => tls.connect({ socket, servername: url.hostname }) }))
    .on('error', fail)
    .end();
}
