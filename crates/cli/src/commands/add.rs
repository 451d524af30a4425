//! `add`: a whole record in one go, with one change.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use passmate_core::answer::{Halt, Reply};
use passmate_core::api::VaultApi;
use passmate_core::command::command;
use passmate_core::edit::{Edit, RecordText, check_value};
use passmate_core::escape::escape;
use passmate_core::generate::site::SiteRule;
use passmate_core::generate::{Generated, by_rule};
use passmate_core::history::check_parts;
use passmate_core::problem::{Problem, ProblemKind};
use passmate_core::records::RecordContent;
use passmate_core::ssh_key::{SshKey, SshKeyError, read_key};
use passmate_core::template::{Template, is_typed_hidden, rule_of_site};
use passmate_vault::Passphrase;
use passmate_vault::login::FieldRole;
use serde_json::json;
use zeroize::Zeroizing;

use crate::app::App;
use crate::commands::generate;
use crate::completing;
use crate::prompt::{Typing, read_small};
use crate::report::plain;
use crate::unsaved::{Origin, save, with_vault};

/// Add a record: asks for all its fields, and stores them in one change
///
/// A login has an address, a user name, a password and the secret of one-time codes. Enter leaves a
/// field out; for the password it generates one, by the rule of --rule, or by the rule that another
/// record of the same site has in its field `password rule`.
///
/// Without a terminal nothing is asked. The password, or the text of a note, is all of standard
/// input without one trailing line feed, unless --generate makes a password. With --fields, standard
/// input is a JSON object with the fields of any record, for example
/// {"user": "bob", "password": "..."}. `passmate show PATH --json` has such an object as `fields`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Path of the new record, for example web/example.org
    #[arg(add = completing::folder())]
    path: String,
    /// What kind of record it is
    #[arg(long, value_name = "KIND", value_enum, default_value_t = Kind::Login)]
    template: Kind,
    /// The user name of a login
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// The address of a login
    #[arg(long)]
    url: Option<String>,
    /// Generate the password of a login
    #[arg(long)]
    generate: bool,
    /// What the site accepts as a password, for example 'minlength: 8; maxlength: 12; required:
    /// digit;'; it is stored in the field `password rule`
    #[arg(long)]
    rule: Option<String>,
    /// The file with the private key, for --template ssh: one that ssh-keygen made, or PEM. The
    /// record gets the key without its passphrase; the file stays as it is
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// Read fields from standard input: a JSON object of names and texts
    #[arg(long)]
    fields: bool,
}

/// The kinds of records, as they are typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Kind {
    Login,
    Card,
    Identity,
    Ssh,
    Wifi,
    Note,
}

impl From<Kind> for Template {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Login => Self::Login,
            Kind::Card => Self::Card,
            Kind::Identity => Self::Identity,
            Kind::Ssh => Self::Ssh,
            Kind::Wifi => Self::Wifi,
            Kind::Note => Self::Note,
        }
    }
}

/// How often a passphrase of a key may be wrong.
const TRIES: usize = 3;

/// Reads a key, and asks for its passphrase if it has one.
fn key_of(app: &App, file: &Path) -> Result<SshKey, Problem> {
    let text = read_small(file)?;
    let mut passphrase = None;
    for _ in 0..TRIES {
        let given = passphrase.as_ref().map(Passphrase::as_bytes);
        match read_key(&text, given) {
            Err(SshKeyError::PassphraseNeeded) if app.ask.has_person() => {}
            Err(SshKeyError::WrongPassphrase) => app.out.warn("wrong passphrase, try again"),
            read => return Ok(read?),
        }
        let name = escape(&file.display().to_string());
        let prompt = format!("Passphrase of the key {name}: ");
        passphrase = Some(app.ask.hidden(&prompt, "passphrase")?);
    }
    Err(SshKeyError::WrongPassphrase.into())
}

