//! `cargo xtask` explains itself. The build of this test also builds the program, which `.ci/run` uses.

use std::process::Command;

#[test]
fn task_that_does_not_exist_is_refused_with_the_tasks_that_do() {
    let run = |arguments: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_xtask")).args(arguments).output().expect("the program runs")
    };

    let refused = run(&["gest"]);
    let help = run(&["guest", "--help"]);

    assert_eq!(refused.status.code(), Some(2));
    let message = String::from_utf8_lossy(&refused.stderr);
    assert!(message.contains("unrecognized subcommand 'gest'") && message.contains("'guest'"), "{message}");
    assert!(help.status.success());
    let tasks = String::from_utf8_lossy(&help.stdout);
    assert!(tasks.contains("build") && tasks.contains("verify"), "{tasks}");
}
