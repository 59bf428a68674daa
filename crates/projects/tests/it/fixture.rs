//! The workers of this crate.

use omgservers_fixtures::Fixture;
use omgservers_projects::{SweepOrphans, SweepPermissions};

pub(crate) fn sweep_orphans(fixture: &Fixture) -> SweepOrphans {
    SweepOrphans::new(fixture.projects.clone())
}

pub(crate) fn sweep_permissions(fixture: &Fixture) -> SweepPermissions {
    SweepPermissions::new(fixture.projects.clone())
}
