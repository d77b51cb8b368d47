// The processes of a run: the suite's origin, a proxy before it, a Redis server. All of them listen
// on the loopback interface or a socket only, write to the log of their run, and end with this one.

import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

const HERE = import.meta.dirname;
const RUN_LIMIT = 5 * 60 * 1000;
const START_LIMIT = 10 * 1000;

const children = new Set();
const directories = new Set();
process.on("exit", () => {
    children.forEach((child) => child.kill("SIGKILL"));
    directories.forEach((directory) => rmSync(directory, { recursive: true, force: true }));
});
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) {
    process.on(signal, () => process.exit(1));
}

export class Log {
    constructor(path) {
        this.path = path;
        this.handle = openSync(path, "w");
    }

    text() {
        return readFileSync(this.path, "utf8");
    }
}

// Starts the suite's origin; its address, once it listens. Port 0 is a free one.
export async function startOrigin(suite, port, log) {
    const program = ["test-engine/server/server.mjs", "server/server.mjs"]
        .map((path) => join(suite, path))
        .find((path) => existsSync(path));
    if (!program) {
        throw new Error(`there is no test suite in ${suite}`);
    }
    const env = {
        ...process.env,
        npm_config_protocol: "http",
        npm_config_port: String(port),
        npm_config_pidfile: "/dev/null",
    };
    const origin = ["--require", join(HERE, "loopback.cjs"), program];
    return listening(log, () => start(process.execPath, origin, log, { cwd: suite, env }));
}

// Starts a proxy before the origin; its address, once it listens.
export async function startProxy(program, origin, redis, log) {
    const ours = ["--listen", "127.0.0.1:0", "--origin", origin, "--profile", "compliance"];
    return listening(log, () => start(program, redis ? [...ours, "--redis", redis] : ours, log));
}

// Starts an empty Redis server; its URL, once it listens.
export async function startRedis(log) {
    const directory = mkdtempSync(join(tmpdir(), "cache-tests-"));
    directories.add(directory);
    const socket = join(directory, "redis.sock");
    const settings = ["--port", "0", "--unixsocket", socket, "--save", "", "--dir", directory];
    const server = start("redis-server", settings, log);
    await waitFor(server, log, () => existsSync(socket));
    return `redis+unix://${socket}`;
}

// Runs these tests of a suite to their end, all of them if none is named, so many at once.
export async function runSuite({ suite, base, ids, atOnce }, output, log) {
    const program = ["--no-warnings", join(HERE, "suite.mjs"), suite, base, output];
    const run = start(process.execPath, [...program, String(atOnce), ids.join(",")], log);
    const guard = setTimeout(() => run.kill("SIGKILL"), RUN_LIMIT);
    const status = await new Promise((resolve) => run.once("exit", resolve));
    clearTimeout(guard);
    if (status !== 0) {
        throw new Error(`the suite did not run to its end; see ${log.path}`);
    }
    return JSON.parse(readFileSync(output, "utf8"));
}

export function stopAll() {
    children.forEach((child) => child.kill("SIGTERM"));
}

function start(program, programArguments, log, options = {}) {
    const stdio = ["ignore", log.handle, log.handle];
    const child = spawn(program, programArguments, { ...options, stdio });
    children.add(child);
    child.on("error", (error) => (child.failure = error.message));
    child.on("exit", () => children.delete(child));
    return child;
}

// All processes of a run share its log, and start one after the other.
async function listening(log, launch) {
    const before = log.text().length;
    let address;
    await waitFor(launch(), log, () => {
        address = /Listening on (http:\/\/[^\s/]+)/.exec(log.text().slice(before))?.[1];
        return address;
    });
    return address;
}

async function waitFor(child, log, isReady) {
    for (const end = Date.now() + START_LIMIT; Date.now() < end; await sleep(20)) {
        if (isReady()) {
            return;
        }
        if (child.failure || child.exitCode !== null) {
            break;
        }
    }
    const [program] = child.spawnargs;
    throw new Error(`${program} did not start: ${child.failure ?? `see ${log.path}`}`);
}
