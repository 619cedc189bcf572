//! Shapes of answers about the archive.

use deia_model::PointId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The id of a new restore point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RestorePointId {
    /// The id.
    #[schema(value_type = String, example = "point_01h455vb4pex5vsknk084sn02q")]
    pub id: PointId,
}
