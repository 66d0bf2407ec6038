//! Whether any registry has a configuration of some kind, so that a push does not read it where
//! none has one.

use std::sync::Arc;
use std::sync::atomic::AtomicU8;
use std::sync::atomic::Ordering::SeqCst;

use wharfinger_db::Tx;

use crate::error::Error;
use crate::store::registry_settings;

/// It is not known.
const UNKNOWN: u8 = 0;
/// None has one.
const NONE: u8 = 1;
/// One has, or had one since this server was started.
const SOME: u8 = 2;

/// Remembers whether any registry has a setting, where only this server writes to the index.
/// Cloning shares it.
#[derive(Clone, Debug)]
pub(crate) struct Configured {
    setting: &'static str,
    known: Arc<AtomicU8>,
    several_replicas: bool,
}

impl Configured {
    /// For the setting of this name.
    pub(crate) fn new(setting: &'static str, several_replicas: bool) -> Self {
        Self {
            setting,
            known: Arc::default(),
            several_replicas,
        }
    }

    /// Notes that the setting is about to be stored.
    pub(crate) fn note(&self) {
        self.known.store(SOME, SeqCst);
    }

    /// Whether a registry may have the setting; looks in the index where it is not known.
    pub(crate) fn may_be(&self, tx: &mut Tx<'_>) -> Result<bool, Error> {
        if self.several_replicas {
            return Ok(true);
        }
        match self.known.load(SeqCst) {
            NONE => Ok(false),
            SOME => Ok(true),
            _ => {
                let found = registry_settings::any(tx, self.setting)?;
                let known = if found { SOME } else { NONE };
                // A setting that is being stored meanwhile was noted before.
                let noted = self.known.compare_exchange(UNKNOWN, known, SeqCst, SeqCst);
                Ok(found || noted.is_err())
            }
        }
    }

    /// Whether there may be work that follows from the setting.
    pub(crate) fn may_have_work(&self) -> bool {
        self.known.load(SeqCst) == SOME || self.several_replicas
    }
}
