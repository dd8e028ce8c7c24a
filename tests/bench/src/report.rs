//! The numbers, as a table to paste and as JSON.

use std::fmt::Write as _;

use anyhow::Result;
use serde::Serialize;

use crate::machine::Machine;
use crate::stats::{Ratio, Spread};

/// Everything that was measured.
#[derive(Serialize)]
pub(crate) struct Report {
    pub(crate) machine: Machine,
    pub(crate) compared: Vec<Compared>,
    pub(crate) pairs: Vec<Pair>,
    pub(crate) absolute: Vec<Absolute>,
}

/// Requests over HTTP, host against reference.
#[derive(Serialize)]
pub(crate) struct Compared {
    pub(crate) row: String,
    pub(crate) title: String,
    /// The reference's route.
    pub(crate) against: String,
    pub(crate) connections: usize,
    pub(crate) cpu_us: Ratio,
    pub(crate) requests_per_second: Ratio,
    pub(crate) p50_us: Ratio,
    pub(crate) p99_us: Ratio,
    pub(crate) cpu_target: Option<Target>,
    pub(crate) rate_target: Option<Target>,
}

/// Two numbers of one kind, measured in turn.
#[derive(Serialize)]
pub(crate) struct Pair {
    pub(crate) title: String,
    pub(crate) unit: &'static str,
    pub(crate) numbers: Ratio,
    pub(crate) target: Option<Target>,
}

/// What has no reference.
#[derive(Serialize)]
pub(crate) struct Absolute {
    pub(crate) title: String,
    pub(crate) unit: &'static str,
    pub(crate) value: Spread,
    pub(crate) target: Option<Target>,
}

/// What a number is meant to be.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Target {
    AtMost(f64),
    AtLeast(f64),
}

impl Target {
    fn met(self, value: f64) -> bool {
        match self {
            Self::AtMost(bound) => value <= bound,
            Self::AtLeast(bound) => value >= bound,
        }
    }

    fn text(target: Option<Self>, value: f64) -> String {
        let Some(target) = target else { return String::new() };
        let bound = match target {
            Self::AtMost(bound) => format!("≤ {bound}"),
            Self::AtLeast(bound) => format!("≥ {bound}"),
        };
        format!("{bound} {}", if target.met(value) { "met" } else { "**missed**" })
    }
}

impl Report {
    pub(crate) fn new(machine: Machine) -> Self {
        Self { machine, compared: Vec::new(), pairs: Vec::new(), absolute: Vec::new() }
    }

    pub(crate) fn json(&self) -> Result<String> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }

    /// Tables of ratios; in brackets the quartiles of the rounds.
    pub(crate) fn markdown(&self) -> String {
        let mut out = String::new();
        let Machine { processor, cores, memory_gib, system, versions } = &self.machine;
        let versions: Vec<_> = versions.iter().map(|(name, version)| format!("{name} {version}")).collect();
        // Writing to a string does not fail.
        let _ = writeln!(out, "Measured on {processor}, {cores} cores, {memory_gib:.0} GiB, {system}; {}.\n", versions.join(", "));
        self.requests(&mut out);
        self.rest(&mut out);
        out
    }

    fn requests(&self, out: &mut String) {
        if self.compared.is_empty() {
            return;
        }
        out.push_str("| request | reference | connections | CPU µs/request, host / reference | CPU ratio | target | requests/s, host / reference | throughput ratio | target | p50 ratio | p99 ratio |\n");
        out.push_str("|---|---|--:|--:|--:|---|--:|--:|---|--:|--:|\n");
        for row in &self.compared {
            let (cpu, rate) = (&row.cpu_us, &row.requests_per_second);
            let _ = writeln!(
                out,
                "| {} | `{}` | {} | {:.1} / {:.1} | {} | {} | {:.0} / {:.0} | {} | {} | {:.2} | {:.2} |",
                row.title,
                row.against,
                row.connections,
                cpu.host,
                cpu.reference,
                ratio(&cpu.ratio),
                Target::text(row.cpu_target, cpu.ratio.median),
                rate.host,
                rate.reference,
                ratio(&rate.ratio),
                Target::text(row.rate_target, rate.ratio.median),
                row.p50_us.ratio.median,
                row.p99_us.ratio.median,
            );
        }
        out.push('\n');
    }

    fn rest(&self, out: &mut String) {
        if self.pairs.is_empty() && self.absolute.is_empty() {
            return;
        }
        out.push_str("| what | measured | ratio | target |\n|---|--:|--:|---|\n");
        for row in &self.pairs {
            let Ratio { host, reference, ratio: spread } = &row.numbers;
            let target = Target::text(row.target, spread.median);
            let _ = writeln!(out, "| {} | {host:.1} / {reference:.1} {} | {} | {target} |", row.title, row.unit, ratio(spread));
        }
        for row in &self.absolute {
            let Spread { median, low, high } = row.value;
            // Seconds need more digits than mebibytes.
            let digits = if high < 10.0 { 3 } else { 0 };
            let target = Target::text(row.target, median);
            let _ = writeln!(out, "| {} | {median:.digits$} {} ({low:.digits$}–{high:.digits$}) | | {target} |", row.title, row.unit);
        }
    }
}

fn ratio(spread: &Spread) -> String {
    format!("**{:.2}** ({:.2}–{:.2})", spread.median, spread.low, spread.high)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_told_apart() {
        assert_eq!(Target::text(Some(Target::AtMost(1.25)), 1.25), "≤ 1.25 met");
        assert_eq!(Target::text(Some(Target::AtMost(1.25)), f64::NAN), "≤ 1.25 **missed**");
        assert_eq!(Target::text(Some(Target::AtLeast(0.8)), 0.79), "≥ 0.8 **missed**");
        assert_eq!(Target::text(None, 1.0), "");
    }
}
