//! What a child changes of itself before it calls the function, because its options say so.

use crate::error::failed;
use procession_sys::settings::{Resource, become_user, limit, run_on, set_niceness};
use procession_sys::start;
use serde::{Deserialize, Serialize};
use std::io;

/// What crosses to the child; nothing is changed that is not said.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Settings {
    pub(crate) user: Option<u32>,
    pub(crate) group: Option<u32>,
    /// The resource's place in [`Resource::ALL`], the soft and the hard limit.
    pub(crate) limits: Vec<(usize, u64, u64)>,
    pub(crate) cpus: Option<Vec<usize>>,
    pub(crate) niceness: Option<i32>,
}

impl Settings {
    pub(crate) fn limit(&mut self, resource: Resource, soft: u64, hard: u64) {
        let index = Resource::ALL.iter().position(|&one| one == resource);
        self.limits.extend(index.map(|index| (index, soft, hard)));
    }

    /// Changes this process. The user comes last: it may have no right to the rest.
    ///
    /// # Errors
    /// What could not be changed, and why.
    pub(crate) fn apply(&self, dies_with_parent: bool) -> io::Result<()> {
        for &(index, soft, hard) in &self.limits {
            let resource = *Resource::ALL.get(index).ok_or(io::ErrorKind::InvalidData)?;
            limit(resource, soft, hard).map_err(failed(format!("the limit of {resource:?} to {soft}")))?;
        }
        if let Some(cpus) = &self.cpus {
            run_on(cpus).map_err(failed(format!("to run on the CPUs {cpus:?}")))?;
        }
        if let Some(niceness) = self.niceness {
            set_niceness(niceness).map_err(failed(format!("the niceness {niceness}")))?;
        }
        if self.user.is_none() && self.group.is_none() {
            return Ok(());
        }
        let number = |id: Option<u32>| id.map_or("as before".to_owned(), |id| id.to_string());
        let what = format!("the user (uid {}, gid {})", number(self.user), number(self.group));
        become_user(self.user, self.group).map_err(failed(what))?;
        if dies_with_parent {
            // The kernel forgets it of a process that changes its user.
            start::die_with_the_starter();
        }
        Ok(())
    }
}
