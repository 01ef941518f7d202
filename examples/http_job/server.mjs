// A job in another language: an application that learns over HTTP when it is master.
// node server.mjs [PORT]

import { createServer } from "node:http";

const port = Number(process.argv[2] ?? 8099);
let timer = null;
let newest = 0; // the highest term seen; if it must outlive this process, keep it in a database

function start({ lockName, term }) {
  let ticks = 0;
  timer = setInterval(() => console.log(`${lockName}: tick ${++ticks} in term ${term}`), 200);
  console.log(`${lockName}: started in term ${term}`);
}

function stop({ lockName, term }) {
  clearInterval(timer);
  timer = null;
  console.log(`${lockName}: stopped in term ${term}`);
}

// Both are idempotent: if an answer is lost, the call is repeated.
const hooks = {
  "/start": (payload) => timer === null && start(payload),
  "/stop": (payload) => timer !== null && stop(payload),
};

// A smaller term comes from a former master that was frozen and has not noticed it: refuse the call.
function handle(hook, payload) {
  if (payload.term < newest) return [409, `term ${payload.term} is over: term ${newest} was seen\n`];
  if (payload.term > newest && timer !== null) stop({ ...payload, term: newest }); // its stop call never came
  newest = payload.term;
  hook(payload);
  return [204];
}

const server = createServer(async (request, response) => {
  if (request.method === "GET" && request.url === "/running") {
    const isRunning = timer !== null && request.headers["x-fencing-token"] === String(newest);
    return response.writeHead(isRunning ? 204 : 404).end(); // after a restart: 404, and /start is called again
  }
  const hook = request.method === "POST" && hooks[request.url];
  if (!hook) return response.writeHead(404).end();
  let body = "";
  for await (const part of request) body += part;
  const [status, message] = handle(hook, JSON.parse(body));
  if (status === 409) console.log(`refused: ${message.trim()}`);
  response.writeHead(status).end(message);
});

server.listen(port, "127.0.0.1", () => console.log(`listening on ${port}`));
