// A job in another language: an application that is told over HTTP when it is master.
// node server.mjs [PORT]

import { createServer } from "node:http";

const port = Number(process.argv[2] ?? 8099);
let timer = null;
let newest = 0; // the highest term that was seen; where it must outlive this process, keep it in a database

function start({ lockName, term }) {
  let beats = 0;
  timer = setInterval(() => console.log(`${lockName}: tick ${++beats} in term ${term}`), 200);
  console.log(`${lockName}: started in term ${term}`);
}

function stop({ lockName, term }) {
  clearInterval(timer);
  timer = null;
  console.log(`${lockName}: stopped in term ${term}`);
}

// Asked twice, both do no harm: an answer can be lost on its way, and the question is then asked again.
const hooks = {
  "/start": (payload) => timer === null && start(payload),
  "/stop": (payload) => timer !== null && stop(payload),
};

// A smaller term is that of a former master, which was frozen and has not noticed: it changes nothing any more.
function handle(hook, payload) {
  if (payload.term < newest) return [409, `term ${payload.term} is over: term ${newest} was seen\n`];
  if (payload.term > newest && timer !== null) stop({ ...payload, term: newest }); // its own stop never came
  newest = payload.term;
  hook(payload);
  return [204];
}

const server = createServer(async (request, response) => {
  const hook = request.method === "POST" && hooks[request.url];
  if (!hook) return response.writeHead(404).end();
  let body = "";
  for await (const part of request) body += part;
  const [status, words] = handle(hook, JSON.parse(body));
  if (status === 409) console.log(`refused: ${words.trim()}`);
  response.writeHead(status).end(words);
});

server.listen(port, "127.0.0.1", () => console.log(`listens on ${port}`));
