//! Restores: a moment, the plan for it, and the database file that it makes.

mod apply;
mod plan;
mod search;
mod target;

pub use self::{
    apply::{Restored, restore},
    plan::{Plan, plan},
    target::{Edge, EventRef, Extent, Moment, Target},
};
