import assert from "node:assert/strict";
import { test } from "node:test";

import { compare, formatLines, judge, keepReasons, parseLines, worseOf } from "./verdicts.mjs";

test("each kind of result has a verdict of its own", () => {
    const tests = [
        asked("passes"),
        asked("fails"),
        asked("is-yes", "check"),
        asked("is-no", "check"),
        asked("breaks-before"),
        asked("is-retried"),
        asked("breaks-the-harness"),
        asked("never-ran"),
    ];
    const results = {
        passes: true,
        fails: ["Assertion", "Response 2 comes from cache"],
        "is-yes": true,
        "is-no": ["Assertion", "not so"],
        "breaks-before": ["Setup", "status is 502"],
        "is-retried": ["Setup", "retry"],
        "breaks-the-harness": ["FetchError", "reset"],
    };
    assert.deepEqual(
        judge(tests, results).map((line) => [line.id, line.verdict]),
        [
            ["passes", "pass"],
            ["fails", "fail"],
            ["is-yes", "yes"],
            ["is-no", "no"],
            ["breaks-before", "setup"],
            ["is-retried", "retry"],
            ["breaks-the-harness", "error"],
            ["never-ran", "untested"],
        ],
    );
});

test("a test says nothing if one that it depends on failed, however far away", () => {
    const tests = [asked("a"), asked("b", "required", ["a"]), asked("c", "optimal", ["b"])];
    const results = { a: ["Assertion", "no"], b: true, c: true };
    assert.deepEqual(
        judge(tests, results).map((line) => line.verdict),
        ["fail", "dependency", "dependency"],
    );
});

test("tests that depend on each other end", () => {
    const tests = [asked("a", "required", ["b"]), asked("b", "required", ["a"])];
    const verdicts = judge(tests, { a: true, b: true }).map((line) => line.verdict);
    assert.deepEqual(verdicts, ["dependency", "dependency"]);
});

test("a pass that is lost is worse, and so is one that is no longer asked", () => {
    const written = [line("a", "pass"), line("b", "pass"), line("c", "fail"), line("d", "pass")];
    const now = [line("a", "fail"), line("b", "setup"), line("c", "error")];
    const { worse, better, changed } = compare(written, now);
    assert.deepEqual(worse.map(({ id }) => id), ["a", "b", "c", "d"]);
    assert.deepEqual([...better, ...changed], []);
});

test("a failure that is gone is better", () => {
    const { worse, better } = compare([line("a", "fail")], [line("a", "pass")]);
    assert.deepEqual([worse.length, better.map(({ id }) => id)], [0, ["a"]]);
});

test("another answer to a mere question, and a new test, are changes", () => {
    const { worse, better, changed } = compare(
        [line("a", "yes")],
        [line("a", "no"), line("b", "pass")],
    );
    assert.deepEqual(changed.map(({ id }) => id), ["a", "b"]);
    assert.deepEqual([...worse, ...better], []);
});

test("of two runs the worse verdict counts", () => {
    const both = worseOf([line("a", "pass"), line("b", "fail")], [line("a", "fail"), line("b", "pass")]);
    assert.deepEqual(both.map(({ verdict }) => verdict), ["fail", "fail"]);
});

test("a written reason stays while its verdict does", () => {
    const written = [line("a", "fail", "by hand"), line("b", "fail", "by hand")];
    const now = [line("a", "fail", "the suite's"), line("b", "pass", "")];
    assert.deepEqual(keepReasons(written, now).map(({ reason }) => reason), ["by hand", ""]);
});

test("lines are read as they were written, in the order of their ids", () => {
    const text = formatLines([line("b", "fail", "a\n\treason"), line("a", "pass")]);
    assert.equal(text, "a\tpass\nb\tfail\ta reason\n");
    assert.deepEqual(parseLines(text), [line("a", "pass"), line("b", "fail", "a reason")]);
});

function asked(id, kind = "required", dependencies = []) {
    return { id, group: "group", kind, dependencies };
}

function line(id, verdict, reason = "") {
    return { id, verdict, reason };
}
