//! `deia roles`.

use super::{
    context::Context,
    error::CliError,
    table::{Column, Table},
};

/// Lists the roles and what each includes.
pub(super) async fn list(context: &Context) -> Result<(), CliError> {
    let page = context.client.roles().await?;
    context.out.list(&page, "there are no roles", |look| {
        let mut table = Table::new(&[Column::new("ROLE"), Column::new("PERMISSIONS").flows()]);
        for role in &page.items {
            table.row(vec![
                role.role.as_str().into(),
                role.permissions.join(", ").into(),
            ]);
        }
        table.render(look)
    })
}
