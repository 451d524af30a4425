//! `vectors/merge_v2`: merges of two stores by the original desktop client.

use passmate_vault::Vault;
use passmate_vault::format::{BtokenShape, decode_btoken, encode_desktop_btoken};
use serde_json::Value;

use crate::{text, vector_json};

fn decode(json: &Value) -> Vault {
    decode_btoken(&serde_json::to_vec(json).unwrap())
        .unwrap()
        .vault
}

fn paths(vault: &Vault) -> Vec<String> {
    vault
        .view()
        .records()
        .iter()
        .map(|record| record.path.to_string_lossy().into_owned())
        .collect()
}

/// The vault that the desktop client would find in a shared account.
fn written(vault: &Vault) -> Vault {
    let read = decode_btoken(&encode_desktop_btoken(vault).unwrap()).unwrap();
    assert_eq!(read.shape, BtokenShape::Desktop);
    read.vault
}

#[test]
fn we_agree_with_every_merge_of_the_desktop_client() {
    let (mut agreed, mut resolved) = (0, 0);
    for vector in vector_json("merge_v2/merge.json").as_array().unwrap() {
        let name = text(vector, "name");
        let mut merged = decode(&vector["local"]);
        merged.merge(&decode(&vector["remote"]));
        let cpp = &vector["cpp"];
        if let Some(result) = cpp.get("merged") {
            assert_eq!(merged, decode(result), "{name}");
            let expected: Vec<&str> = cpp["paths"]
                .as_array()
                .unwrap()
                .iter()
                .map(|path| path.as_str().unwrap())
                .collect();
            match name {
                // Unlike the desktop client, we keep an edit made after a deletion elsewhere.
                "delete_vs_edit" => assert_eq!(
                    (paths(&merged), expected.is_empty()),
                    (vec!["a".to_owned()], true)
                ),
                _ => assert_eq!(paths(&merged), expected, "{name}"),
            }
            agreed += 1;
        }
        let before = paths(&merged);
        merged.merge(&merged.resolution());
        let there = written(&merged);
        assert_eq!(paths(&there), before, "{name}");
        assert!(there.resolution().is_empty(), "{name}");
        resolved += 1;
    }
    assert_eq!((agreed, resolved), (25, 30));
}

#[test]
fn a_tie_is_written_as_its_winner_a_second_later() {
    let local = serde_json::json!({"1": [["PATH", 1, "a"], ["_x", 3, "l"]]});
    let mut merged = decode(&local);
    merged.merge(&decode(
        &serde_json::json!({"1": [["PATH", 1, "a"], ["_x", 3, "r"]]}),
    ));
    merged.merge(&merged.resolution());
    let plaintext = encode_desktop_btoken(&merged).unwrap();
    assert_eq!(
        plaintext.trim_ascii_end(),
        br#"{"1":[["PATH",1,"a"],["_x",4,"r"]]}"#
    );
    assert_eq!(plaintext.len(), 4096);
}

#[test]
fn changes_that_the_desktop_client_cannot_read_are_not_sent() {
    let plaintext = br#"{"version":2,"purpose":"sync_copy","records":{"A":[["meta","path","p",1],
        ["user","s","\ud800",2],["user","l",["one","two"],3],
        ["user","t","v",1180591620717411303424],["meta","other","m",4]],
        "":[["meta","path","q",1]]}}"#;
    let vault = decode_btoken(plaintext).unwrap().vault;
    let plaintext = encode_desktop_btoken(&vault).unwrap();
    assert_eq!(
        plaintext.trim_ascii_end(),
        br#"{"":[["PATH",1,"q"]],"A":[["PATH",1,"p"],["_l",3,"one","two"]]}"#
    );
}
