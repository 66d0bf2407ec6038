//! Tells the service reconciler that something changed, and hints at which services are affected.
//!
//! Hints save work and nothing more: every service is looked at by period, too, so that a lost
//! hint, a restart and another server make no difference but a delay.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use wharfinger_reconcile::Wake;

use crate::model::ServiceId;

/// Services that are remembered by name. With more, all are looked at.
const MAX_HINTS: usize = 10_000;

/// Wakes the service reconciler. Cloning shares it.
#[derive(Clone, Debug, Default)]
pub struct ServiceWake {
    wake: Wake,
    hints: Arc<Mutex<Hints>>,
}

/// Which services to look at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hints {
    pub(crate) services: BTreeSet<ServiceId>,
    pub(crate) all: bool,
}

impl ServiceWake {
    /// Something about the service or one of its tasks changed.
    pub fn touch(&self, service: &ServiceId) {
        {
            let mut hints = self.hints.lock().unwrap_or_else(PoisonError::into_inner);
            if hints.services.len() < MAX_HINTS {
                hints.services.insert(service.clone());
            } else {
                hints.all = true;
            }
        }
        self.wake.wake();
    }

    /// Something changed that may concern any service, such as an instance.
    pub fn touch_all(&self) {
        {
            let mut hints = self.hints.lock().unwrap_or_else(PoisonError::into_inner);
            hints.all = true;
        }
        self.wake.wake();
    }

    /// The hints since the last call.
    pub(crate) fn take(&self) -> Hints {
        std::mem::take(&mut *self.hints.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn wake(&self) -> Wake {
        self.wake.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_are_bounded_and_taken_once() {
        let wake = ServiceWake::default();
        wake.touch(&ServiceId("a".to_owned()));
        wake.touch(&ServiceId("a".to_owned()));
        let hints = wake.take();
        assert_eq!((hints.services.len(), hints.all), (1, false));
        assert_eq!(wake.take(), Hints::default());
        for number in 0..=MAX_HINTS {
            wake.touch(&ServiceId(number.to_string()));
        }
        assert!(wake.take().all);
        wake.touch_all();
        assert!(wake.take().all);
    }
}