pub(crate) fn run(app: &App, args: &Args) -> Result<(), Problem> {
    let new = New::of_options(args)?;
    check_parts(&args.path)?;
    let mut vault = app.open_to_change()?;
    // Nobody should type a whole record for a path that is taken.
    refuse_taken(&args.path, vault.record(&args.path))?;
    let new = new.filled(app, args, &mut vault)?;
    if new.fields.is_empty() {
        return Err(Problem::new(
            ProblemKind::Cancelled,
            "no field has a value",
            format!(
                "nothing was changed; {} makes an empty record",
                command(["passmate", "new"]).arg(&args.path)
            ),
        ));
    }
    let path = args.path.clone();
    let fields = new.fields;
    let record = RecordText { path, fields };
    let edit = Edit::Add { record };
    let origin = match app.ask.has_person_for_value() && !args.fields {
        true => Origin::Terminal,
        false => Origin::Pipe,
    };
    let saved = save(app, &mut vault, edit, origin, |_| {
        app.out.note(&format!("made {}", args.path));
        let bits = new.generated.as_ref().map(|made| made.bits);
        match app.out.json {
            true => app.out.object(json!({ "path": args.path, "bits": bits })),
            false => Ok(()),
        }
    });
    match saved {
        // The hint says where the text is.
        Err(problem) if origin == Origin::Terminal => Err(problem),
        saved => saved
            .map(drop)
            .map_err(|problem| with_way(&args.path, problem)),
    }
}

/// A path at which there is a record cannot get another one.
fn refuse_taken(path: &str, reply: Reply<RecordContent>) -> Result<(), Problem> {
    match reply {
        Ok(_) => {
            let message = format!("there is already a record {path}");
            Err(with_way(
                path,
                Problem::new(ProblemKind::Exists, message, ""),
            ))
        }
        Err(Halt::Failed(problem)) if problem.kind != ProblemKind::NotFound => Err(problem),
        Err(_) => Ok(()),
    }
}

/// The problem with the commands that change a record that exists.
fn with_way(path: &str, problem: Problem) -> Problem {
    if problem.kind != ProblemKind::Exists {
        return problem;
    }
    let edit = command(["passmate", "edit"]).arg(path);
    let set = command(["passmate", "set"]).arg(path);
    problem.with_hint(format!(
        "{edit} changes it, {set} sets its password; or choose another path"
    ))
}

/// A record to be, as far as it is known.
#[derive(Default)]
struct New {
    fields: BTreeMap<String, Zeroizing<String>>,
    rule: Option<SiteRule>,
    generated: Option<Generated>,
}

impl New {
    fn of_options(args: &Args) -> Result<Self, Problem> {
        let mut new = Self::default();
        let is_login = args.template == Kind::Login;
        let is_of_login =
            args.user.is_some() || args.url.is_some() || args.rule.is_some() || args.generate;
        if is_of_login && !is_login {
            return Err(Problem::usage(
                "--user, --url, --rule and --generate are for a login",
                "leave them out, or leave --template out",
            ));
        }
        if args.key_file.is_some() != (args.template == Kind::Ssh) {
            return Err(Problem::usage(
                "--key-file and --template ssh go together",
                "name the file with the private key of SSH, such as ~/.ssh/id_ed25519",
            ));
        }
        let texts = [
            (FieldRole::User, &args.user),
            (FieldRole::Url, &args.url),
            (FieldRole::PasswordRule, &args.rule),
        ];
        for (role, text) in texts {
            if let Some(text) = text {
                new.set(role.name(), text.clone().into())?;
            }
        }
        if let Some(text) = &args.rule {
            new.rule = SiteRule::parse(text).ok();
        }
        Ok(new)
    }

    fn has(&self, name: &str) -> bool {
        self.fields.contains_key(name)
    }

    fn set(&mut self, name: &str, value: Zeroizing<String>) -> Result<(), Problem> {
        check_value(name, &value)?;
        if !value.is_empty() {
            self.fields.insert(name.to_owned(), value);
        }
        Ok(())
    }

    /// Asks for what is missing, or reads it.
    fn filled(
        mut self,
        app: &App,
        args: &Args,
        vault: &mut Box<dyn VaultApi>,
    ) -> Result<Self, Problem> {
        if let Some(file) = &args.key_file {
            let key = key_of(app, file)?;
            self.set(FieldRole::PrivateKey.name(), key.private)?;
            self.set(FieldRole::PublicKey.name(), key.public.into())?;
            app.out
                .note(&format!("the key has the fingerprint {}", key.fingerprint));
        }
        if args.fields {
            self.read_fields(&app.ask.input()?)?;
        } else if args.template == Kind::Ssh {
            return Ok(self);
        } else if !app.ask.has_person_for_value() {
            self.read_value(app, args)?;
        } else {
            self.ask(app, args, vault)?;
        }
        if args.generate {
            self.generate(app, vault)?;
        }
        Ok(self)
    }

