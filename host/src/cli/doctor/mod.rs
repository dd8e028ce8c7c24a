//! `doctor`: what this machine lacks, and the command that mends it.

mod machine;
mod onnxruntime;

use std::process::ExitCode;

use bulkhead::config::find_onnxruntime;
use clap::Args;
use serde::Serialize;

use super::model::Format;
use super::table::Table;
use super::{ClientOptions, out};

#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    #[command(flatten)]
    format: Format,
}

/// One thing that was looked for.
#[derive(Debug, Serialize)]
struct Finding {
    name: &'static str,
    /// What needs it.
    used_for: &'static str,
    status: Status,
    /// What was found, where it was.
    found: Option<String>,
    /// What to do where it was not.
    mend: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    Ok,
    Missing,
    /// Missing too, but one can live without.
    Optional,
}

impl Finding {
    /// Something needed.
    fn required(name: &'static str, used_for: &'static str, found: Option<String>, mend: &str) -> Self {
        Self::of(name, used_for, found, Status::Missing, mend)
    }

    /// Something that one can live without.
    fn optional(name: &'static str, used_for: &'static str, found: Option<String>, mend: &str) -> Self {
        Self::of(name, used_for, found, Status::Optional, mend)
    }

    fn of(name: &'static str, used_for: &'static str, found: Option<String>, absent: Status, mend: &str) -> Self {
        let status = if found.is_some() { Status::Ok } else { absent };
        let mend = found.is_none().then(|| mend.to_owned());
        Self { name, used_for, status, found, mend }
    }

    fn cells(&self) -> [String; 4] {
        let status = match self.status {
            Status::Ok => "ok",
            Status::Missing => "missing",
            Status::Optional => "optional",
        };
        let told = self.found.as_ref().or(self.mend.as_ref());
        [status.to_owned(), self.name.to_owned(), self.used_for.to_owned(), told.cloned().unwrap_or_default()]
    }
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report {
    ok: bool,
    checks: Vec<Finding>,
}

pub(super) async fn run(args: &DoctorArgs, options: &ClientOptions) -> anyhow::Result<ExitCode> {
    let (cargo, linker, wasm, docker, host) =
        tokio::join!(machine::cargo(), machine::linker(), machine::wasm(), machine::docker(), machine::host(options));
    let checks = vec![onnxruntime::check(find_onnxruntime(None)), cargo, linker, wasm, docker, host];
    let ok = checks.iter().all(|check| check.status != Status::Missing);
    if args.format.json {
        out::json(&Report { ok, checks })?;
    } else {
        let mut table = Table::new(&["STATUS", "WHAT", "FOR", "FOUND, OR HOW TO GET IT"]);
        checks.iter().for_each(|check| table.row(check.cells()));
        out::line(table.render())?;
    }
    Ok(if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_told_with_its_remedy() {
        let found = Finding::required("cargo", "plugins", Some("1.95".to_owned()), "install it");
        assert_eq!(found.cells(), ["ok", "cargo", "plugins", "1.95"]);
        assert_eq!(Finding::required("cargo", "plugins", None, "install it").cells()[3], "install it");
        assert_eq!(Finding::optional("docker", "containers", None, "").status, Status::Optional);
    }
}
