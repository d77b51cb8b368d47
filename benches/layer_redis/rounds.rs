//! Figures over rounds.

use std::fmt;

/// A figure of each round, by their median and their middle half: `1.06 (1.03 to 1.09)`.
#[derive(Clone, Debug)]
pub(crate) struct Rounds {
    sorted: Vec<f64>,
}

impl Rounds {
    pub(crate) fn new(figures: impl IntoIterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = figures.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        Self { sorted }
    }

    /// What the figures of each round are to those of another kind in the same round.
    pub(crate) fn ratio(figures: &[f64], to: &[f64]) -> Self {
        Self::new(figures.iter().zip(to).map(|(figure, to)| figure / to))
    }

    pub(crate) fn median(&self) -> f64 {
        self.quartile(2)
    }

    fn quartile(&self, quartile: usize) -> f64 {
        let last = self.sorted.len().saturating_sub(1);
        self.sorted
            .get((last * quartile + 2) / 4)
            .copied()
            .unwrap_or(f64::NAN)
    }
}

impl fmt::Display for Rounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (low, middle, high) = (self.quartile(1), self.quartile(2), self.quartile(3));
        f.pad(&format!("{middle:.2} ({low:.2} to {high:.2})"))
    }
}
