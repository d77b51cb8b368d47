// What the results of a run mean, and whether they are worse than what is written down.

// The verdict on each test: `pass` or `fail`; `yes` or `no` for tests that only ask how a cache
// behaves; `dependency` if a test failed without which this one says nothing. With `setup`, `retry`,
// `error` and `untested` the test did not come to ask its question.
//
// `tests` is [{ id, group, kind, dependencies }], `results` is { id: true | [error, message] }.
export function judge(tests, results) {
    const known = new Map(tests.map((test) => [test.id, test]));
    const alone = new Map(tests.map((test) => [test.id, judgeAlone(test, results[test.id])]));

    const isBasis = (id, seen) => {
        if (seen.has(id) || !isGood(alone.get(id)?.verdict)) {
            return false;
        }
        const next = new Set(seen).add(id);
        return known.get(id).dependencies.every((dependency) => isBasis(dependency, next));
    };
    return tests.map((test) => {
        const failed = test.dependencies.find((id) => !isBasis(id, new Set([test.id])));
        const own = alone.get(test.id);
        const judged = failed ? { verdict: "dependency", reason: `needs ${failed}` } : own;
        return { id: test.id, group: test.group, kind: test.kind, ...judged };
    });
}

export function isGood(verdict) {
    return verdict === "pass" || verdict === "yes";
}

// What differs from what is written down; both are lists of { id, verdict, reason }. A test that is
// not written down is `changed`, as is one that only asks and got another answer.
export function compare(written, judged) {
    const before = new Map(written.map((line) => [line.id, line]));
    const now = new Map(judged.map((line) => [line.id, line]));
    const differences = { worse: [], better: [], changed: [] };
    for (const id of new Set([...before.keys(), ...now.keys()])) {
        const was = before.get(id)?.verdict ?? "nothing";
        const { verdict, reason } = now.get(id) ?? { verdict: "untested", reason: "" };
        if (was !== verdict) {
            differences[direction(was, verdict)].push({ id, was, verdict, reason });
        }
    }
    return differences;
}

// The worse of two runs, test by test.
export function worseOf(first, second) {
    const other = new Map(second.map((line) => [line.id, line]));
    return first.map((line) => {
        const opposite = other.get(line.id) ?? line;
        return rank(opposite.verdict) < rank(line.verdict) ? opposite : line;
    });
}

// A reason that somebody wrote outlives a run in which the verdict is the same.
export function keepReasons(written, judged) {
    const before = new Map(written.map((line) => [line.id, line]));
    return judged.map((line) => {
        const was = before.get(line.id);
        return was && was.reason && was.verdict === line.verdict
            ? { ...line, reason: was.reason }
            : line;
    });
}

export function parseLines(text) {
    return text
        .split("\n")
        .filter((line) => line && !line.startsWith("#"))
        .map((line) => {
            const [id, verdict, reason = ""] = line.split("\t");
            return { id, verdict, reason };
        });
}

export function formatLines(lines) {
    const sorted = lines.toSorted((a, b) => (a.id < b.id ? -1 : 1));
    return sorted
        .map(({ id, verdict, reason }) => [id, verdict, ...(reason ? [oneLine(reason)] : [])])
        .map((fields) => `${fields.join("\t")}\n`)
        .join("");
}

function judgeAlone(test, result) {
    if (result === undefined) {
        return { verdict: "untested", reason: "" };
    }
    if (result === true) {
        return { verdict: test.kind === "check" ? "yes" : "pass", reason: "" };
    }
    const [error, message] = result;
    const reason = oneLine(message ?? "");
    if (error === "Assertion") {
        return { verdict: test.kind === "check" ? "no" : "fail", reason };
    }
    if (error === "Setup") {
        return { verdict: message === "retry" ? "retry" : "setup", reason };
    }
    return { verdict: "error", reason: `${error}: ${reason}` };
}

function direction(was, verdict) {
    if (was === "nothing" || rank(was) === rank(verdict)) {
        return "changed";
    }
    return rank(verdict) < rank(was) ? "worse" : "better";
}

function rank(verdict) {
    return RANKS[verdict] ?? 0;
}

function oneLine(text) {
    return text.replace(/\s+/g, " ").trim();
}

// What asked no question ranks below a failure: nobody would see it fail.
const RANKS = { pass: 3, yes: 3, no: 3, fail: 2, dependency: 1 };
