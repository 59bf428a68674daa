//! All the SQL of this crate.

mod content;
mod garbage;
mod upload;

pub(crate) use content::*;
pub(crate) use garbage::*;
pub(crate) use upload::*;

/// The filter for one repository: `of!(table, repository)`.
macro_rules! of {
    ($table:ident, $repository:expr) => {
        $table::tenant_id
            .eq($repository.tenant)
            .and($table::project_id.eq($repository.project))
            .and($table::kind.eq($repository.qualifier))
    };
}
pub(crate) use of;
