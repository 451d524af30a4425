//! Replays the transcripts in `vectors/` against both machines.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use passmate_proto::{
    AccountNumber, ActionKind, ClientEvent, Failure, Input, Layout, Outcome, ServerConfig,
};
use serde_json::Value;

use crate::support::{Client, Keeper, Server};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../vectors")
        .join(name)
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

fn bytes(value: &Value) -> Vec<u8> {
    unhex(value.as_str().unwrap())
}

fn account_number(value: &str) -> AccountNumber {
    value.parse().unwrap()
}

/// `vectors/wire`: transcripts of released programs, in layout 2.
mod released {
    use super::*;

    struct Transcript {
        name: String,
        meta: Value,
        client_sends: Vec<u8>,
        server_sends: Vec<u8>,
    }

    impl Transcript {
        fn account(&self) -> AccountNumber {
            account_number(self.meta["account_no"].as_str().unwrap())
        }

        fn token(&self) -> [u8; 32] {
            bytes(&self.meta["auth_token"]).try_into().unwrap()
        }

        fn banner(&self) -> &str {
            self.meta["banner_utf8"].as_str().unwrap()
        }

        /// The length of hello, version, banner length and banner. The answers follow them.
        fn greeting_len(&self) -> usize {
            24 + 2 + 4 + self.banner().len()
        }

        /// The stored btoken: the one that the server sent, or any bytes if it sent none.
        fn stored_before(&self) -> Vec<u8> {
            let answer = &self.server_sends[self.greeting_len().min(self.server_sends.len())..];
            match answer.split_first_chunk::<4>() {
                Some((len, rest)) if answer.len() > 8 => {
                    rest[..u32::from_be_bytes(*len) as usize].to_vec()
                }
                _ => b"stored".to_vec(),
            }
        }

        /// The btoken that the client uploads: the bytes after the length at `at`.
        fn upload(&self, at: usize) -> Vec<u8> {
            let len: [u8; 4] = self.client_sends[at..at + 4].try_into().unwrap();
            self.client_sends[at + 4..][..u32::from_be_bytes(len) as usize].to_vec()
        }
    }

