// An agent of the application's own reads no proxy variable, in any version of Node.js.
import http from 'node:http';

http.get(process.argv[2], { agent: new http.Agent() }, (res) => res.pipe(process.stdout)).on('error', (err) => {
  console.error(err.message);
  process.exit(1);
});
