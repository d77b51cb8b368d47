// Runs the public HTTP cache tests and compares them with `expected.tsv`; scripts/cache-tests starts
// it and says how it is called.

import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";

import { Log, runSuite, startOrigin, startProxy, startRedis, stopAll } from "./processes.mjs";
import { shortfalls, table, totals } from "./report.mjs";
import { compare, formatLines, isGood, judge, keepReasons, parseLines, worseOf } from "./verdicts.mjs";

const HERE = import.meta.dirname;
const EXPECTED = join(HERE, "expected.tsv");
const README = join(HERE, "README.md");
const BACKENDS = ["memory", "redis"];

async function main() {
    const { values: options } = parseArgs({
        options: {
            // What scripts/cache-tests says.
            published: { type: "string" },
            proxy: { type: "string" },
            output: { type: "string" },
            // What its user says.
            accept: { type: "boolean", default: false },
            suite: { type: "string" },
            backend: { type: "string", multiple: true, default: BACKENDS },
            against: { type: "string" },
            id: { type: "string" },
        },
    });
    const unknown = options.backend.find((backend) => !BACKENDS.includes(backend));
    if (unknown) {
        throw new Error(`there is no backend ${unknown}`);
    }
    const isWhole = !options.id && !options.suite && !options.against;
    if (options.accept && !(isWhole && options.backend === BACKENDS)) {
        throw new Error("--accept goes with no other option: it writes down what holds for all");
    }
    mkdirSync(options.output, { recursive: true });
    if (options.id) {
        return await showOne(options);
    }
    if (options.suite || options.against) {
        return await measure(options);
    }
    return await holdToExpected(options);
}

// What the client and the origin of one test see.
async function showOne(options) {
    const { lines, log } = await run(options, options.against ? "other" : options.backend[0]);
    console.log(log.text());
    const { verdict, reason } = lines.find(({ id }) => id === options.id);
    console.log(`${options.id}: ${verdict} ${reason}`);
    return isGood(verdict);
}

// Another suite, or another cache: nothing is written down of either.
async function measure(options) {
    for (const backend of options.against ? ["other"] : options.backend) {
        const { lines } = await run(options, backend);
        console.log([`\n${backend}: ${totals(lines)}`, ...table(lines)].join("\n"));
        console.log(["", ...shortfalls(lines)].join("\n"));
    }
    return true;
}

async function holdToExpected(options) {
    const expected = parseLines(readFileSync(EXPECTED, "utf8"));
    const runs = [];
    for (const backend of options.backend) {
        const { lines } = await run(options, backend, expected);
        console.log([`\n${backend}: ${totals(lines)}`, ...table(lines)].join("\n"));
        runs.push({ backend, lines });
    }
    if (options.accept) {
        accept(runs, expected);
        return true;
    }
    return runs.map(({ backend, lines }) => meets(expected, backend, lines)).every(Boolean);
}

function meets(expected, backend, lines) {
    const { worse, better, changed } = compare(expected, lines);
    const all = [["WORSE", worse], ["CHANGED", changed], ["better", better]];
    for (const [word, differences] of all) {
        for (const { id, was, verdict, reason } of differences) {
            console.log(`${backend}: ${word}: ${id}: was ${was}, is ${verdict} ${reason}`);
        }
    }
    if (worse.length + changed.length > 0) {
        console.log(`${backend}: not as in expected.tsv, in the lines above`);
        return false;
    }
    if (better.length > 0) {
        console.log(`${backend}: better; write it down with ./scripts/cache-tests --accept`);
    }
    return true;
}

function accept(runs, expected) {
    const [first, ...others] = runs.map(({ lines }) => lines);
    const lines = keepReasons(expected, others.reduce(worseOf, first));
    writeFileSync(EXPECTED, EXPECTED_HEAD + formatLines(lines));
    const results = ["", ...table(lines), "", "Not passed:", "", ...shortfalls(lines), ""].join("\n");
    const readme = readFileSync(README, "utf8");
    const between = /(?<=<!-- results -->\n)[^]*(?=\n<!-- end of results -->)/;
    writeFileSync(README, readme.replace(between, () => results));
    console.log("\nwritten down; where a reason is the suite's, say it better in expected.tsv");
}

// One run of a suite on one backend. What differs from `expected` is asked a second time.
async function run(options, backend, expected = []) {
    const suite = options.suite ?? options.published;
    const log = new Log(join(options.output, `${backend}.log`));
    const output = join(options.output, `${backend}.json`);
    const { base } = await startAll(options, suite, backend, log);
    const ids = options.id ? [options.id] : [];
    const all = { suite, base, ids, atOnce: 50 };
    const { tests, results } = await runSuite(all, output, log);
    if (tests.length === 0) {
        throw new Error("the suite has no such test");
    }

    const again = options.id ? [] : doubtful(expected, judge(tests, results));
    if (again.length > 0) {
        const which = again.length <= 10 ? again.join(" ") : `${again.length} tests`;
        console.log(`${backend}: asked again: ${which}`);
        // Fewer, for what failed may have waited for too long.
        const few = { suite, base, ids: again, atOnce: 10 };
        const second = await runSuite(few, `${output}.again`, log);
        Object.assign(results, second.results);
        writeFileSync(output, JSON.stringify({ tests, results }, null, 2));
    }
    stopAll();
    return { lines: judge(tests, results), log };
}

async function startAll(options, suite, backend, log) {
    if (options.against) {
        await startOrigin(suite, ORIGIN_PORT, log);
        return { base: options.against.replace(/\/$/, "") };
    }
    const redis = backend === "redis" ? await startRedis(log) : undefined;
    const origin = await startOrigin(suite, 0, log);
    return { base: await startProxy(options.proxy, origin, redis, log) };
}

// Tests that did not pass, though that is not what is written down of them. One that fails for want
// of another has its own result, and asks for that other.
function doubtful(expected, judged) {
    const before = new Map(expected.map((line) => [line.id, line.verdict]));
    const isKnown = ({ id, verdict }) => (before.get(id) ?? "no") === verdict;
    return judged
        .filter((line) => !["pass", "dependency"].includes(line.verdict) && !isKnown(line))
        .filter(({ id, verdict }) => verdict !== "yes" || before.has(id))
        .map(({ id }) => id);
}

// Where a cache that somebody else runs finds the suite's origin.
const ORIGIN_PORT = 8000;
const EXPECTED_HEAD = `# Verdicts on the public HTTP cache tests, version 0.4.5: id, verdict, reason.
# Written by scripts/cache-tests --accept, which keeps the reason of a verdict that stays.
`;

main().then(
    (isFine) => process.exit(isFine ? 0 : 1),
    (error) => {
        console.error(`cache-tests: ${error.message}`);
        process.exit(1);
    },
);
