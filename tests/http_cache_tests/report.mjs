// Results as people read them.

import { isGood } from "./verdicts.mjs";

const KINDS = ["required", "optimal", "check"];

// Lines of Markdown: passed of all, by group and kind.
export function table(judged) {
    const groups = [...new Set(judged.map((line) => line.group))];
    const rows = groups.map((group) => [
        group,
        ...KINDS.map((kind) => share(judged.filter((line) => line.group === group), kind)),
    ]);
    const all = ["**All**", ...KINDS.map((kind) => `**${share(judged, kind)}**`)];
    return layOut([["", "required", "optimal", "answered yes"], ...rows, all]);
}

// Lines of Markdown: what is required or optimal and not so, and why.
export function shortfalls(judged) {
    const failed = judged.filter((line) => line.kind !== "check" && !isGood(line.verdict));
    const rows = failed
        .toSorted((a, b) => KINDS.indexOf(a.kind) - KINDS.indexOf(b.kind) || (a.id < b.id ? -1 : 1))
        .map((line) => [`\`${line.id}\``, line.kind, line.verdict, line.reason]);
    return layOut([["test", "kind", "verdict", "why"], ...rows]);
}

export function totals(judged) {
    return KINDS.map((kind) => `${kind} ${share(judged, kind)}`).join(", ");
}

function share(judged, kind) {
    const asked = judged.filter((line) => line.kind === kind);
    const good = asked.filter((line) => isGood(line.verdict));
    return asked.length === 0 ? "" : `${good.length}/${asked.length}`;
}

function layOut([head, ...rows]) {
    const cells = [head, ...rows].map((row) => row.map((cell) => cell.replaceAll("|", "\\|")));
    const widths = head.map((_, column) => Math.max(3, ...cells.map((row) => row[column].length)));
    const line = (row) => `| ${row.map((cell, i) => cell.padEnd(widths[i])).join(" | ")} |`;
    const rule = `|${widths.map((width) => "-".repeat(width + 2)).join("|")}|`;
    const [first, ...others] = cells.map(line);
    return [first, rule, ...others];
}
