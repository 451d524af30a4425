use super::*;

const NOW: Duration = Duration::from_secs(100);

fn record(fields: &[(&str, &str, bool)]) -> Open {
    let fields = fields.iter().map(|(name, value, is_secret)| FieldContent {
        name: (*name).to_owned(),
        value: (*value).to_owned().into(),
        is_secret: *is_secret,
    });
    Open::new(RecordContent {
        path: "web/shop".to_owned(),
        id: "A".to_owned(),
        fields: fields.collect(),
    })
}

fn texts(open: &Open, width: usize) -> Vec<String> {
    let lines = open.lines(width, NOW).into_iter();
    lines
        .map(|line| format!("{}:{}", line.name, *line.text))
        .collect()
}

#[test]
fn a_secret_is_masked_until_it_is_asked_for() {
    let mut open = record(&[("user", "bob", false), ("password", "hunter", true)]);
    assert_eq!(texts(&open, 20), ["user:bob", "password:********"]);
    open.move_by(1);
    open.toggle();
    assert_eq!(texts(&open, 20)[1], "password:hunter");
    open.toggle();
    assert_eq!(texts(&open, 20)[1], "password:********");
    open.toggle();
    assert!(open.hide());
    assert_eq!(texts(&open, 20)[1], "password:********");
}

#[test]
fn a_code_is_below_its_secret_and_has_a_ring() {
    let mut open = record(&[("user", "bob", false), ("otp", "x", true)]);
    assert_eq!(
        texts(&open, 20),
        ["user:bob", "otp:********", "code:********"]
    );
    let code = |digits: &str| Code {
        digits: digits.to_owned().into(),
        valid_for: 20,
        period: 30,
    };
    // Nobody asked for it.
    open.show_code(code("287082"), NOW);
    assert_eq!(texts(&open, 20)[2], "code:********");
    open.select(2);
    open.toggle();
    assert!(open.wants_code(NOW));
    open.show_code(code("287082"), NOW);
    assert_eq!(texts(&open, 20)[2], "code:287 082  ◕ 20 s");
    assert!(!open.wants_code(NOW + Duration::from_secs(19)));
    assert!(open.wants_code(NOW + Duration::from_secs(20)));
    open.show_code(code("ABCDE"), NOW);
    assert_eq!(texts(&open, 20)[2], "code:ABCDE  ◕ 20 s");
    assert!(open.hide());
    assert_eq!(texts(&open, 20)[2], "code:********");
}

#[test]
fn a_ring_is_full_at_first_and_empty_at_last() {
    let rings = [30, 23, 22, 15, 8, 7, 1, 0].map(|left| ring(left, 30));
    assert_eq!(rings, ["●", "●", "◕", "◑", "◑", "◔", "◔", "○"]);
    assert_eq!(ring(u64::MAX / 8, 0), "●");
}

#[test]
fn values_are_wrapped_and_act_on_no_terminal() {
    let open = record(&[("user", "日本語\n\u{1b}[A", false)]);
    assert_eq!(texts(&open, 4), ["user:日本", ":語", ":\\u{1", ":b}[A"]);
    assert_eq!(texts(&record(&[("user", "", false)]), 0), ["user:"]);
    let words = record(&[("user", "one two  three", false)]);
    assert_eq!(texts(&words, 7), ["user:one ", ":two  ", ":three"]);
}

#[test]
fn a_record_that_is_read_again_keeps_what_is_selected() {
    let mut open = record(&[("user", "bob", false), ("password", "one", true)]);
    open.select(1);
    open.toggle();
    let later = record(&[
        ("user", "bob", false),
        ("password", "two", true),
        ("otp", "x", true),
    ]);
    open.read_again(later.content);
    assert_eq!(open.field().unwrap().name, "password");
    assert_eq!(texts(&open, 20)[..2], ["user:bob", "password:two"]);
    let mut other = record(&[]);
    other.content.id = "B".to_owned();
    open.read_again(other.content);
    assert!(open.field().is_none() && !open.hide());
}
