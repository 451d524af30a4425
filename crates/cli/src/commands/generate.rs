use passmate_core::api::VaultApi;
use passmate_core::edit::Edit;
use passmate_core::generate::site::SiteRule;
use passmate_core::generate::{
    Characters, Generated, LENGTH_DEFAULT, Need, Rule, by_rule, characters, words,
};
use passmate_core::problem::Problem;
use passmate_vault::login::{FieldRole, role_of};
use serde_json::json;

use crate::app::App;
use crate::change::change_and;
use crate::completing;
use crate::naming::path_to_change;
use crate::report::plain;

/// Generate a password
///
/// Without PATH, the password is printed and not stored. With PATH, it is stored in that record, in
/// the field `password` unless FIELD names another one, and printed only with --reveal.
///
/// Without options the password follows the rule in the field `password rule` of the record, if it
/// has one (docs/fields.md); else it has 14 letters and a digit (see --template). --length and the
/// other options of classes make one of upper-case letters, lower-case letters, digits and symbols,
/// with at least one of each. Each password that the options allow has the same chance, and the
/// entropy that is shown counts them.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Path of the record to store it in; created if it does not exist
    #[arg(add = completing::record())]
    path: Option<String>,
    /// Name of the field
    #[arg(default_value = "password", add = completing::field())]
    field: String,
    #[command(flatten)]
    classes: Option<Classes>,
    /// No characters that look alike: 0 O o 1 l I |
    #[arg(long, conflicts_with = "words")]
    no_lookalikes: bool,
    /// Classes of its characters: `A` is an upper-case letter, `a` a lower-case one, `5` a digit,
    /// `!` a symbol; they are shuffled [default: Aaaaaaaaaaaaaa5]
    #[arg(long, conflicts_with_all = ["words", "Classes"])]
    template: Option<String>,
    /// Generate this many words of the EFF's long list instead, 12.9 bits each
    #[arg(long, value_name = "N", conflicts_with = "Classes")]
    words: Option<usize>,
    /// Store the length and the classes as the password rule of the record, which `passmate gen
    /// PATH` follows from then on
    #[arg(long, requires = "path", conflicts_with_all = ["words", "template"])]
    keep_rule: bool,
    /// Print it as well as storing it
    #[arg(long, requires = "path")]
    reveal: bool,
}

/// Of which characters a password is made.
#[derive(Debug, Default, clap::Args)]
struct Classes {
    /// Number of characters [default: 20]
    #[arg(long, value_name = "N")]
    length: Option<usize>,
    /// At least this many upper-case letters [default: 1]
    #[arg(long, value_name = "N", conflicts_with = "no_upper")]
    min_upper: Option<usize>,
    /// At least this many lower-case letters [default: 1]
    #[arg(long, value_name = "N", conflicts_with = "no_lower")]
    min_lower: Option<usize>,
    /// At least this many digits [default: 1]
    #[arg(long, value_name = "N", conflicts_with = "no_digits")]
    min_digits: Option<usize>,
    /// At least this many symbols [default: 1]
    #[arg(long, value_name = "N", conflicts_with = "no_symbols")]
    min_symbols: Option<usize>,
    /// No upper-case letters
    #[arg(long)]
    no_upper: bool,
    /// No lower-case letters
    #[arg(long)]
    no_lower: bool,
    /// No digits
    #[arg(long)]
    no_digits: bool,
    /// No symbols
    #[arg(long)]
    no_symbols: bool,
    /// Symbols that may occur [default: !#$%&*+-./:;<=>?@_~]
    #[arg(
        long,
        value_name = "SET",
        conflicts_with = "no_symbols",
        allow_hyphen_values = true,
        value_parser = parse_symbols
    )]
    symbols: Option<Characters>,
}

/// The template of a password for which nothing else was asked.
pub(crate) const TEMPLATE: &str = "Aaaaaaaaaaaaaa5";

/// A password for which nothing was asked.
pub(super) fn usual() -> Result<Generated, Problem> {
    characters(TEMPLATE, Characters::default())
}

fn parse_symbols(text: &str) -> Result<Characters, String> {
    match text.chars().find(|letter| !letter.is_ascii_punctuation()) {
        Some(letter) => Err(format!("{letter:?} is not a symbol of ASCII")),
        None if text.is_empty() => Err("it is empty; --no-symbols leaves symbols out".to_owned()),
        None => Ok(Characters::of(text.as_bytes())),
    }
}

