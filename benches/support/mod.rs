//! What the benchmarks share: the tables that they print.

use std::fmt;

/// Prints a row of a table; `scripts/bench` repeats the rows of all benchmarks at its end.
pub(crate) fn row(cells: &[&dyn fmt::Display]) {
    let (name, figures) = match cells.split_first() {
        Some((name, figures)) => (name.to_string(), figures),
        None => (String::new(), cells),
    };
    print!("| {name:<46} |");
    for figure in figures {
        print!(" {:>22} |", figure.to_string());
    }
    println!();
}

/// Prints the rows that begin a table.
pub(crate) fn heading(cells: &[&dyn fmt::Display]) {
    println!();
    row(cells);
    let columns = format!("{}:|", "-".repeat(23)).repeat(cells.len().saturating_sub(1));
    println!("|{}|{columns}", "-".repeat(48));
}

/// Whether `cargo bench` started this program, and not a run of all targets by `cargo test`.
pub(crate) fn is_asked_for() -> bool {
    std::env::args().any(|argument| argument == "--bench")
}
