//! Storing content makes the same file operations whether or not another workspace has the content, so that the
//! duration reveals nothing about other workspaces.

use bundles::Digest;
use worker_runtime::blob_store::{PutOutcome, source_from};

use super::watched::{self, Control, KINDS, folder};
use super::workload;
use crate::support::{name, sandbox};

/// Run as a process by the test below.
#[test]
#[ignore = "is run by another test, under the shim"]
fn child_process_whose_calls_are_counted() {
    let Some(root) = watched::root() else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("started");
    let control = Control::of_this_process();
    control.record();
    runtime.block_on(async {
        let opened = workload::open(&root.join("data"), &sandbox()).await.expect("opened");
        let put = async |workspace: &str, text: &str, bytes: usize| {
            let content = text.repeat(bytes / text.len());
            let before = control.seen();
            let (digest, announced) = (Digest::of(&content), content.len() as u64);
            let content_of = opened.runtime.content(&name(workspace));
            let put = content_of.put_blob(digest, source_from(content), Some(announced)).await.expect("stored");
            assert_eq!(put, PutOutcome { bytes: announced, existed: false }, "{workspace}");
            let after = control.seen();
            std::array::from_fn::<_, { KINDS.len() }, _>(|kind| after[kind] - before[kind])
        };
        // Small content, and content that is uploaded in parts.
        for bytes in [100, 3 << 20] {
            for warm in ["a", "b", "c"] {
                put("team-2", warm, bytes).await;
            }
            put("team-0", "held by another one", bytes).await;
            let known = put("team-1", "held by another one", bytes).await;
            let new = put("team-1", "held by nobody else", bytes).await;
            println!("{bytes} bytes: {known:?} and {new:?} of {KINDS:?}");
            assert_eq!(known, new, "{KINDS:?}");
        }
    });
    control.disarm();
}

#[test]
fn content_that_another_workspace_has_is_stored_by_the_same_operations_as_new_content() {
    let root = folder();
    let log = tempfile::tempdir().expect("a folder");
    let output = watched::watched(
        "disk::same_work::child_process_whose_calls_are_counted",
        root.path(),
        &log.path().join("log"),
        &[],
    );
    let Some(output) = output else { return };
    println!("{output}");
    assert_eq!(output.matches(" bytes: ").count(), 2, "{output}");
}