impl Classes {
    /// The rule that these options make.
    fn rule(&self) -> Rule {
        let minima = [
            self.min_upper,
            self.min_lower,
            self.min_digits,
            self.min_symbols,
        ];
        let left_out = [
            self.no_upper,
            self.no_lower,
            self.no_digits,
            self.no_symbols,
        ];
        let sets = [
            Characters::UPPER,
            Characters::LOWER,
            Characters::DIGITS,
            self.symbols.unwrap_or(Characters::SYMBOLS),
        ];
        let classes = sets.into_iter().zip(minima).zip(left_out);
        let classes = classes.filter(|(_, is_left_out)| !is_left_out);
        let needs = classes.map(|((of, min), _)| Need {
            of,
            min: min.unwrap_or(1),
        });
        let length = self.length.unwrap_or(LENGTH_DEFAULT);
        Rule::of_classes(length, needs.collect())
    }
}

impl Args {
    fn is_of_password(&self) -> bool {
        role_of(&self.field) == Some(FieldRole::Password)
    }

    /// The characters that do not occur, whatever allows them.
    fn without(&self) -> Characters {
        match self.no_lookalikes {
            true => Characters::LOOKALIKES,
            false => Characters::default(),
        }
    }

    /// The rule that the options of classes make.
    fn rule(&self) -> Option<Rule> {
        let classes = self.classes.as_ref().map(Classes::rule);
        let rule = classes.or_else(|| self.keep_rule.then(|| Classes::default().rule()))?;
        Some(rule.without(self.without()))
    }

    /// The password that the options describe; `None` if they do not say how it is made.
    fn as_asked(&self) -> Result<Option<Generated>, Problem> {
        match (self.words, self.rule(), &self.template) {
            (Some(count), _, _) => words(count).map(Some),
            (None, Some(rule), _) => by_rule(&rule).map(Some),
            (None, None, Some(template)) => characters(template, self.without()).map(Some),
            (None, None, None) => Ok(None),
        }
    }

    /// The password that the record's rule describes, or else one like any other.
    fn as_kept(
        &self,
        vault: Option<&mut Box<dyn VaultApi>>,
        path: Option<&str>,
    ) -> Result<Generated, Problem> {
        let site = match (vault, path) {
            (Some(vault), Some(path)) if self.is_of_password() => plain(vault.password_rule(path))?,
            _ => None,
        };
        match site {
            Some(site) => by_rule(&site.rule().without(self.without())),
            None => characters(TEMPLATE, self.without()),
        }
    }
}

pub(crate) fn run(app: &App, args: &Args) -> Result<(), Problem> {
    if args.keep_rule && !args.is_of_password() {
        return Err(Problem::usage(
            format!(
                "--keep-rule stores the rule of the password, and {} is none",
                args.field
            ),
            "leave --keep-rule out",
        ));
    }
    let asked = args.as_asked()?;
    let mut vault = args
        .path
        .as_ref()
        .map(|_| app.open_to_change())
        .transpose()?;
    let path = match (&args.path, &mut vault) {
        (Some(path), Some(vault)) => Some(path_to_change(app, &mut **vault, path)?),
        _ => None,
    };
    let made = match asked {
        Some(made) => made,
        None => args.as_kept(vault.as_mut(), path.as_deref())?,
    };
    app.out.note(&made.to_string());
    let show = |is_shown: bool| match (app.out.json, is_shown) {
        (true, true) => app
            .out
            .object(json!({ "password": *made.password, "bits": made.bits })),
        (true, false) => app.out.object(json!({ "bits": made.bits })),
        (false, true) => app.out.value(&made.password),
        (false, false) => Ok(()),
    };
    let (Some(path), Some(vault)) = (&path, &mut vault) else {
        return show(true);
    };
    let mut fields = vec![(args.field.clone(), made.password.clone())];
    if let Some(rule) = args.rule().filter(|_| args.keep_rule) {
        let text = SiteRule::from(&rule).to_string();
        fields.push((FieldRole::PasswordRule.name().to_owned(), text.into()));
    }
    let edit = Edit::SetFields {
        path: path.clone(),
        fields,
    };
    change_and(app, &mut **vault, &edit, |_| {
        app.out.note(&format!("set {} of {path}", args.field));
        show(args.reveal)
    })
}
