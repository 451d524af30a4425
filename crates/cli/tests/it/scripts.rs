//! What scripts use: `read`.

use crate::support::Home;

#[test]
fn read_prints_the_bare_value_of_a_reference() {
    let home = Home::with(&[
        ("web/shop", "password", "battery staple"),
        ("mail", "private key", "two\nlines"),
    ]);
    assert_eq!(
        home.answer(&["read", "passmate://web/shop/password"]),
        "battery staple\n"
    );
    assert_eq!(
        home.answer(&["read", "-n", "passmate://mail/private%20key"]),
        "two\nlines"
    );
    let json = home.answer(&["read", "--json", "passmate://web/shop/password"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["reference"], "passmate://web/shop/password");
    assert_eq!(json["value"], "battery staple");
    assert_eq!(home.failure(&["read", "web/shop"]).0, 2);
    assert_eq!(
        home.failure(&["read", "passmate://web/none/password"]).0,
        10
    );
    let (code, said) = home.failure(&["read", "passmate://web/shop"]);
    assert_eq!(code, 10);
    assert!(said.contains("did you mean passmate://web/shop/password?"));
}