    /// Reads a JSON object. An error shows no part of it.
    fn read_fields(&mut self, bytes: &[u8]) -> Result<(), Problem> {
        let fields: BTreeMap<String, Zeroizing<String>> =
            serde_json::from_slice(bytes).map_err(|error| {
                let (line, column) = (error.line(), error.column());
                Problem::usage(
                    format!(
                        "standard input is no JSON object of names and texts: line {line}, \
                         column {column}"
                    ),
                    "an example is {\"user\": \"bob\", \"password\": \"...\"}; a text of several \
                     lines has \\n in it",
                )
            })?;
        for (name, value) in fields {
            if self.has(&name) {
                return Err(Problem::usage(
                    format!("the field {name} is given twice"),
                    "leave out the option, or the member of the JSON object",
                ));
            }
            self.set(&name, value)?;
        }
        Ok(())
    }

    /// Takes the one value that is not given by options from standard input.
    fn read_value(&mut self, app: &App, args: &Args) -> Result<(), Problem> {
        let name = match args.template {
            Kind::Login if args.generate => return Ok(()),
            Kind::Login => FieldRole::Password.name(),
            Kind::Note => FieldRole::Notes.name(),
            Kind::Card | Kind::Identity | Kind::Ssh | Kind::Wifi => {
                return Err(Problem::new(
                    ProblemKind::Locked,
                    format!(
                        "the fields of a record of the kind {} are asked for, but there is no \
                         terminal to ask on",
                        Template::from(args.template).name()
                    ),
                    "give them with --fields, or run it on a terminal",
                ));
            }
        };
        let value = app.ask.input_text()?;
        if value.is_empty() {
            return Err(Problem::usage(
                format!("standard input is empty, and the {name} is read from it"),
                match args.template {
                    Kind::Login => "pipe a password in, or let --generate make one",
                    _ => "pipe the text in",
                },
            ));
        }
        self.set(name, value)
    }

    fn ask(
        &mut self,
        app: &App,
        args: &Args,
        vault: &mut Box<dyn VaultApi>,
    ) -> Result<(), Problem> {
        app.out.note(&format!(
            "fields of {}; Enter leaves one out, Ctrl-C stores nothing",
            args.path
        ));
        let password = FieldRole::Password.name();
        for name in Template::from(args.template).fields() {
            let is_generated = args.template == Kind::Login && *name == password;
            if self.has(name) || (is_generated && args.generate) {
                continue;
            }
            let prompt = match is_generated {
                true => format!("{name} (Enter generates one): "),
                false => format!("{name}: "),
            };
            self.ask_for(app, name, &prompt)?;
            if is_generated && !self.has(name) {
                self.generate(app, vault)?;
            }
        }
        Ok(())
    }

    /// Asks for one field until its value is one that it can have: what was typed before it must
    /// not be lost.
    fn ask_for(&mut self, app: &App, name: &str, prompt: &str) -> Result<(), Problem> {
        let typing = match is_typed_hidden(name) {
            true => Typing::of_secret(name),
            false => Typing::Seen,
        };
        loop {
            let typed = app.ask.optional(prompt, typing);
            match typed.and_then(|value| self.set(name, value)) {
                Err(problem)
                    if matches!(problem.kind, ProblemKind::Usage | ProblemKind::Cancelled) =>
                {
                    app.out.warn(&problem.message);
                }
                done => return done,
            }
        }
    }

    /// Generates the password by the rule of its site, if one is known.
    fn generate(&mut self, app: &App, vault: &mut Box<dyn VaultApi>) -> Result<(), Problem> {
        let name = FieldRole::Password.name();
        if self.has(name) {
            return Err(Problem::usage(
                "a password is given, and --generate makes another one",
                "leave one of them out",
            ));
        }
        let url = self.fields.get(FieldRole::Url.name());
        let of_site = match (&self.rule, url) {
            (None, Some(url)) => {
                let found = with_vault(app, vault, |vault| plain(rule_of_site(vault, url)));
                match found {
                    // The record is saved later, or the next failure says why not.
                    Err(problem) if app.ask.has_person_for_value() => {
                        app.out.warn(&format!(
                            "no rule for the password of this site was looked for: {}",
                            problem.message
                        ));
                        None
                    }
                    found => found?,
                }
            }
            _ => None,
        };
        if let Some((path, rule)) = of_site {
            app.out.note(&format!(
                "the password follows the rule of {}, which is of the same site",
                escape(&path)
            ));
            let role = FieldRole::PasswordRule.name();
            self.fields.insert(role.to_owned(), rule.to_string().into());
            self.rule = Some(rule);
        }
        let made = match &self.rule {
            Some(rule) => by_rule(&rule.rule())?,
            None => generate::usual()?,
        };
        app.out.note(&format!("generated a password: {made}"));
        self.fields.insert(name.to_owned(), made.password.clone());
        self.generated = Some(made);
        Ok(())
    }
}
