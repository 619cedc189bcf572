//! Restores: a target in time, the plan for it, and the database file that it makes.

mod apply;
mod plan;
mod search;

pub use self::{
    apply::{Restored, restore},
    plan::{Plan, Target, plan},
};
