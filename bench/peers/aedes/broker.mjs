// Aedes on 127.0.0.1 and the port it is given, all state in memory.

import { createServer } from "node:net";
import { Aedes } from "aedes";

const [port] = process.argv.slice(2);
const broker = await Aedes.createBroker();
// Nagle's algorithm is off for all brokers.
createServer({ noDelay: true }, broker.handle).listen({ port: Number(port), host: "127.0.0.1", backlog: 4096 });
process.on("SIGTERM", () => process.exit(0));
