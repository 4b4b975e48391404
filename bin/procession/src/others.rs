//! What other users have in `/dev/shm`, for root, who looks after the machine: every user has objects of its
//! own, and `ls` and `gc` look at no others.

use crate::people::user_name;
use nix::unistd::geteuid;
use procession_sys::shm_file;
use procession_terminal::output;
use std::collections::BTreeMap;

/// Tells root, on stderr, whose objects were left out, and that `command` as that user does not leave them
/// out.
pub(crate) fn mention(left_out: &str, command: &str) {
    if !geteuid().is_root() {
        return;
    }
    let mut files_of: BTreeMap<u32, u64> = BTreeMap::new();
    // An error was told already: whoever calls this has read the directory.
    for file in shm_file::names(PREFIX).unwrap_or_default() {
        if let Some(uid) = owner(&file).filter(|&uid| uid != geteuid().as_raw()) {
            *files_of.entry(uid).or_default() += 1;
        }
    }
    if !files_of.is_empty() {
        let whose = files_of
            .into_iter()
            .map(|(uid, files)| format!("{} of {}", output::number_of(files, "file"), user_name(uid)));
        output::warn(&format!(
            "{left_out}, because they belong to other users: {}; run it as that user: \
             setpriv --reuid=USER --clear-groups procession {command}",
            whose.collect::<Vec<_>>().join(", ")
        ));
    }
}

/// What the names of all objects of all users begin with; the number of the user follows, and a dot.
const PREFIX: &str = "procession.";

fn owner(file: &str) -> Option<u32> {
    file.strip_prefix(PREFIX)?.split_once('.')?.0.parse().ok()
}
