use passmate_core::edit::Edit;
use passmate_core::generate::{Characters, LENGTH_DEFAULT, Need, Rule, by_rule, characters, words};
use passmate_core::problem::Problem;
use serde_json::json;

use crate::app::App;
use crate::change::change_and;

/// Generate a password
///
/// Without PATH, the password is printed and not stored. With PATH, it is stored in that record, in
/// the field `password` unless FIELD names another one, and printed only with --reveal.
///
/// Without options it has 14 letters and a digit (see --template). --length and the other options
/// of classes make one of upper-case letters, lower-case letters, digits and symbols, with at least
/// one of each. Each password that the options allow has the same chance, and the entropy that is
/// shown counts them.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Path of the record to store it in; created if it does not exist
    path: Option<String>,
    /// Name of the field
    #[arg(default_value = "password")]
    field: String,
    #[command(flatten)]
    classes: Classes,
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
    /// Print it as well as storing it
    #[arg(long, requires = "path")]
    reveal: bool,
}

/// Of which characters a password is made.
#[derive(Debug, clap::Args)]
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
const TEMPLATE: &str = "Aaaaaaaaaaaaaa5";

fn parse_symbols(text: &str) -> Result<Characters, String> {
    match text.chars().find(|letter| !letter.is_ascii_punctuation()) {
        Some(letter) => Err(format!("{letter:?} is not a symbol of ASCII")),
        None if text.is_empty() => Err("it is empty; --no-symbols leaves symbols out".to_owned()),
        None => Ok(Characters::of(text.as_bytes())),
    }
}

impl Classes {
    /// The rule that these options make; `None` if there is none of them.
    fn rule(&self) -> Option<Rule> {
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
        let is_asked = self.length.is_some()
            || self.symbols.is_some()
            || minima.iter().any(Option::is_some)
            || left_out.contains(&true);
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
        is_asked.then(|| Rule::of_classes(length, needs.collect()))
    }
}

pub(crate) fn run(app: &App, args: &Args) -> Result<(), Problem> {
    let without = match args.no_lookalikes {
        true => Characters::LOOKALIKES,
        false => Characters::default(),
    };
    let made = match (args.words, args.classes.rule()) {
        (Some(count), _) => words(count)?,
        (None, Some(rule)) => by_rule(&rule.without(without))?,
        (None, None) => characters(args.template.as_deref().unwrap_or(TEMPLATE), without)?,
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
    let Some(path) = &args.path else {
        return show(true);
    };
    let mut vault = app.open()?;
    let edit = Edit::Set {
        path: path.clone(),
        field: args.field.clone(),
        value: made.password.clone(),
    };
    change_and(app, &mut *vault, &edit, |_| {
        app.out.note(&format!("set {} of {path}", args.field));
        show(args.reveal)
    })
}
