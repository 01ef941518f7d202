// A job in another language: an application that is told over HTTP when it is master.
// node server.mjs [PORT]

import { createServer } from "node:http";

const port = Number(process.argv[2] ?? 8099);
let ticking = null;

function start({ lockName, term }) {
  let beats = 0;
  ticking = setInterval(() => console.log(`${lockName}: tick ${++beats} in term ${term}`), 200);
  console.log(`${lockName}: started in term ${term}`);
}

function stop({ lockName, term }) {
  clearInterval(ticking);
  ticking = null;
  console.log(`${lockName}: stopped in term ${term}`);
}

// Asked twice, both do no harm: an answer can be lost on its way, and the question is then asked again.
const hooks = {
  "/start": (told) => ticking === null && start(told),
  "/stop": (told) => ticking !== null && stop(told),
};

const server = createServer(async (request, response) => {
  const hook = request.method === "POST" && hooks[request.url];
  if (!hook) return response.writeHead(404).end();
  let body = "";
  for await (const part of request) body += part;
  hook(JSON.parse(body));
  response.writeHead(204).end();
});

server.listen(port, "127.0.0.1", () => console.log(`listens on ${port}`));
