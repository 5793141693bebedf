//! The command line of `service`.

use argh::FromArgs;

/// have systemd run dunlin serve
#[derive(FromArgs)]
#[argh(subcommand, name = "service")]
pub struct Service {
    #[argh(subcommand)]
    pub action: ServiceAction,
}

#[derive(FromArgs)]
#[argh(subcommand)]
pub enum ServiceAction {
    Install(ServiceInstall),
    Remove(ServiceRemove),
}

/// write the unit, and start it now and from now on
#[derive(FromArgs)]
#[argh(subcommand, name = "install")]
pub struct ServiceInstall {
    /// for the whole system and not for this user's own manager
    #[argh(switch)]
    pub system: bool,
    /// whose folders they are, with --system (who called sudo)
    #[argh(option)]
    pub user: Option<String>,
    /// print the unit, and do nothing
    #[argh(switch)]
    pub print: bool,
}

/// stop the unit, and take it away
#[derive(FromArgs)]
#[argh(subcommand, name = "remove")]
pub struct ServiceRemove {
    /// that of the whole system and not of this user's own manager
    #[argh(switch)]
    pub system: bool,
    /// whose folders they are, with --system (who called sudo)
    #[argh(option)]
    pub user: Option<String>,
}