    fn transcripts(dialect: &str) -> Vec<Transcript> {
        let mut transcripts: Vec<Transcript> = fs::read_dir(folder("wire"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.is_dir())
            .map(|path| Transcript {
                name: path.file_name().unwrap().to_str().unwrap().to_owned(),
                meta: json(&path.join("trace.json")),
                client_sends: fs::read(path.join("client_to_server.bin")).unwrap(),
                server_sends: fs::read(path.join("server_to_client.bin")).unwrap(),
            })
            .filter(|transcript| transcript.meta["dialect"] == dialect)
            .collect();
        transcripts.sort_by(|a, b| a.name.cmp(&b.name));
        transcripts
    }

    #[test]
    fn our_server_answers_like_the_released_server() {
        let transcripts = transcripts("protocol 2");
        assert_eq!(transcripts.len(), 21);
        for transcript in transcripts {
            let name = transcript.name.as_str();
            let account = transcript.account();
            let is_create = transcript.client_sends.get(24) == Some(&b'c');
            // In these cases the server refuses, because the account does not exist.
            let is_there = !is_create && name != "update_after_reset";
            let stored = transcript.stored_before();
            let accounts = is_there
                .then(|| (account, (transcript.token(), stored.clone())))
                .into_iter()
                .collect();
            let next = if is_create && transcript.server_sends.len() > transcript.greeting_len() {
                let number = transcript.server_sends.last_chunk::<8>().unwrap();
                AccountNumber::from_bytes(*number).unwrap()
            } else {
                account
            };
            let config = ServerConfig {
                layout: Layout::Two,
                banner: Arc::from(transcript.banner().as_bytes()),
                btoken_len_max: 2 << 20,
            };
            let mut server = Server::with_config(config, Keeper { accounts, next });
            server.feed(&transcript.client_sends);
            server.end(Input::Cut);
            assert_eq!(server.sent, transcript.server_sends, "{name}");
            // If the released server sent the number, it committed something.
            let expected = transcript.server_sends.len() > transcript.greeting_len()
                && transcript.server_sends.ends_with(next.as_bytes());
            assert_eq!(
                server.is_confirmed(),
                expected,
                "{name}: {:?}",
                server.ending
            );
        }
    }

    #[test]
    fn our_client_sends_what_the_released_client_sent() {
        let mut seen = Vec::new();
        for transcript in transcripts("protocol 2") {
            let name = transcript.name.as_str();
            let (action, upload) = match name {
                "create" => (ActionKind::Create, Some(transcript.upload(24 + 1 + 32))),
                "update_device_a_second" | "update_device_b_first" | "update_device_b_third" => {
                    (ActionKind::Update, Some(transcript.upload(24 + 1 + 40)))
                }
                "reset" => (ActionKind::Reset, None),
                "update_after_reset" | "update_unknown_account" | "update_wrong_auth" => {
                    (ActionKind::Update, None)
                }
                "reset_unknown_account" | "reset_wrong_auth" => (ActionKind::Reset, None),
                _ => continue,
            };
            seen.push(name.to_owned());
            let sent = &transcript.client_sends;
            let (account, token) = if action == ActionKind::Create {
                (transcript.account(), transcript.token())
            } else {
                let account = AccountNumber::from_bytes(sent[25..33].try_into().unwrap()).unwrap();
                (account, sent[33..65].try_into().unwrap())
            };
            let mut client = Client::new(action, account, token, upload);
            // The released btokens have 4144 bytes, less than the limit for tests.
            client.feed(&transcript.server_sends);
            client.end(Input::Cut);
            assert_eq!(&client.sent, sent, "{name}");
            let expected_confirmed = transcript.server_sends.len() > transcript.greeting_len();
            assert_eq!(
                client.is_confirmed(),
                expected_confirmed,
                "{name}: {:?}",
                client.outcome
            );
            if action == ActionKind::Create {
                assert_eq!(client.created, Some(transcript.account()));
            }
        }
        assert_eq!(seen.len(), 10, "{seen:?}");
    }

    #[test]
    fn our_client_refuses_protocol_version_1() {
        let transcripts = transcripts("protocol 1");
        assert_eq!(transcripts.len(), 5);
        for transcript in transcripts
            .iter()
            .filter(|transcript| transcript.name != "v1_client_meets_v2_server")
        {
            let mut client = Client::new(ActionKind::Reset, transcript_account(), [1; 32], None);
            client.feed(&transcript.server_sends);
            let expected = Outcome::Failed(Failure::VersionUnsupported(1));
            assert_eq!(client.outcome, Some(expected), "{}", transcript.name);
        }
    }

    fn transcript_account() -> AccountNumber {
        crate::support::old_account()
    }

    #[test]
    fn the_banner_arrives_byte_for_byte() {
        let transcripts = transcripts("protocol 2");
        let transcript = transcripts
            .iter()
            .find(|transcript| transcript.name == "create")
            .unwrap();
        let mut machine =
            Client::new(ActionKind::Reset, transcript.account(), [1; 32], None).machine;
        machine.handle_input(Input::Bytes(
            &transcript.server_sends[..transcript.greeting_len()],
        ));
        let Some(ClientEvent::Greeted { layout, banner }) = machine.poll_event() else {
            panic!("no greeting")
        };
        assert_eq!(
            (layout, banner.as_slice()),
            (Layout::Two, transcript.banner().as_bytes())
        );
    }
}

/// `vectors/wire_layout1`: the layout of the protocol document.
mod laid_out {
    use super::*;

