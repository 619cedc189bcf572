//! The types of the targets of events.

/// The type of an event's target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TargetType {
    /// A task.
    Task,
    /// The queue, or one task type.
    Queue,
    /// A bot.
    Bot,
    /// A key.
    Key,
    /// A user.
    User,
    /// A stored secret.
    Secret,
    /// A web session.
    WebSession,
    /// A part of the supervision tree, by its path.
    Supervisor,
    /// A route of the API.
    Route,
    /// An alert.
    Alert,
    /// A webhook endpoint.
    Webhook,
    /// A message to a bot.
    Message,
    /// A session.
    Session,
    /// Entries of the audit trail: one, or a range.
    AuditEntries,
    /// The audit trail as a whole.
    Audit,
    /// Something outside of deia, of an event that was recorded on request.
    External,
    /// A restore point, or the archive as a whole.
    Backup,
    /// The hive as a whole.
    Hive,
    /// A row of the store.
    Row,
}

impl TargetType {
    /// Returns the name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Task => "task",
            Self::Queue => "queue",
            Self::Bot => "bot",
            Self::Key => "key",
            Self::User => "user",
            Self::Secret => "secret",
            Self::WebSession => "web_session",
            Self::Supervisor => "supervisor",
            Self::Route => "route",
            Self::Alert => "alert",
            Self::Webhook => "webhook",
            Self::Message => "message",
            Self::Session => "session",
            Self::AuditEntries => "audit_entries",
            Self::Audit => "audit",
            Self::External => "ext",
            Self::Backup => "backup",
            Self::Hive => "hive",
            Self::Row => "row",
        }
    }
}
