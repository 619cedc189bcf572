//! Descriptions of operations for the OpenAPI document.
//!
//! A row of the table has the path, access and names of an operation; [`describe`]
//! describes its parameters, body and answers beside the handler.

use utoipa::{
    __dev::SchemaReferences,
    openapi::{
        RefOr, Schema,
        path::{Operation, Parameter, ParameterIn},
    },
};

/// The parameters, body and answers of an operation.
pub(crate) struct Description {
    pub(crate) operation: Operation,
    /// The schemas that the operation refers to, by name.
    pub(crate) schemas: Vec<(String, RefOr<Schema>)>,
    /// The names of the query parameters. The guard refuses others.
    pub(crate) query: Vec<String>,
}

impl Description {
    pub(crate) fn of<D: utoipa::Path + SchemaReferences>() -> Self {
        let operation = D::operation();
        let mut schemas = Vec::new();
        D::schemas(&mut schemas);
        let parameters = operation.parameters.iter().flatten();
        let query = parameters.filter_map(in_query).collect();
        Self {
            operation,
            schemas,
            query,
        }
    }
}

fn in_query(parameter: &RefOr<Parameter>) -> Option<String> {
    match parameter {
        RefOr::T(parameter) if matches!(parameter.parameter_in, ParameterIn::Query) => {
            Some(parameter.name.clone())
        }
        _ => None,
    }
}

/// Describes the operation of the handler of that name, in the words of [`utoipa::path`].
/// The description is in a module of the handler's name, which is where the table finds it.
macro_rules! describe {
    ($handler:ident: $($description:tt)*) => {
        pub(crate) mod $handler {
            #[allow(unused_imports, reason = "a description may name no type")]
            use super::*;

            // utoipa wants a method and a path: those of the operation are in the table.
            #[utoipa::path(get, path = "", $($description)*)]
            #[allow(dead_code, reason = "it only carries the attribute")]
            fn described() {}

            pub(crate) fn description() -> &'static $crate::http::operation::Description {
                static DESCRIPTION: std::sync::LazyLock<$crate::http::operation::Description> =
                    std::sync::LazyLock::new(
                        $crate::http::operation::Description::of::<__path_described>,
                    );
                &DESCRIPTION
            }
        }
    };
}

pub(crate) use describe;
