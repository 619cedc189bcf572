//! Restore points, and the removal of those past their retention.

use deia_archive::{ArchiveError, PointKind};
use deia_model::{Action, NewEvent, PointId, Timestamp};
use serde_json::json;

use super::Shipper;
use crate::recovery::{schedule::is_due, state::PointRequest};

impl Shipper {
    /// Takes the requests for restore points, and adds one if a point is due. All commits
    /// before this call belong to them.
    pub(super) fn requests(&mut self) -> Vec<PointRequest> {
        let every = self.handle.0.settings.get().recovery.point_every;
        let now = Timestamp::now().as_millis();
        let mut requests: Vec<_> = self.handle.shared().lock().requests.drain(..).collect();
        if is_due(self.last_point_at, every, now) {
            requests.push(PointRequest {
                id: PointId::new(),
                kind: PointKind::Automatic,
                label: String::new(),
                by: "deia".to_owned(),
                begun: false,
                made: None,
            });
        }
        requests
    }

    /// Makes the points, if the archive has all commits before their requests. Others wait
    /// for the next turn.
    pub(super) fn make(
        &mut self,
        requests: Vec<PointRequest>,
        is_shipped: bool,
    ) -> Result<(), ArchiveError> {
        let mut result = Ok(());
        for mut request in requests {
            let made = match is_shipped && result.is_ok() {
                true => self.make_one(&mut request),
                false => Ok(false),
            };
            match made {
                Ok(true) => self.note_made(request),
                Ok(false) => self.keep(request),
                Err(error) => {
                    result = Err(error);
                    self.keep(request);
                }
            }
        }
        result
    }

    fn make_one(&mut self, request: &mut PointRequest) -> Result<bool, ArchiveError> {
        let Some(writer) = &mut self.writer else {
            return Ok(false);
        };
        if request.kind == PointKind::Backup && !request.begun {
            // A cleaning under way does not know this copy.
            if self.handle.is_cleaning() {
                return Ok(false);
            }
            writer.begin_snapshot();
            request.begun = true;
        }
        let waits = writer.is_first_copy() || request.begun && writer.is_copying();
        if waits {
            return Ok(false);
        }
        match writer.mark(&request.id.to_string(), request.kind, &request.label) {
            Ok(point) => {
                self.last_point_at = point.created_at;
                self.points_since.push(point.clone());
                self.handle.shared().lock().points.push(point);
                Ok(true)
            }
            Err(ArchiveError::NoSuchPoint(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn note_made(&mut self, request: PointRequest) {
        let shared = self.handle.shared();
        shared.lock().counters.points += 1;
        let kind = match request.kind {
            PointKind::Automatic => "automatic",
            PointKind::RestorePoint => "restore_point",
            PointKind::Backup => "backup",
        };
        let event = NewEvent::new(Action::BackupCreated, request.by, request.id.to_string());
        shared.leave(event.details(json!({"kind": kind, "label": request.label})));
        if let Some(made) = request.made {
            // The caller may have gone away; the point exists.
            let _ = made.send(());
        }
        let is_automatic = request.kind == PointKind::Automatic;
        self.wants_cleaning |= is_automatic;
        if is_automatic {
            self.look_at_own();
        }
    }

    /// Keeps a request for the next turn. An automatic point is asked for again anyway.
    fn keep(&self, request: PointRequest) {
        if request.kind != PointKind::Automatic {
            self.handle.shared().lock().requests.push_back(request);
        }
    }
}