    fn cases() -> BTreeMap<String, Value> {
        let cases: BTreeMap<String, Value> = fs::read_dir(folder("wire_layout1"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| {
                path.extension()
                    .is_some_and(|extension| extension == "json")
            })
            .map(|path| {
                (
                    path.file_stem().unwrap().to_str().unwrap().to_owned(),
                    json(&path),
                )
            })
            .collect();
        assert_eq!(cases.len(), 26);
        cases
    }

    fn accounts(value: &Value) -> BTreeMap<AccountNumber, ([u8; 32], Vec<u8>)> {
        let account = |(number, kept): (&String, &Value)| {
            (
                account_number(number),
                (
                    bytes(&kept["auth_token"]).try_into().unwrap(),
                    bytes(&kept["btoken"]),
                ),
            )
        };
        value.as_object().unwrap().iter().map(account).collect()
    }

    fn all_from(case: &Value, who: &str) -> Vec<u8> {
        let steps = case["steps"].as_array().unwrap();
        steps
            .iter()
            .filter(|step| step["from"] == who && step.get("hex").is_some())
            .flat_map(|step| bytes(&step["hex"]))
            .collect()
    }

    fn new_server(case: &Value) -> Server {
        let config = ServerConfig {
            layout: Layout::One,
            banner: Arc::from(bytes(&case["banner"])),
            btoken_len_max: u32::try_from(case["btoken_max"].as_u64().unwrap()).unwrap(),
        };
        let next = account_number(case["new_account_no"].as_str().unwrap());
        Server::with_config(
            config,
            Keeper {
                accounts: accounts(&case["accounts_before"]),
                next,
            },
        )
    }

    #[test]
    fn our_server_passes_each_case_step_by_step() {
        for (name, case) in cases() {
            let mut server = new_server(&case);
            let mut expected = Vec::new();
            for step in case["steps"].as_array().unwrap() {
                match (
                    step["from"].as_str().unwrap(),
                    step.get("hex"),
                    step["event"].as_str(),
                ) {
                    ("client", Some(hex), _) => server.feed(&bytes(hex)),
                    ("client", _, Some("close_notify")) => server.end(Input::CloseNotify),
                    ("client", _, Some("cut")) => server.end(Input::Cut),
                    ("server", Some(hex), _) => {
                        expected.extend(bytes(hex));
                        assert_eq!(server.sent, expected, "{name}");
                    }
                    ("server", _, Some("grace_passed")) => server.pass_grace(),
                    ("server", _, Some("close_notify")) => {
                        assert!(server.is_confirmed(), "{name}: {:?}", server.ending)
                    }
                    ("server", _, Some("cut")) => {
                        assert!(matches!(server.ending, Some(Err(_))), "{name}")
                    }
                    other => panic!("{name}: unknown step {other:?}"),
                }
            }
            assert_eq!(server.sent, expected, "{name}");
            assert_eq!(
                server.keeper.accounts,
                accounts(&case["accounts_after"]),
                "{name}"
            );
        }
    }

    #[test]
    fn our_client_concludes_what_the_case_says() {
        let mut seen = 0;
        for (name, case) in cases() {
            let Some(concludes) = case["client_concludes"].as_str() else {
                continue;
            };
            seen += 1;
            let sent = all_from(&case, "client");
            let field = |at: usize, len: usize| sent[at..at + len].to_vec();
            let action = match sent[24] {
                b'c' => ActionKind::Create,
                b'u' => ActionKind::Update,
                _ => ActionKind::Reset,
            };
            // *Create* has no account, and our client never has an account number of zeros.
            let account = (action != ActionKind::Create)
                .then(|| AccountNumber::from_bytes(field(25, 8).try_into().unwrap()))
                .flatten()
                .unwrap_or(crate::support::number(1));
            let token_at = if action == ActionKind::Create { 25 } else { 33 };
            let upload_at = token_at + 32 + 4;
            let upload = sent
                .get(upload_at..)
                .map(|rest| rest[..rest.len().min(64)].to_vec());
            let mut client = Client::new(
                action,
                account,
                field(token_at, 32).try_into().unwrap(),
                Some(upload.unwrap_or_default()),
            );
            client.feed(&all_from(&case, "server"));
            let is_clean =
                case["steps"].as_array().unwrap().last().unwrap()["event"] == "close_notify";
            client.end(if is_clean {
                Input::CloseNotify
            } else {
                Input::Cut
            });
            let concluded = match client.outcome.unwrap() {
                Outcome::Confirmed(_) => "confirmed",
                Outcome::Unknown(_) => "unknown",
                Outcome::Failed(_) | Outcome::Left => "failed",
            };
            assert_eq!(concluded, concludes, "{name}: {:?}", client.outcome);
        }
        assert_eq!(seen, 18);
    }

    #[test]
    fn our_client_sends_an_update_as_documented() {
        let case = &cases()["update_in_one_write"];
        let sent = all_from(case, "client");
        let account = AccountNumber::from_bytes(sent[25..33].try_into().unwrap()).unwrap();
        let upload = sent[69..sent.len() - 8].to_vec();
        let mut client = Client::new(
            ActionKind::Update,
            account,
            sent[33..65].try_into().unwrap(),
            Some(upload),
        );
        client.feed(&all_from(case, "server"));
        assert_eq!(client.sent, sent);
    }
}
