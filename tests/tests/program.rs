//! `bulkhead plugin run`: a program that uses `wasi:nn`, without a host.

use std::process::Output;

use bulkhead_tests::{command, fixtures};

/// Runs the program on these models, with these arguments.
fn run(graphs: &[(&str, &str)], arguments: &[&str]) -> Output {
    let folder = tempfile::tempdir().expect("a folder");
    let program = folder.path().join("program.wasm");
    std::fs::write(&program, fixtures::guest("program")).expect("a file");
    let mut command = command();
    command.args(["plugin", "run"]).arg(&program);
    for (name, model) in graphs {
        let path = folder.path().join(format!("{model}.onnx"));
        std::fs::write(&path, fixtures::model(model)).expect("a file");
        command.arg("--graph").arg(format!("{name}={}", path.display()));
    }
    command.arg("--").args(arguments).output().expect("the binary starts")
}

#[track_caller]
fn says(output: &Output, success: bool, words: &str) {
    let (printed, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.success(), success, "{printed}{said}");
    assert!(printed.contains(words) || said.contains(words), "`{words}` is not in {printed}{said}");
}

#[test]
fn a_program_runs_the_graphs_that_it_is_given() {
    let graphs = [("plus", "add_one"), ("same", "identity_f32")];
    says(&run(&graphs, &["plus", "1", "2", "3", "4.5"]), true, "y [1, 4] [2.0, 3.0, 4.0, 5.5]\n");
    says(&run(&graphs, &["same", "1", "2"]), true, "y [1, 2] [1.0, 2.0]\n");
}

#[test]
fn what_goes_wrong_is_the_programs_to_say() {
    let graphs = [("plus", "add_one")];
    says(&run(&graphs, &["minus", "1"]), false, "ErrorCode::NotFound");
    says(&run(&graphs, &["plus", "1"]), false, "ErrorCode::InvalidArgument: input `x` takes the shape [-1, 4], got [1, 1]");
    says(&run(&graphs, &["load:"]), false, "expected an ONNX model, got bytes that are none");
    says(&run(&graphs, &[]), false, "");
    says(&run(&[("bad", "unknown_op")], &["bad"]), false, "the graph `bad`");
}

#[test]
fn a_plugin_is_no_program() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("plugin.wasm");
    std::fs::write(&file, fixtures::plugin("classify")).expect("a file");
    let output = command().args(["plugin", "run"]).arg(&file).output().expect("the binary starts");
    says(&output, false, "is a plugin, a transform: push it to a host");
}
