//! An example of each entity. A field that is added to an entity must be added to its
//! example here; a test names missing fields.
//!
//! Each example is read into its type and written again, so none of them shows a field
//! that the type does not have.

mod access;
mod bots;
mod events;
mod messages;
mod queue;
mod recovery;
mod sessions;
mod settings;
mod system;
mod tasks;
mod webhooks;

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use utoipa::ToSchema;

use super::{
    Alert, Bot, BotSpec, CurrentSettings, Delivery, Event, HealthMetrics, KeyInfo, Message,
    NewMessage, NewSession, NewTask, QueueStatus, RecoveryJob, RecoveryStatus, ReloadCheck,
    RestorePoint, Session, SettingValue, SettingsReload, SettingsStatus, SettingsVersion,
    Submitted, SystemStatus, Task, TaskExplanation, TaskResult, User, Webhook, schema::Entity,
};

/// The task that the examples are about.
const TASK: &str = "task_01h455vb4pex5vsknk084sn02q";

/// Returns the public entities of the model, each with its schema and an example.
///
/// # Errors
/// An example does not fit its type, which a test rules out.
pub fn entities() -> Result<Vec<Entity>, serde_json::Error> {
    Ok(vec![
        entity::<Task>("Task", tasks::task())?,
        entity::<NewTask>("NewTask", tasks::new_task())?,
        entity::<Submitted>("Submitted", tasks::submitted())?,
        entity::<TaskResult>("Result", tasks::result())?,
        entity::<Bot>("Bot", bots::bot())?,
        entity::<BotSpec>("BotSpec", bots::bot_spec())?,
        entity::<Event>("Event", events::event())?,
        entity::<Alert>("Alert", events::alert())?,
        entity::<Webhook>("Webhook", webhooks::webhook())?,
        entity::<Delivery>("Delivery", webhooks::delivery())?,
        entity::<Session>("Session", sessions::session())?,
        entity::<NewSession>("NewSession", sessions::new_session())?,
        entity::<Message>("Message", messages::message())?,
        entity::<NewMessage>("NewMessage", messages::new_message())?,
        entity::<QueueStatus>("QueueStatus", queue::queue_status())?,
        entity::<TaskExplanation>("TaskExplanation", tasks::task_explanation())?,
        entity::<SystemStatus>("SystemStatus", system::system_status())?,
        entity::<HealthMetrics>("HealthMetrics", system::health_metrics())?,
        entity::<RecoveryStatus>("RecoveryStatus", recovery::status())?,
        entity::<RestorePoint>("RestorePoint", recovery::point())?,
        entity::<RecoveryJob>("RecoveryJob", recovery::job())?,
        entity::<KeyInfo>("Key", access::key())?,
        entity::<User>("User", access::user())?,
        entity::<CurrentSettings>("CurrentSettings", settings::current())?,
        entity::<SettingValue>("SettingValue", settings::value())?,
        entity::<SettingsVersion>("SettingsVersion", settings::version())?,
        entity::<SettingsStatus>("SettingsStatus", settings::status())?,
        entity::<SettingsReload>("SettingsReload", settings::reload())?,
        entity::<ReloadCheck>("ReloadCheck", settings::check())?,
    ])
}

fn entity<T: ToSchema + Serialize + DeserializeOwned>(
    name: &'static str,
    example: Value,
) -> Result<Entity, serde_json::Error> {
    Entity::of(name, &serde_json::from_value::<T>(example)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_show_every_field() {
        // Alternatives to run_at and expires_at, which the example has.
        const INSTEAD: [&str; 2] = ["delay_ms", "expires_in_ms"];
        for entity in entities().unwrap() {
            let example: Value = serde_json::from_str(&entity.example).unwrap();
            let fields = entity.fields.iter();
            for field in fields.filter(|field| !INSTEAD.contains(&field.as_str())) {
                assert!(
                    example.get(field).is_some(),
                    "the example of {} lacks {field}: add it in model/src/examples",
                    entity.name
                );
            }
        }
    }
}
