// Runs tests of a suite against a cache, in a process of its own, because a suite keeps its state in
// its modules: `node suite.mjs DIRECTORY BASE OUTPUT AT_ONCE [IDS]`. One id alone shows what is sent.

import { existsSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [directory, base, output, atOnce, ids] = process.argv.slice(2);

async function main() {
    const { default: groups } = await load("tests/index.mjs");
    const wanted = ids ? new Set(ids.split(",")) : undefined;
    const chosen = groups.map((group) => ({
        ...group,
        tests: group.tests.filter((test) => !test.browser_only && (wanted?.has(test.id) ?? true)),
    }));
    const tests = chosen.flatMap((group) => group.tests);
    if (tests.length === 1) {
        tests[0].dump = true;
    }

    const results = await (isNewer() ? runNewer(chosen) : runPublished(chosen));
    const described = chosen.flatMap(({ name, tests }) => tests.map((test) => describe(name, test)));
    writeFileSync(output, JSON.stringify({ tests: described, results }, null, 2));
}

// The suite's repository moved its engine after what is published on npm.
function isNewer() {
    return existsSync(join(directory, "test-engine"));
}

async function runNewer(groups) {
    const { runTests, getResults } = await load("test-engine/client/runner.mjs");
    globalThis.fetch = logged(globalThis.fetch);
    await runTests(groups, false, base, Number(atOnce));
    return getResults();
}

async function runPublished(groups) {
    const { runTests, getResults } = await load("client/runner.mjs");
    const require = createRequire(join(directory, "package.json"));
    const { default: fetch } = await import(pathToFileURL(require.resolve("node-fetch")));
    // Without a limit, one answer that never ends would keep the run from ending.
    const fetchInTime = (url, init) => fetch(url, { ...init, timeout: 10_000 });
    await runTests(groups, logged(fetchInTime), false, base, Number(atOnce));
    return getResults();
}

// Says what the cache says of each answer, in the log of the run.
function logged(fetch) {
    return async (url, init) => {
        const begin = performance.now();
        const response = await fetch(url, init);
        const sent = Object.fromEntries(init?.headers ?? []);
        if (sent["Test-ID"]) {
            const took = `${Math.round(performance.now() - begin)} ms`;
            const said = response.headers.get("cache-status");
            console.log("answer:", sent["Test-ID"], sent["Req-Num"], response.status, took, said);
        }
        return response;
    };
}

// A test that is run without the others is judged without them.
function describe(group, { id, kind = "required", depends_on: dependencies = [] }) {
    return { id, group, kind, dependencies: ids ? [] : dependencies };
}

function load(path) {
    return import(pathToFileURL(join(directory, path)));
}

await main();
