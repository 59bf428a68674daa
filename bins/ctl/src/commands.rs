//! One command for each endpoint, generated from the endpoint's descriptor. Its arguments are the
//! fields of the request, in the same order: optional ones and documents are options, all others
//! are positional.

use std::{fmt, marker::PhantomData};

use clap::{
    Arg, ArgAction, ArgMatches, Args as _, Command, Error, FromArgMatches, Subcommand, error::ErrorKind,
};
use omgservers_client::{
    Client,
    api::{
        Problem,
        entrypoint::{Descriptor, EntrypointRole, Field, FieldKind},
    },
};
use serde_json::value::RawValue;

use crate::{args::TokenArgs, output::RawAnswer, values};

/// The verb whose command asks for a password.
const CREATE_TOKEN: &str = "create-token";
/// What commands send where nothing is given: role, verb, field, value.
const DEFAULTS: &[(EntrypointRole, &str, &str, &str)] =
    &[(EntrypointRole::Player, "ping-service", "message", "ping")];

/// A role, as a type.
pub(crate) trait CommandRole: fmt::Debug {
    const ROLE: EntrypointRole;
}

macro_rules! roles {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Debug)]
        pub(crate) struct $name;
        impl CommandRole for $name {
            const ROLE: EntrypointRole = EntrypointRole::$name;
        }
    )*};
}

roles! {
    /// Administrators.
    Admin;
    /// Support.
    Support;
    /// Developers.
    Developer;
    /// Players.
    Player;
}

/// A command of a role.
#[derive(Debug)]
pub(crate) enum EndpointCommand<R> {
    /// Fetches a token and prints it.
    CreateToken(TokenArgs),
    /// Calls an endpoint.
    Call(Call, PhantomData<R>),
}

/// A request that was read from the command line and validated.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) endpoint: &'static Descriptor,
    body: Box<RawValue>,
}

impl Call {
    /// Sends the request.
    pub(crate) async fn send(&self, client: &Client, token: Option<&str>) -> Result<RawAnswer, Problem> {
        client.send(self.endpoint, token, &*self.body).await.map(RawAnswer::new)
    }
}

/// The endpoints that a role has a command for. A session's messages need a program, not a command.
fn endpoints<R: CommandRole>() -> impl Iterator<Item = &'static Descriptor> {
    R::ROLE.endpoints().iter().filter(|it| !it.waits)
}

impl<R: CommandRole> Subcommand for EndpointCommand<R> {
    fn augment_subcommands(command: Command) -> Command {
        command.subcommands(endpoints::<R>().map(describe))
    }
    fn augment_subcommands_for_update(command: Command) -> Command {
        Self::augment_subcommands(command)
    }
    fn has_subcommand(name: &str) -> bool {
        endpoints::<R>().any(|it| it.verb == name)
    }
}

impl<R: CommandRole> FromArgMatches for EndpointCommand<R> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let (verb, matches) = matches.subcommand().ok_or_else(|| Error::new(ErrorKind::MissingSubcommand))?;
        if verb == CREATE_TOKEN {
            return TokenArgs::from_arg_matches(matches).map(Self::CreateToken);
        }
        let endpoint = endpoints::<R>().find(|it| it.verb == verb);
        let endpoint = endpoint.ok_or_else(|| Error::new(ErrorKind::InvalidSubcommand))?;
        let refused = |reason: String| Error::raw(ErrorKind::ValueValidation, format!("{reason}\n"));
        let body = body(endpoint, matches);
        (endpoint.check_request)(&body).map_err(|problem| refused(problem.sentence().to_owned()))?;
        let body = RawValue::from_string(body).map_err(|error| refused(error.to_string()))?;
        Ok(Self::Call(Call { endpoint, body }, PhantomData))
    }
    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

fn describe(endpoint: &'static Descriptor) -> Command {
    let (summary, description) = (sentence(&endpoint.summary()), endpoint.description());
    let mut command = Command::new(endpoint.verb).about(summary.clone());
    // `omgctl admin workers` for `list-workers`.
    if let Some(noun) = endpoint.verb.strip_prefix("list-") {
        command = command.visible_alias(noun);
    }
    let command = match description.as_str() {
        "" => command,
        more => command.long_about(format!("{summary}.\n\n{more}")),
    };
    if endpoint.verb == CREATE_TOKEN {
        return TokenArgs::augment_args(command);
    }
    command.args(endpoint.fields.iter().map(|field| argument(endpoint, field)))
}

fn argument(endpoint: &Descriptor, field: &Field) -> Arg {
    let help = sentence(&field.summary());
    let help = match field.kind {
        FieldKind::Id => format!("{help}, by id"),
        FieldKind::IdOrAlias => format!("{help}, by id or alias"),
        FieldKind::Json => format!("{help}: a JSON file; - reads the standard input"),
        FieldKind::Text | FieldKind::Number | FieldKind::Word(_) => help,
    };
    let mut argument =
        Arg::new(field.name).help(help).value_parser(values::parser(field.kind)).required(!field.optional);
    if field.optional || field.kind == FieldKind::Json {
        argument = argument.long(field.name.replace('_', "-"));
    }
    argument = match field.kind {
        FieldKind::Json => argument.value_name("FILE"),
        _ => argument.value_name(field.name.to_uppercase()),
    };
    if field.list {
        argument = argument.num_args(1..).action(ArgAction::Append);
    }
    let default = DEFAULTS.iter().find(|it| (it.0, it.1, it.2) == (endpoint.role, endpoint.verb, field.name));
    match default {
        Some((_, _, _, value)) => argument.default_value(*value).required(false),
        None => argument,
    }
}

/// Without the full stop, as help texts are.
fn sentence(text: &str) -> String {
    text.trim_end_matches('.').to_owned()
}

/// The request as JSON; the values are JSON already.
fn body(endpoint: &Descriptor, matches: &ArgMatches) -> String {
    let member = |field: &Field| {
        let values: Vec<&str> = matches.get_many::<String>(field.name)?.map(String::as_str).collect();
        let value = if field.list { format!("[{}]", values.join(",")) } else { values.concat() };
        Some(format!("\"{}\":{value}", field.name))
    };
    let members: Vec<_> = endpoint.fields.iter().filter_map(member).collect();
    format!("{{{}}}", members.join(","))
}
