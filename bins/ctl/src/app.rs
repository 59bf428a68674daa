//! What the commands do.

use std::io::{IsTerminal as _, Read as _, Write};

use anyhow::{Context as _, anyhow, bail};
use omgservers_client::{
    Client,
    api::{
        Kind, Problem, Role,
        entrypoint::{CreateTokenResponse, EndpointAccess},
        problem::{ErrorBody, codes},
    },
};

use crate::{
    args::{Options, TokenArgs},
    bench,
    cli::{Cli, Command, LoginArgs},
    commands::EndpointCommand,
    output::RawAnswer,
    store::{Login, Store},
};

/// Carries a command out and writes what it answers to `out`.
pub async fn run(cli: Cli, out: &mut (impl Write + Send)) -> anyhow::Result<()> {
    let options = cli.options;
    match cli.command {
        Command::Login(args) => login(&options, &args, out).await,
        Command::Logout { role } => {
            let removed = Store::open(options.credentials.clone())?.remove(&options.profile, role)?;
            writeln!(out, "{}", if removed { "done" } else { "there was no login of this role" })?;
            Ok(())
        }
        Command::Admin(command) => call(&options, Role::Admin, command, out).await,
        Command::Support(command) => call(&options, Role::Support, command, out).await,
        Command::Developer(command) => call(&options, Role::Developer, command, out).await,
        Command::Player(command) => call(&options, Role::Player, command, out).await,
        Command::Bench(args) => bench::run(&options, args, out).await,
    }
}

/// An error as it goes to the standard error output; for programs as the body that the backend
/// would send.
pub fn report(error: &anyhow::Error, json: bool) -> String {
    let problem = error.downcast_ref::<Problem>();
    let mut causes = Vec::new();
    for cause in error.chain() {
        // What is behind a problem is for its log, not for people.
        if let Some(problem) = cause.downcast_ref::<Problem>() {
            causes.push(problem.sentence().to_owned());
            break;
        }
        causes.push(cause.to_string());
    }
    let sentence = causes.join(": ");
    if json {
        let body = ErrorBody {
            qualifier: problem.map(|it| it.qualifier().to_owned()).unwrap_or_default(),
            code: problem.map(|it| it.code().to_owned()).unwrap_or_default(),
            detail: sentence,
            request_id: problem.and_then(Problem::request_id).unwrap_or_default().to_owned(),
        };
        return serde_json::to_string(&body).unwrap_or(body.detail);
    }
    let mut text = format!("error: {sentence}");
    if let Some(problem) = problem {
        text.push_str(&format!("\n  code:    {} ({})", problem.code(), problem.qualifier()));
        if let Some(request) = problem.request_id() {
            text.push_str(&format!("\n  request: {request}"));
        }
    }
    text
}

async fn login(options: &Options, args: &LoginArgs, out: &mut (impl Write + Send)) -> anyhow::Result<()> {
    let store = Store::open(options.credentials.clone())?;
    let url = url(options, args.role)?;
    let token = fetch_token(&url, args.role, &args.who).await?;
    let client = Client::new(&url)?;
    let login = Login { url: client.base_url().to_owned(), user: args.who.user.clone(), token };
    store.put(&options.profile, args.role, login)?;
    if options.json {
        writeln!(out, "{{}}")?;
    } else {
        writeln!(out, "signed in as {} {}; kept in {}", args.role, args.who.user, store.path().display())?;
    }
    Ok(())
}

async fn call<R>(
    options: &Options,
    role: Role,
    command: EndpointCommand<R>,
    out: &mut (impl Write + Send),
) -> anyhow::Result<()> {
    let call = match command {
        EndpointCommand::CreateToken(args) => return create_token(options, role, &args, out).await,
        EndpointCommand::Call(call, _) => call,
    };
    if call.endpoint.access != EndpointAccess::Bearer {
        let client = Client::new(&url(options, role)?)?;
        return print(options, &call.send(&client, None).await?, out);
    }
    let login = access(options, role)?;
    let client = Client::new(&login.url)?;
    match call.send(&client, Some(&login.token)).await {
        Ok(answer) => print(options, &answer, out),
        Err(problem) if problem.is(codes::WRONG_TOKEN) || expired(&problem) => {
            let again = again(role, &login.url, &login.user);
            Err(anyhow::Error::new(problem).context(format!("the login of {role} is over, {again}")))
        }
        Err(problem) => Err(problem.into()),
    }
}

async fn create_token(
    options: &Options,
    role: Role,
    args: &TokenArgs,
    out: &mut (impl Write + Send),
) -> anyhow::Result<()> {
    let raw_token = fetch_token(&url(options, role)?, role, args).await?;
    if options.json {
        writeln!(out, "{}", serde_json::to_string(&CreateTokenResponse { raw_token })?)?;
    } else {
        writeln!(out, "{raw_token}")?;
    }
    Ok(())
}

/// Backends of the original contract answer a bad token with nothing but the status.
fn expired(problem: &Problem) -> bool {
    problem.kind() == Kind::Unauthenticated && !problem.is(codes::NO_CREDENTIALS)
}

fn again(role: Role, url: &str, user: &str) -> String {
    format!("run `omgctl login --url {url} --role {role} --user {user}`")
}

/// Where and with which token a role is asked.
fn access(options: &Options, role: Role) -> anyhow::Result<Login> {
    let stored = Store::open(options.credentials.clone())?.get(&options.profile, role)?;
    let user = stored.as_ref().map_or("<user>", |it| it.user.as_str()).to_owned();
    if let Some(token) = &options.token {
        return Ok(Login { url: url(options, role)?, user, token: token.clone() });
    }
    let wanted = options.url.as_deref().map(|it| it.trim_end_matches('/'));
    match (stored, wanted) {
        // A token goes to the backend that gave it and to no other.
        (Some(login), Some(wanted)) if login.url != wanted => {
            bail!(
                "the login of {role} is for {}, not for {wanted}: {}",
                login.url,
                again(role, wanted, &user)
            )
        }
        (Some(login), _) => Ok(login),
        (None, wanted) => {
            let url = wanted.unwrap_or("<url>");
            bail!(
                "there is no login of {role} in the profile `{}`: {}",
                options.profile,
                again(role, url, &user)
            )
        }
    }
}

/// The address that is given, or the one of the role's login.
fn url(options: &Options, role: Role) -> anyhow::Result<String> {
    if let Some(url) = &options.url {
        return Ok(url.clone());
    }
    let stored = Store::open(options.credentials.clone())?.get(&options.profile, role)?;
    stored
        .map(|it| it.url)
        .ok_or_else(|| anyhow!("which backend? Say --url, e.g. --url http://localhost:8080"))
}

async fn fetch_token(url: &str, role: Role, args: &TokenArgs) -> anyhow::Result<String> {
    let client = Client::new(url)?;
    let password = if args.password_stdin {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).context("the password can't be read")?;
        text.trim_end_matches(['\r', '\n']).to_owned()
    } else if std::io::stdin().is_terminal() {
        rpassword::prompt_password(format!("Password of {}: ", args.user))
            .context("the password can't be read")?
    } else {
        bail!("there is no terminal to ask for the password at: use --password-stdin")
    };
    Ok(client.create_token(role, &args.user, &password).await?)
}

fn print(options: &Options, answer: &RawAnswer, out: &mut (impl Write + Send)) -> anyhow::Result<()> {
    if options.json {
        writeln!(out, "{}", answer.json())?;
    } else {
        write!(out, "{}", answer.text())?;
    }
    Ok(())
}
